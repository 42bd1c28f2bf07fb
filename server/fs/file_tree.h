#ifndef COWHERD_SERVER_FS_FILE_TREE_H_
#define COWHERD_SERVER_FS_FILE_TREE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "server/base/fd.h"
#include "server/base/stop.h"
#include "server/fs/root.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// What a file was when it was looked at.
struct FileFacts {
  uint64_t device = 0;  // differs between btrfs subvolumes of one filesystem
  uint64_t inode = 0;
  uint64_t size = 0;
  uint64_t links = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  bool immutable = false;  // as InodeFacts
};

// A file's time, as FileFacts has it. Wraps around where it is of another age, as anybody may set it.
inline int64_t Nanoseconds(int64_t seconds, uint32_t nanoseconds) {
  return static_cast<int64_t>(static_cast<uint64_t>(seconds) * 1000000000 + nanoseconds);
}

struct OpenFile {
  Fd fd;
  FileFacts facts;
};

struct DirEntry {
  enum class Kind { kFile, kDirectory, kOther };
  std::string name;
  Kind kind = Kind::kOther;
  uint64_t inode = 0;  // 0: the directory does not tell
};

// A file as its directory names it.
struct NamedFile {
  std::string path;    // below the root
  uint64_t inode = 0;  // 0: the directory did not tell
};

// One root, opened. Lives for one request or task: as long as it lives, the filesystem cannot be unmounted.
// Any thread.
class FileTree {
 public:
  virtual ~FileTree() = default;

  // Opens a regular file. `relative` as in RootedPath. The path never leads out of the root: symbolic links
  // (ELOOP),
  // ".." and mount points (EXDEV) on the way are refused; a btrfs subvolume is no mount point and is entered.
  // openat2(2) RESOLVE_BENEATH and kin. Directories: EISDIR; FIFOs, sockets and devices: EINVAL
  // "NOT_REGULAR", without blocking and without opening the device. Nothing is created, truncated, nor are
  // times changed (O_NOATIME where allowed). `for_destination`: falls back to write-only where reading is not
  // permitted but writing is.
  virtual absl::StatusOr<OpenFile> Open(absl::string_view relative, bool for_destination) = 0;

  // Opens a regular file by its number, whatever its path is by now; the caller has seen that it lies beneath
  // the root. `generation`: the inode's, so that no later file of the same number is opened.
  // open_by_handle_at(2), at a third of the cost of a path. ESTALE: it is gone. EOPNOTSUPP: not on this
  // filesystem. EPERM: not without CAP_DAC_READ_SEARCH.
  virtual absl::StatusOr<OpenFile> OpenByNumber(const FileKey& file, uint64_t generation) = 0;

  // Entries but "." and "..", in no order; "" lists the root. `stop` says to end: its error. Same refusals;
  // not a directory: ENOTDIR. A mount point is listed as a directory, and listing it is EXDEV: it is another
  // filesystem's, to be passed over.
  virtual absl::StatusOr<std::vector<DirEntry>> List(absl::string_view relative, const Stop& stop) = 0;

  // What the files are now, in their order; opens none. None: it is not there, is no regular file, or cannot
  // be looked at; or `stop` said to end. XFS is asked by number, in the order in which it keeps inodes
  // (ioctl_xfs_bulkstat(2), with CAP_SYS_ADMIN): the path may lead elsewhere by now, and the size is without
  // what was appended and is not written yet. Elsewhere each path is looked up, as Open does.
  virtual std::vector<absl::optional<FileFacts>> Look(absl::Span<const NamedFile> files,
                                                      const Stop& stop) = 0;

  // A new file for this process alone, without a name, on the root's filesystem; gone with its descriptor.
  // Open for reading and writing. open(2) O_TMPFILE.
  virtual absl::StatusOr<Fd> MakeScratch() = 0;

  // The storage of the root's filesystem; must not outlive the tree. EOPNOTSUPP: it keeps no checksums of
  // data, or in a way that is not known; ENOTTY: the kernel does not tell them; EPERM, EACCES: this process
  // may not read them. Others: they are there, and were not read.
  virtual absl::StatusOr<std::unique_ptr<StorageMap>> OpenStorageMap() = 0;

  // A descriptor of the root directory, good for ExtentOps::Facts and Commit. Lives as long as the tree.
  virtual int root_fd() const = 0;
};

// Opens roots. Any thread.
class FileTrees {
 public:
  virtual ~FileTrees() = default;
  // Anew at each call, so a filesystem mounted, unmounted or made anew is noticed.
  // NOT_FOUND "ROOT_ABSENT": the local path is not there.
  virtual absl::StatusOr<std::unique_ptr<FileTree>> OpenRoot(const Root& root) = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_FILE_TREE_H_
