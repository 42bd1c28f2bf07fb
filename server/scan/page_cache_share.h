#ifndef COWHERD_SERVER_SCAN_PAGE_CACHE_SHARE_H_
#define COWHERD_SERVER_SCAN_PAGE_CACHE_SHARE_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace cowherd {

// What a scan may bring into the page cache and keep there until it is shared: a quarter of the memory that
// the machine has available and, with cgroup v2, of what this process's group has left of its limit; at least
// kMinPageCache, at most kMaxPageCache. Looks at /proc and /sys/fs/cgroup.
uint64_t PageCacheShare();

constexpr uint64_t kMinPageCache = uint64_t{128} << 20;
constexpr uint64_t kMaxPageCache = uint64_t{4} << 30;

// The same from what the files say: /proc/meminfo, memory.max, memory.current and memory.stat of the group;
// empty where there is no such file. Pure.
uint64_t PageCacheShareOf(absl::string_view meminfo, absl::string_view group_max,
                          absl::string_view group_current, absl::string_view group_stat);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_PAGE_CACHE_SHARE_H_
