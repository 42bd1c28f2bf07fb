#ifndef COWHERD_SERVER_FS_LINUX_BTRFS_MAP_H_
#define COWHERD_SERVER_FS_LINUX_BTRFS_MAP_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// The map of the btrfs that holds `root`, a directory; it must stay open as long as the map lives. Needs
// CAP_SYS_ADMIN and Linux 4.15 (EPERM, ENOTTY else). Reads metadata only: extent tree, checksum tree, and the
// subvolumes' trees by BTRFS_IOC_TREE_SEARCH_V2 and BTRFS_IOC_LOGICAL_INO_V2 (fs/btrfs/ioctl.c).
absl::StatusOr<std::unique_ptr<StorageMap>> OpenBtrfsMap(int root);

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_BTRFS_MAP_H_
