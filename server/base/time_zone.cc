#include "server/base/time_zone.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxName = 64;

// Abseil also takes paths of files, and names that mean this machine's own zone.
bool IsDatabaseName(absl::string_view name) {
  if (!absl::ascii_isupper(name[0])) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(c) && !absl::StrContains("/_+-", c)) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<absl::TimeZone> FindTimeZone(absl::string_view name) {
  if (name.empty()) return absl::UTCTimeZone();
  if (name.size() > kMaxName)
    return FieldError("time_zone", absl::StrCat("longer than ", kMaxName, " bytes"));
  absl::TimeZone zone;
  if (!IsDatabaseName(name) || !absl::LoadTimeZone(name, &zone)) {
    return FieldError("time_zone", absl::StrCat("\"", name,
                                                "\" is no time zone of the IANA database, such as "
                                                "\"Europe/Berlin\" or \"UTC\""));
  }
  return zone;
}

}  // namespace cowherd
