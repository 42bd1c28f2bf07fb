#ifndef COWHERD_SERVER_SCAN_MACHINE_SHARE_H_
#define COWHERD_SERVER_SCAN_MACHINE_SHARE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace cowherd {

// What a scan may bring into the page cache and keep there until it is shared: a quarter of the memory that
// the machine has available, or of this process's limit if that is less; at least kMinPageCache, at most
// kMaxPageCache.
uint64_t PageCacheShare();

// Files that a scan may keep open: a quarter of what this process may, at least 128, at most 8192.
size_t OpenFileShare();

constexpr uint64_t kMinPageCache = uint64_t{128} << 20;
constexpr uint64_t kMaxPageCache = uint64_t{4} << 30;

// The same, by the text of /proc/meminfo and the limit in bytes. Pure.
uint64_t PageCacheShareOf(absl::string_view meminfo, uint64_t limit);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_MACHINE_SHARE_H_
