#ifndef COWHERD_SERVER_FS_LINUX_XFS_INODES_H_
#define COWHERD_SERVER_FS_LINUX_XFS_INODES_H_

#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/fs/file_tree.h"

namespace cowherd {

// Tells what the regular files with these numbers are, but for the device, from a descriptor of any file of
// their XFS filesystem: neighbours at once, by ioctl_xfs_bulkstat(2), which takes half of what stat(2) takes
// where they are not cached. `ascending`: numbers; 0 stands for none. `found` gets an index into them, and is
// called by several threads, for different indices. What is not there is not told. An error: EPERM without
// CAP_SYS_ADMIN, ENOTTY before Linux 5.5, `stop`'s.
absl::Status LookUpXfsInodes(int fd, absl::Span<const uint64_t> ascending, const Stop& stop,
                             absl::FunctionRef<void(size_t, const FileFacts&)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_XFS_INODES_H_
