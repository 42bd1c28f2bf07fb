#include "server/node/rights.h"

#include <linux/capability.h>

#include <cstdint>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace cowherd {

absl::StatusOr<Rights> ParseRights(absl::string_view status, absl::string_view uid_map) {
  uint64_t effective = 0;
  bool found = false;
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (!absl::ConsumePrefix(&line, "CapEff:")) continue;
    found = absl::SimpleHexAtoi(absl::StripAsciiWhitespace(line), &effective);
  }
  if (!found) return absl::InternalError("/proc/self/status tells no capabilities");
  const auto has = [effective](int capability) { return (effective >> capability & 1) != 0; };
  Rights rights;
  rights.dac_override = has(CAP_DAC_OVERRIDE);
  rights.dac_read_search = has(CAP_DAC_READ_SEARCH);
  rights.fowner = has(CAP_FOWNER);
  rights.sys_admin = has(CAP_SYS_ADMIN);
  rights.sys_rawio = has(CAP_SYS_RAWIO);
  // The first namespace maps all numbers to themselves (user_namespaces(7)).
  const std::vector<absl::string_view> map =
      absl::StrSplit(uid_map, absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  uint64_t count = 0;
  rights.in_user_namespace = map.size() != 3 || map[0] != "0" || map[1] != "0" ||
                             !absl::SimpleAtoi(map[2], &count) ||
                             count != std::numeric_limits<uint32_t>::max();
  return rights;
}

std::string ProfileOf(const Rights& rights) {
  if (rights.in_user_namespace) return "own-files";
  if (rights.sys_admin && rights.sys_rawio) return "privileged";
  if (rights.sys_admin && (rights.dac_read_search || rights.dac_override)) {
    return rights.fowner ? "full-noatime" : "full";
  }
  if (rights.dac_override) return "walk";
  return rights.dac_read_search && !rights.sys_admin ? "estimate" : "own-files";
}

std::vector<std::string> CapabilitiesOf(const Rights& rights) {
  std::vector<std::string> held;
  if (rights.dac_override) held.emplace_back("CAP_DAC_OVERRIDE");
  if (rights.dac_read_search) held.emplace_back("CAP_DAC_READ_SEARCH");
  if (rights.fowner) held.emplace_back("CAP_FOWNER");
  if (rights.sys_admin) held.emplace_back("CAP_SYS_ADMIN");
  return held;
}

std::vector<Lack> LacksOf(const Rights& rights, const FsFacts& facts) {
  std::vector<Lack> lacks;
  // What cannot be shared on at all is no matter of rights.
  if (!facts.dedupe_supported) return lacks;
  const bool outside = !rights.in_user_namespace;
  const bool admin = outside && rights.sys_admin;
  const bool override_modes = outside && rights.dac_override;
  const bool read_all = override_modes || (outside && rights.dac_read_search);
  if (!read_all) {
    lacks.push_back(
        {"CAP_DAC_READ_SEARCH", "others' files that their modes keep closed are passed over", true});
  }
  if (!admin && !override_modes && !facts.read_only) {
    lacks.push_back({"CAP_SYS_ADMIN", "only files that this process owns or may write are shared", true});
  } else if (!admin && !facts.read_only && facts.type == "btrfs") {
    lacks.push_back({"CAP_SYS_ADMIN", "read-only snapshots are not shared", false});
  }
  if (!admin && facts.type == "btrfs") {
    lacks.push_back({"CAP_SYS_ADMIN", "scans read all data instead of its checksums", false});
  }
  if (!admin && facts.type == "xfs") {
    lacks.push_back({"CAP_SYS_ADMIN", "files are looked up one by one, which takes longer", false});
  }
  if (!(outside && rights.fowner) && !facts.read_only && !facts.noatime) {
    lacks.push_back(
        {"CAP_FOWNER", "reading others' files changes their access times, as the mount has it", false});
  }
  return lacks;
}

}  // namespace cowherd
