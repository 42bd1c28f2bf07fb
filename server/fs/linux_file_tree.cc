#include "server/fs/linux_file_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/fs/linux_btrfs_map.h"
#include "server/fs/linux_filesystem_type.h"
#include "server/fs/linux_xfs_inodes.h"

namespace cowherd {
namespace {

constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
// Nothing here may block, become a controlling terminal or leak into a child.
constexpr int kSafe = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
constexpr size_t kEntriesPerCheck = 1024;

// Messages are text; paths are any bytes.
std::string Doing(absl::string_view verb, absl::string_view relative) {
  return absl::StrCat(verb, " \"", absl::CEscape(relative), "\"");
}

absl::StatusOr<Fd> OpenBeneath(int root, absl::string_view relative, uint64_t flags,
                               absl::string_view doing) {
  if (absl::StrContains(relative, absl::string_view("\0", 1))) return ErrnoError(EINVAL, doing);
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = kResolve;
  const std::string path = relative.empty() ? "." : std::string(relative);
  Fd fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof(how))));
  if (fd.valid()) return fd;
  if (errno == ENOSYS) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "OPENAT2_MISSING",
        "this kernel has no openat2(2), without which paths cannot be opened safely; use Linux 5.6 "
        "or newer");
  }
  return ErrnoError(errno, doing);
}

// O_NOATIME is for the owner and CAP_FOWNER only. -1 with errno.
int ReopenQuietly(int fd, int flags) {
  const std::string link = absl::StrCat("/proc/self/fd/", fd);
  const int opened = ::open(link.c_str(), flags | kSafe | O_NOATIME);
  return opened < 0 && errno == EPERM ? ::open(link.c_str(), flags | kSafe) : opened;
}

// What a descriptor's file is. False with errno.
bool StatOf(int fd, struct statx& seen) {
  return ::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &seen) == 0;
}

int64_t TimeOf(const statx_timestamp& time) { return Nanoseconds(time.tv_sec, time.tv_nsec); }

FileFacts FactsOf(const struct statx& seen) {
  FileFacts facts;
  facts.device = ::makedev(seen.stx_dev_major, seen.stx_dev_minor);
  facts.inode = seen.stx_ino;
  facts.size = seen.stx_size;
  facts.links = seen.stx_nlink;
  facts.modified_ns = TimeOf(seen.stx_mtime);
  facts.changed_ns = TimeOf(seen.stx_ctime);
  facts.immutable = (seen.stx_attributes & STATX_ATTR_IMMUTABLE) != 0;
  return facts;
}

DirEntry::Kind KindOf(int directory, const dirent& entry) {
  unsigned char type = entry.d_type;
  if (type == DT_UNKNOWN) {
    struct stat stat;
    // One that is gone already is nothing to look at.
    if (::fstatat(directory, entry.d_name, &stat, AT_SYMLINK_NOFOLLOW) != 0) return DirEntry::Kind::kOther;
    type = IFTODT(stat.st_mode);
  }
  if (type == DT_REG) return DirEntry::Kind::kFile;
  return type == DT_DIR ? DirEntry::Kind::kDirectory : DirEntry::Kind::kOther;
}

bool IsMountPoint(int directory) {
  struct statx facts;
  return ::statx(directory, "", AT_EMPTY_PATH, 0, &facts) == 0 &&
         (facts.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

absl::Status Absent(const Root& root, absl::string_view why) {
  return WithDetail(absl::NotFoundError(absl::StrCat("root \"", root.name, "\": \"",
                                                     absl::CEscape(root.local_path), "\" ", why)),
                    "ROOT_ABSENT", "", ENOENT);
}

// What a file handle of btrfs holds (fs/btrfs/export.h; the first three fields of struct btrfs_fid).
struct __attribute__((packed)) BtrfsFileId {
  uint64_t inode;
  uint64_t subvolume;
  uint32_t generation;
};
static_assert(sizeof(BtrfsFileId) == 20, "as the kernel counts it");
constexpr int kBtrfsWithoutParent = 0x4d;  // enum fid_type, linux/exportfs.h

class LinuxFileTree final : public FileTree {
 public:
  explicit LinuxFileTree(Fd root)
      : root_(std::move(root)),
        is_btrfs_(IsOn(root_.get(), BTRFS_SUPER_MAGIC)),
        is_xfs_(IsOn(root_.get(), XFS_SUPER_MAGIC)) {}

  absl::StatusOr<OpenFile> Open(absl::string_view relative, bool for_destination) override {
    const std::string doing = Doing("open", relative);
    // O_PATH first: opening a device or FIFO for real can act on it.
    ASSIGN_OR_RETURN(const Fd path, OpenBeneath(root_.get(), relative, O_PATH, doing));
    struct statx seen;
    if (!StatOf(path.get(), seen)) return ErrnoError(errno, doing);
    if (S_ISDIR(seen.stx_mode)) return ErrnoError(EISDIR, doing);
    // With O_PATH a symbolic link at the end is opened itself.
    if (S_ISLNK(seen.stx_mode)) return ErrnoError(ELOOP, doing);
    if (!S_ISREG(seen.stx_mode)) {
      return WithDetail(absl::InvalidArgumentError(absl::StrCat(doing, ": not a regular file")),
                        "NOT_REGULAR", "", EINVAL);
    }
    Fd opened(ReopenQuietly(path.get(), O_RDONLY));
    if (!opened.valid() && errno == EACCES && for_destination) {
      opened = Fd(ReopenQuietly(path.get(), O_WRONLY));
    }
    if (!opened.valid()) return ErrnoError(errno, doing);
    struct statx now;
    if (!StatOf(opened.get(), now)) return ErrnoError(errno, doing);
    const FileFacts facts = FactsOf(now);
    const FileFacts before = FactsOf(seen);
    if (facts.device != before.device || facts.inode != before.inode) return ErrnoError(ESTALE, doing);
    return OpenFile{std::move(opened), facts};
  }

  absl::StatusOr<OpenFile> OpenByNumber(const FileKey& file, uint64_t generation) override {
    constexpr absl::string_view kDoing = "open a file by its number";
    if (!is_btrfs_) return ErrnoError(EOPNOTSUPP, kDoing);
    union {
      file_handle handle;
      char bytes[sizeof(file_handle) + sizeof(BtrfsFileId)];
    } argument = {};
    argument.handle.handle_bytes = sizeof(BtrfsFileId);
    argument.handle.handle_type = kBtrfsWithoutParent;
    const BtrfsFileId id = {file.inode, file.subvolume, static_cast<uint32_t>(generation)};
    std::memcpy(argument.handle.f_handle, &id, sizeof(id));
    Fd opened(::open_by_handle_at(root_.get(), &argument.handle, O_RDONLY | O_NOATIME | kSafe));
    if (!opened.valid() && errno == EPERM) {
      opened = Fd(::open_by_handle_at(root_.get(), &argument.handle, O_RDONLY | kSafe));
    }
    if (!opened.valid()) return ErrnoError(errno, kDoing);
    struct statx now;
    if (!StatOf(opened.get(), now)) return ErrnoError(errno, kDoing);
    if (!S_ISREG(now.stx_mode)) return ErrnoError(ESTALE, kDoing);
    return OpenFile{std::move(opened), FactsOf(now)};
  }

  absl::StatusOr<std::vector<DirEntry>> List(absl::string_view relative, const Stop& stop) override {
    const std::string doing = Doing("list", relative);
    constexpr uint64_t kFlags = O_RDONLY | O_DIRECTORY | kSafe;
    absl::StatusOr<Fd> opened = OpenBeneath(root_.get(), relative, kFlags | O_NOATIME, doing);
    if (ErrnoOf(opened.status()) == EPERM) opened = OpenBeneath(root_.get(), relative, kFlags, doing);
    RETURN_IF_ERROR(opened.status());

    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(opened->get()), &::closedir);
    if (directory == nullptr) return ErrnoError(errno, doing);
    opened->Release();
    std::vector<DirEntry> entries;
    for (size_t seen = 0;; ++seen) {
      if (seen % kEntriesPerCheck == 0) RETURN_IF_ERROR(stop.Check());
      errno = 0;
      const dirent* entry = ::readdir(directory.get());
      if (entry == nullptr) break;
      DirEntry found{entry->d_name, KindOf(::dirfd(directory.get()), *entry), entry->d_ino};
      if (found.name != "." && found.name != "..") entries.push_back(std::move(found));
    }
    if (errno != 0) return ErrnoError(errno, doing);
    return entries;
  }

  std::vector<absl::optional<FileFacts>> Look(absl::Span<const NamedFile> files, const Stop& stop) override {
    std::vector<absl::optional<FileFacts>> facts(files.size());
    // In the order in which they lie on disk.
    std::vector<size_t> order(files.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return files[a].inode < files[b].inode; });
    if (is_xfs_ && LookByNumber(files, order, stop, facts).ok()) return facts;
    for (const size_t i : order) {
      if (facts[i] || !stop.Check().ok()) continue;
      const absl::StatusOr<Fd> path = OpenBeneath(root_.get(), files[i].path, O_PATH, "look at a file");
      struct statx seen;
      if (path.ok() && StatOf(path->get(), seen) && S_ISREG(seen.stx_mode)) facts[i] = FactsOf(seen);
    }
    return facts;
  }

  absl::StatusOr<Fd> MakeScratch() override {
    Fd fd(::openat(root_.get(), ".", O_TMPFILE | O_RDWR | kSafe, 0600));
    if (!fd.valid()) return ErrnoError(errno, "make a scratch file");
    // What has no checksums cannot share with what has (fs/btrfs/reflink.c). The directory may pass that on,
    // and so may the mount, which no flag tells (nodatasum): while the file is empty, setting flags without
    // NOCOW undoes both (btrfs_fileattr_set, fs/btrfs/ioctl.c).
    int flags = 0;
    if (is_btrfs_ && ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0) {
      flags &= ~FS_NOCOW_FL;
      ::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags);
    }
    return fd;
  }

  absl::StatusOr<std::unique_ptr<StorageMap>> OpenStorageMap() override {
    if (!is_btrfs_) {
      return WithDetail(absl::UnimplementedError("the filesystem keeps no checksums of data"), "NO_CHECKSUMS",
                        "", EOPNOTSUPP);
    }
    return OpenBtrfsMap(root_.get());
  }

  int root_fd() const override { return root_.get(); }

 private:
  // The order is that of the numbers.
  absl::Status LookByNumber(absl::Span<const NamedFile> files, absl::Span<const size_t> order,
                            const Stop& stop, std::vector<absl::optional<FileFacts>>& facts) {
    struct stat root;
    if (::fstat(root_.get(), &root) != 0) return ErrnoError(errno, "fstat");
    std::vector<uint64_t> numbers;
    for (const size_t i : order) numbers.push_back(files[i].inode);
    const auto found = [&](size_t at, FileFacts file) {
      file.device = root.st_dev;
      facts[order[at]] = file;
    };
    return LookUpXfsInodes(root_.get(), numbers, stop, found);
  }

  const Fd root_;
  const bool is_btrfs_;
  const bool is_xfs_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileTree>> LinuxFileTrees::OpenRoot(const Root& root) {
  Fd fd(::open(root.local_path.c_str(), O_RDONLY | O_DIRECTORY | kSafe));
  if (!fd.valid()) {
    return errno == ENOENT ? Absent(root, "is not there")
                           : ErrnoError(errno, Doing("open root", root.local_path));
  }
  const bool is_mount_point = IsMountPoint(fd.get());
  std::lock_guard<std::mutex> lock(mutex_);
  if (is_mount_point) {
    mounted_.insert(root.local_path);
  } else if (mounted_.count(root.local_path) > 0) {
    return Absent(root,
                  "was a filesystem's mount point and is none now; mount it, or restart the node to "
                  "use the directory");
  }
  return std::unique_ptr<FileTree>(new LinuxFileTree(std::move(fd)));
}

}  // namespace cowherd
