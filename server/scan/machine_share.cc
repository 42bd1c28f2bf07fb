#include "server/scan/machine_share.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/memory_limit.h"
#include "server/base/read_file.h"

namespace cowherd {
namespace {

constexpr size_t kMinOpenFiles = 128;
constexpr size_t kMaxOpenFiles = 8192;

// Half of it for all, a quarter at most for one.
uint64_t PartOf(uint64_t whole, size_t scans) { return whole / std::max<size_t>(4, 2 * scans); }

}  // namespace

uint64_t PageCacheShareOf(absl::string_view meminfo, uint64_t limit, size_t scans) {
  const uint64_t memory = std::min(MeminfoBytes(meminfo, "MemAvailable"), limit);
  return std::clamp(PartOf(memory, scans), kMinPageCache, kMaxPageCache);
}

uint64_t PageCacheShare(size_t scans) {
  const absl::StatusOr<std::string> meminfo = ReadFile("/proc/meminfo");
  return PageCacheShareOf(meminfo.ok() ? *meminfo : "", OwnMemoryLimit(), scans);
}

size_t OpenFileShareOf(uint64_t limit, size_t scans) {
  return std::clamp<size_t>(PartOf(limit, scans), kMinOpenFiles, kMaxOpenFiles);
}

size_t OpenFileShare(size_t scans) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMinOpenFiles;
  return OpenFileShareOf(limit.rlim_cur, scans);
}

}  // namespace cowherd
