#ifndef COWHERD_SERVER_SCAN_MACHINE_SHARE_H_
#define COWHERD_SERVER_SCAN_MACHINE_SHARE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace cowherd {

// What one of `scans` that may run at once may bring into the page cache and keep there until it is shared:
// its part of half of the memory that the machine has available, or of this process's limit if that is less.
// At most a quarter of that and kMaxPageCache, at least kMinPageCache.
uint64_t PageCacheShare(size_t scans);

// Files that it may keep open: its part of half of what this process may; at most a quarter of that and 8192,
// at least 128.
size_t OpenFileShare(size_t scans);

constexpr uint64_t kMinPageCache = uint64_t{128} << 20;
constexpr uint64_t kMaxPageCache = uint64_t{4} << 30;

// The same, by the text of /proc/meminfo and the limit in bytes, and by the limit of open files. Pure.
uint64_t PageCacheShareOf(absl::string_view meminfo, uint64_t limit, size_t scans);
size_t OpenFileShareOf(uint64_t limit, size_t scans);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_MACHINE_SHARE_H_
