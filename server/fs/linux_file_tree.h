#ifndef COWHERD_SERVER_FS_LINUX_FILE_TREE_H_
#define COWHERD_SERVER_FS_LINUX_FILE_TREE_H_

#include <memory>

#include "server/fs/file_tree.h"

namespace cowherd {

// The machine's own files. Needs openat2 (Linux 5.6; else FAILED_PRECONDITION "OPENAT2_MISSING") and procfs.
// Holds no descriptor of its own. A root's last part may be a symbolic link: the administrator chose it.
class LinuxFileTrees final : public FileTrees {
 public:
  absl::StatusOr<std::unique_ptr<FileTree>> OpenRoot(const Root& root) override;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_FILE_TREE_H_
