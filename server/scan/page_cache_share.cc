#include "server/scan/page_cache_share.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace cowherd {
namespace {

std::string Contents(const std::string& path) {
  std::ifstream in(path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// The number behind `name` in lines of "name number ...". 0: none.
uint64_t NumberBehind(absl::string_view text, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t number = 0;
    if (words.size() > 1 && words[0] == name && absl::SimpleAtoi(words[1], &number)) return number;
  }
  return 0;
}

}  // namespace

uint64_t PageCacheShareOf(absl::string_view meminfo, absl::string_view group_max,
                          absl::string_view group_current, absl::string_view group_stat) {
  uint64_t available = NumberBehind(meminfo, "MemAvailable:") << 10;
  uint64_t max = 0;
  uint64_t current = 0;
  // "max": no limit.
  if (absl::SimpleAtoi(group_max, &max) && absl::SimpleAtoi(group_current, &current)) {
    // Its page cache gives way.
    const uint64_t used = current - std::min(current, NumberBehind(group_stat, "file"));
    available = std::min(available, max - std::min(max, used));
  }
  return std::clamp(available / 4, kMinPageCache, kMaxPageCache);
}

uint64_t PageCacheShare() {
  std::string group;
  for (absl::string_view line : absl::StrSplit(Contents("/proc/self/cgroup"), '\n')) {
    // cgroup v2's line (cgroups(7)).
    if (absl::StartsWith(line, "0::")) group = absl::StrCat("/sys/fs/cgroup", line.substr(3), "/");
  }
  return PageCacheShareOf(Contents("/proc/meminfo"), Contents(group + "memory.max"),
                          Contents(group + "memory.current"), Contents(group + "memory.stat"));
}

}  // namespace cowherd
