#include "server/scan/machine_share.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/base/memory_limit.h"
#include "server/base/read_file.h"

namespace cowherd {

uint64_t PageCacheShareOf(absl::string_view meminfo, uint64_t limit) {
  uint64_t available = 0;
  for (absl::string_view line : absl::StrSplit(meminfo, '\n')) {
    // "MemAvailable:    4194304 kB"
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kib = 0;
    if (words.size() > 1 && words[0] == "MemAvailable:" && absl::SimpleAtoi(words[1], &kib)) {
      available = kib << 10;
    }
  }
  return std::clamp(std::min(available, limit) / 4, kMinPageCache, kMaxPageCache);
}

uint64_t PageCacheShare() {
  const absl::StatusOr<std::string> meminfo = ReadFile("/proc/meminfo");
  return PageCacheShareOf(meminfo.ok() ? *meminfo : "", OwnMemoryLimit());
}

size_t OpenFileShare() {
  constexpr rlim_t kLeast = 128;
  constexpr rlim_t kMost = 8192;
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kLeast;
  return std::clamp(limit.rlim_cur / 4, kLeast, kMost);
}

}  // namespace cowherd
