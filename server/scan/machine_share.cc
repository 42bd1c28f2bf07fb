#include "server/scan/machine_share.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/memory_limit.h"
#include "server/base/read_file.h"

namespace cowherd {

uint64_t PageCacheShareOf(absl::string_view meminfo, uint64_t limit) {
  return std::clamp(std::min(MeminfoBytes(meminfo, "MemAvailable"), limit) / 4, kMinPageCache, kMaxPageCache);
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
