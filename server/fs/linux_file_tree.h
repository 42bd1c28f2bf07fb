#ifndef COWHERD_SERVER_FS_LINUX_FILE_TREE_H_
#define COWHERD_SERVER_FS_LINUX_FILE_TREE_H_

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "server/fs/file_tree.h"

namespace cowherd {

// The machine's own files. Needs openat2 (Linux 5.6; else FAILED_PRECONDITION "OPENAT2_MISSING") and procfs.
// Holds no descriptor of its own. A root's last part may be a symbolic link: the administrator chose it.
// A root that was once seen to be a mount point is absent while it is none: what then lies there belongs to
// the filesystem beneath (statx(2) STATX_ATTR_MOUNT_ROOT, Linux 5.8; before that it is not noticed).
class LinuxFileTrees final : public FileTrees {
 public:
  absl::StatusOr<std::unique_ptr<FileTree>> OpenRoot(const Root& root) override;

 private:
  std::mutex mutex_;
  std::set<std::string> mounted_;  // local paths that were mount points
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_FILE_TREE_H_
