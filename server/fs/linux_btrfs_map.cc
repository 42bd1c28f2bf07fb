#include "server/fs/linux_btrfs_map.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "server/base/read_file.h"
#include "server/base/status.h"
#include "server/fs/linux_btrfs_tree.h"

namespace cowherd {
namespace {

// The kernel clears what it is given, all of it: small where little is asked for.
constexpr size_t kReferenceBytes = 1 << 20;
constexpr size_t kSmallReferenceBytes = 4096;
// Of one file to one extent, to be looked up one by one.
constexpr uint32_t kMaxOwnReferences = 64;
// Checksums of so many blocks in a row are read by themselves.
constexpr size_t kManyBlocks = 4096;
// Some MiB of the extent tree.
constexpr size_t kMaxPassedOver = 1 << 17;
// BTRFS_FEATURE_INCOMPAT_EXTENT_TREE_V2 (linux/btrfs.h, since 5.18; experimental).
constexpr uint64_t kSeveralExtentTrees = uint64_t{1} << 13;
constexpr size_t kMaxDirectories = 1 << 14;
// Of a file, that are looked at.
constexpr size_t kMaxNames = 1000;
constexpr uint64_t kImmutable = 1 << 6;  // BTRFS_INODE_IMMUTABLE, linux/btrfs_tree.h since 6.2
constexpr BtrfsKey kLastKey = {UINT64_MAX, UINT32_MAX, UINT64_MAX};

// Items of trees are packed and little-endian, as is every machine this is built for.
template <typename T>
T ItemAs(absl::string_view item) {
  T value;
  std::memset(&value, 0, sizeof(value));
  std::memcpy(&value, item.data(), std::min(item.size(), sizeof(value)));
  return value;
}

// Whether new files in that directory may be compressed: they inherit it from the directory, or the mount has
// an option for it (proc_pid_mountinfo(5)). True also if it cannot be told, as before Linux 5.8
// (STATX_MNT_ID).
bool MayCompress(int directory) {
  int flags = 0;
  if (::ioctl(directory, FS_IOC_GETFLAGS, &flags) != 0 || (flags & FS_COMPR_FL) != 0) return true;
  struct statx seen;
  if (::statx(directory, "", AT_EMPTY_PATH, STATX_MNT_ID, &seen) != 0) return true;
  const absl::StatusOr<std::string> mounts = ReadFile("/proc/self/mountinfo");
  if ((seen.stx_mask & STATX_MNT_ID) == 0 || !mounts.ok()) return true;
  const std::string mount = absl::StrCat(seen.stx_mnt_id, " ");
  for (const absl::string_view line : absl::StrSplit(*mounts, '\n')) {
    if (!absl::StartsWith(line, mount)) continue;
    const absl::string_view options = line.substr(line.rfind(' ') + 1);
    return absl::StrContains(options, ",compress");
  }
  return true;
}

class BtrfsMap final : public StorageMap {
 public:
  explicit BtrfsMap(int root) : root_(root), trees_(root) {}

  absl::Status Open() {
    ASSIGN_OR_RETURN(const btrfs_ioctl_fs_info_args info, FsInfo(BTRFS_FS_INFO_FLAG_CSUM_INFO));
    block_size_ = info.sectorsize;
    // Before Linux 5.10 it is not told; then there are no other checksums than crc32c of default filesystems.
    checksum_bytes_ = (info.flags & BTRFS_FS_INFO_FLAG_CSUM_INFO) != 0 ? info.csum_size : 4;
    // The most one item can cover: a leaf full of checksums.
    item_span_ = uint64_t{info.nodesize} / checksum_bytes_ * block_size_;

    btrfs_ioctl_feature_flags features = {};
    if (::ioctl(root_, BTRFS_IOC_GET_FEATURES, &features) == 0 &&
        (features.incompat_flags & kSeveralExtentTrees) != 0) {
      return ErrnoError(EOPNOTSUPP, "read checksums of several extent trees");
    }

    btrfs_ioctl_ino_lookup_args own = {};
    own.objectid = BTRFS_FIRST_FREE_OBJECTID;
    if (::ioctl(root_, BTRFS_IOC_INO_LOOKUP, &own) != 0) return ErrnoError(errno, "BTRFS_IOC_INO_LOOKUP");
    struct stat stat;
    if (::fstat(root_, &stat) != 0) return ErrnoError(errno, "fstat");
    root_key_ = {own.treeid, stat.st_ino};
    ASSIGN_OR_RETURN(prefix_, PathFromTop(own.treeid, stat.st_ino));
    if (!prefix_.empty()) prefix_ += '/';
    may_compress_ = MayCompress(root_);
    // Fails here, not in the middle, where the rights are missing.
    absl::Status may = Extents(0, 1, 0).status();
    Forget();
    return may;
  }

  absl::StatusOr<StorageExtents> Extents(uint64_t from, size_t max, uint64_t since) override {
    StorageExtents found;
    const auto is_wanted = [since](const BtrfsKey& key, absl::string_view item) {
      if (key.type != BTRFS_EXTENT_ITEM_KEY) return false;
      const auto extent = ItemAs<btrfs_extent_item>(item);
      return (extent.flags & BTRFS_EXTENT_FLAG_DATA) != 0 && (since == 0 || extent.generation > since);
    };
    size_t passed_over = 0;
    const auto take = [&](const BtrfsKey& key, absl::string_view item) {
      if (is_wanted(key, item)) {
        found.extents.push_back({key.object, key.offset});
      } else {
        ++passed_over;
      }
      if (found.extents.size() < max && passed_over < kMaxPassedOver) return true;
      // An extent's item comes before all others of its address.
      found.next = key.object + 1;
      return false;
    };
    const BtrfsKey first = {from, 0, 0};
    if (since == 0) {
      RETURN_IF_ERROR(trees_.Read(BTRFS_EXTENT_TREE_OBJECTID, first, kLastKey, take));
    } else {
      // Leaves out whole nodes of the tree; what is left of them holds older extents too.
      RETURN_IF_ERROR(trees_.ReadMany(BTRFS_EXTENT_TREE_OBJECTID, first, kLastKey, since + 1, take));
    }
    return found;
  }

  absl::StatusOr<uint64_t> CommittedGeneration() override {
    ASSIGN_OR_RETURN(const btrfs_ioctl_fs_info_args info, FsInfo(BTRFS_FS_INFO_FLAG_GENERATION));
    // The caller commits itself: BTRFS_IOC_START_SYNC leaves that to a thread of the kernel that, among
    // writers, may sleep on for 30 s (seen with 6.18).
    if (::syncfs(root_) != 0) return ErrnoError(errno, "syncfs");
    __u64 generation = info.generation;
    if ((info.flags & BTRFS_FS_INFO_FLAG_GENERATION) == 0) {
      // Before Linux 5.10.
      if (::ioctl(root_, BTRFS_IOC_START_SYNC, &generation) != 0) {
        return ErrnoError(errno, "BTRFS_IOC_START_SYNC");
      }
      if (::ioctl(root_, BTRFS_IOC_WAIT_SYNC, &generation) != 0)
        return ErrnoError(errno, "BTRFS_IOC_WAIT_SYNC");
    }
    Forget();
    return generation;
  }

  FileKey root() const override { return root_key_; }

  absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) override {
    const uint64_t end = address + count * block_size_;
    std::vector<uint64_t> checksums(count);
    const auto take = [&](const BtrfsKey& key, absl::string_view item) {
      const size_t blocks = item.size() / checksum_bytes_;
      const size_t skip = key.offset < address ? (address - key.offset) / block_size_ : 0;
      for (size_t i = skip; i < blocks; ++i) {
        const uint64_t at = key.offset + i * block_size_;
        if (at >= end) break;
        uint64_t folded = 0;
        std::memcpy(&folded, item.data() + i * checksum_bytes_, std::min<size_t>(checksum_bytes_, 8));
        checksums[(at - address) / block_size_] = folded == 0 ? 1 : folded;
      }
      return true;
    };
    // The item that holds the first may begin so much before.
    const BtrfsKey first = {BTRFS_EXTENT_CSUM_OBJECTID, BTRFS_EXTENT_CSUM_KEY,
                            address - std::min(address, item_span_)};
    const BtrfsKey last = {BTRFS_EXTENT_CSUM_OBJECTID, BTRFS_EXTENT_CSUM_KEY, end - 1};
    if (count < kManyBlocks) {
      RETURN_IF_ERROR(trees_.Read(BTRFS_CSUM_TREE_OBJECTID, first, last, take));
    } else {
      RETURN_IF_ERROR(trees_.ReadMany(BTRFS_CSUM_TREE_OBJECTID, first, last, 0, take));
    }
    return checksums;
  }

  absl::StatusOr<std::vector<Reference>> References(const StorageExtent& extent) override {
    absl::StatusOr<absl::optional<std::vector<Reference>>> own = OwnReferences(extent);
    if (own.ok() && *own) return **std::move(own);
    return AllReferences(extent);
  }

  absl::StatusOr<std::string> PathOf(const FileKey& file, Wanted wanted) override {
    ASSIGN_OR_RETURN(std::string path, NameFromTop(file, [&](const std::string& name) {
                       return absl::StartsWith(name, prefix_) && wanted(name.substr(prefix_.size()));
                     }));
    return path.substr(prefix_.size());
  }

  absl::StatusOr<InodeFacts> InodeOf(const FileKey& file) override {
    const BtrfsKey key = {file.inode, BTRFS_INODE_ITEM_KEY, 0};
    absl::optional<InodeFacts> facts;
    RETURN_IF_ERROR(trees_.Read(file.subvolume, key, key, [&](const BtrfsKey&, absl::string_view item) {
      const auto inode = ItemAs<btrfs_inode_item>(item);
      facts = InodeFacts{inode.size, inode.generation, (inode.flags & kImmutable) != 0};
      return false;
    }));
    if (!facts) return absl::NotFoundError("no such inode");
    return *facts;
  }

  absl::StatusOr<uint64_t> ExtentsOf(const FileKey& file, uint64_t most) override {
    uint64_t extents = 0;
    RETURN_IF_ERROR(trees_.ReadMany(file.subvolume, {file.inode, BTRFS_EXTENT_DATA_KEY, 0},
                                    {file.inode, BTRFS_EXTENT_DATA_KEY, UINT64_MAX}, 0,
                                    [&](const BtrfsKey&, absl::string_view bytes) {
                                      const auto item = ItemAs<btrfs_file_extent_item>(bytes);
                                      if (item.type == BTRFS_FILE_EXTENT_INLINE || item.disk_bytenr != 0)
                                        ++extents;
                                      return extents <= most;
                                    }));
    return extents;
  }

  void Forget() override {
    trees_.Forget();
    last_snapshots_.clear();
    directories_.clear();
    subvolumes_.clear();
  }

  uint32_t block_size() const override { return block_size_; }
  unsigned checksum_bits() const override { return checksum_bytes_ * 8; }
  bool may_compress() const override { return may_compress_; }

 private:
  // A file's references to an extent, as its back reference in the extent tree counts them.
  struct Owner {
    FileKey file;
    uint64_t begin = 0;  // where the extent would begin in the file
    uint32_t count = 0;
  };

  // With what `flags` ask for, where the kernel knows it: its answer has those flags, too.
  absl::StatusOr<btrfs_ioctl_fs_info_args> FsInfo(uint64_t flags) const {
    btrfs_ioctl_fs_info_args info = {};
    info.flags = flags;
    if (::ioctl(root_, BTRFS_IOC_FS_INFO, &info) != 0) return ErrnoError(errno, "BTRFS_IOC_FS_INFO");
    return info;
  }

  // By the back references beside the extent, at a fraction of the cost of resolving them in the kernel.
  // None: that is not all, since trees may be shared with a snapshot that was taken after the extent was
  // written, or there are many.
  absl::StatusOr<absl::optional<std::vector<Reference>>> OwnReferences(const StorageExtent& extent) {
    ASSIGN_OR_RETURN(const absl::optional<std::vector<Owner>> owners, Owners(extent));
    if (!owners) return absl::nullopt;
    std::vector<Reference> references;
    for (const Owner& owner : *owners) {
      const BtrfsKey first = {owner.file.inode, BTRFS_EXTENT_DATA_KEY, owner.begin};
      const BtrfsKey last = {owner.file.inode, BTRFS_EXTENT_DATA_KEY,
                             owner.begin + std::max(extent.length, kMaxEncodedBytes) - 1};
      uint32_t found = 0;
      RETURN_IF_ERROR(
          trees_.Read(owner.file.subvolume, first, last, [&](const BtrfsKey& key, absl::string_view bytes) {
            const absl::optional<Reference> reference = AsReference(owner.file, key.offset, bytes, extent);
            if (reference && key.offset - reference->extent_offset == owner.begin) {
              references.push_back(*reference);
              ++found;
            }
            return found < owner.count;
          }));
      if (found < owner.count) return absl::nullopt;
    }
    return references;
  }

  // None: not all of them are told.
  absl::StatusOr<absl::optional<std::vector<Owner>>> Owners(const StorageExtent& extent) {
    const BtrfsKey key = {extent.address, BTRFS_EXTENT_ITEM_KEY, extent.length};
    std::vector<Owner> owners;
    uint64_t untold = UINT64_MAX;
    uint64_t generation = 0;
    const auto take = [&](const BtrfsKey&, absl::string_view bytes) {
      const auto item = ItemAs<btrfs_extent_item>(bytes);
      untold = item.refs;
      generation = item.generation;
      // After the item: a type, and what belongs to it, for each.
      constexpr size_t kOwnerBytes = 1 + sizeof(btrfs_extent_data_ref);
      bytes.remove_prefix(std::min(bytes.size(), sizeof(item)));
      while (bytes.size() >= kOwnerBytes && bytes[0] == static_cast<char>(BTRFS_EXTENT_DATA_REF_KEY)) {
        const auto owner = ItemAs<btrfs_extent_data_ref>(bytes.substr(1));
        owners.push_back({{owner.root, owner.objectid}, owner.offset, owner.count});
        untold -= owner.count;
        bytes.remove_prefix(kOwnerBytes);
      }
      return false;
    };
    RETURN_IF_ERROR(trees_.Read(BTRFS_EXTENT_TREE_OBJECTID, key, key, take));
    if (untold != 0) return absl::nullopt;
    for (const Owner& owner : owners) {
      // A file that begins in the middle of an extent has a back reference that begins before the file.
      if (owner.count > kMaxOwnReferences || owner.begin > INT64_MAX) return absl::nullopt;
      ASSIGN_OR_RETURN(const uint64_t last_snapshot, LastSnapshot(owner.file.subvolume));
      if (generation <= last_snapshot) return absl::nullopt;
    }
    return owners;
  }

  // The generation in which the subvolume was last made a snapshot of, or as one.
  absl::StatusOr<uint64_t> LastSnapshot(uint64_t subvolume) {
    const auto known = last_snapshots_.find(subvolume);
    if (known != last_snapshots_.end()) return known->second;
    uint64_t last = UINT64_MAX;
    RETURN_IF_ERROR(trees_.Read(BTRFS_ROOT_TREE_OBJECTID, {subvolume, BTRFS_ROOT_ITEM_KEY, 0},
                                {subvolume, BTRFS_ROOT_ITEM_KEY, UINT64_MAX},
                                [&](const BtrfsKey&, absl::string_view item) {
                                  last = ItemAs<btrfs_root_item>(item).last_snapshot;
                                  return false;
                                }));
    return last_snapshots_[subvolume] = last;
  }

  // As the kernel resolves them.
  absl::StatusOr<std::vector<Reference>> AllReferences(const StorageExtent& extent) {
    references_.resize(kReferenceBytes / sizeof(uint64_t));
    const auto* found = reinterpret_cast<const btrfs_data_container*>(references_.data());
    for (size_t size = kSmallReferenceBytes;; size = kReferenceBytes) {
      btrfs_ioctl_logical_ino_args args = {};
      args.logical = extent.address;
      args.size = size;
      args.flags = BTRFS_LOGICAL_INO_ARGS_IGNORE_OFFSET;
      args.inodes = reinterpret_cast<uintptr_t>(references_.data());
      if (::ioctl(root_, BTRFS_IOC_LOGICAL_INO_V2, &args) != 0) {
        return ErrnoError(errno, "BTRFS_IOC_LOGICAL_INO_V2");
      }
      if (found->elem_missed == 0) break;
      if (size == kReferenceBytes) return absl::ResourceExhaustedError("an extent has too many references");
    }
    std::vector<Reference> references;
    for (uint32_t i = 0; i + 2 < found->elem_cnt; i += 3) {
      const FileKey file{found->val[i + 2], found->val[i]};
      ASSIGN_OR_RETURN(const absl::optional<Reference> reference,
                       ReferenceAt(file, found->val[i + 1], extent));
      if (reference) references.push_back(*reference);
    }
    return references;
  }

  // None: the file has changed there.
  absl::StatusOr<absl::optional<Reference>> ReferenceAt(const FileKey& file, uint64_t offset,
                                                        const StorageExtent& extent) {
    const BtrfsKey key = {file.inode, BTRFS_EXTENT_DATA_KEY, offset};
    absl::optional<Reference> reference;
    RETURN_IF_ERROR(trees_.Read(file.subvolume, key, key, [&](const BtrfsKey&, absl::string_view bytes) {
      reference = AsReference(file, offset, bytes, extent);
      return false;
    }));
    return reference;
  }

  // None: that item of the file refers to another extent, or to none.
  static absl::optional<Reference> AsReference(const FileKey& file, uint64_t offset, absl::string_view bytes,
                                               const StorageExtent& extent) {
    const auto item = ItemAs<btrfs_file_extent_item>(bytes);
    if (item.type == BTRFS_FILE_EXTENT_INLINE || item.disk_bytenr != extent.address) return absl::nullopt;
    return Reference{file,
                     offset,
                     item.offset,
                     item.num_bytes,
                     item.compression != 0 || item.encryption != 0,
                     item.type == BTRFS_FILE_EXTENT_PREALLOC};
  }

  // Of a directory.
  absl::StatusOr<std::string> PathFromTop(uint64_t subvolume, uint64_t inode) {
    if (inode != BTRFS_FIRST_FREE_OBJECTID) {
      return NameFromTop({subvolume, inode}, [](const std::string&) { return true; });
    }
    ASSIGN_OR_RETURN(const std::string* top, SubvolumePath(subvolume));
    return *top;
  }

  // The first of its names that is wanted.
  absl::StatusOr<std::string> NameFromTop(const FileKey& file, Wanted wanted) {
    ASSIGN_OR_RETURN(const std::string* top, SubvolumePath(file.subvolume));
    absl::Status none = absl::NotFoundError("the file has no name there");
    absl::optional<std::string> found;
    size_t names = 0;
    const auto is_wanted = [&](uint64_t directory, absl::string_view name) {
      const absl::StatusOr<const std::string*> above = DirectoryPath({file.subvolume, directory});
      if (!above.ok()) {
        none = above.status();
        return false;
      }
      std::string path = absl::StrCat(*top, top->empty() ? "" : "/", **above, name);
      if (!wanted(path)) return false;
      found = std::move(path);
      return true;
    };
    // An item holds all names in one directory, or, of those for which there is no room there, all whose hash
    // is the same.
    const auto take = [&](const BtrfsKey& key, absl::string_view item) {
      const bool extended = key.type == BTRFS_INODE_EXTREF_KEY;
      const size_t head = extended ? sizeof(btrfs_inode_extref) : sizeof(btrfs_inode_ref);
      while (item.size() > head) {
        const auto ref = ItemAs<btrfs_inode_ref>(item);
        const auto extref = ItemAs<btrfs_inode_extref>(item);
        const size_t length = extended ? extref.name_len : ref.name_len;
        if (is_wanted(extended ? extref.parent_objectid : key.offset, item.substr(head, length)))
          return false;
        if (++names == kMaxNames) return false;
        item.remove_prefix(std::min(item.size(), head + length));
      }
      return true;
    };
    RETURN_IF_ERROR(trees_.Read(file.subvolume, {file.inode, BTRFS_INODE_REF_KEY, 0},
                                {file.inode, BTRFS_INODE_EXTREF_KEY, UINT64_MAX}, take));
    if (!found) return none;
    return *std::move(found);
  }

  // Within its subvolume; "" or with a slash at the end.
  absl::StatusOr<const std::string*> DirectoryPath(const FileKey& directory) {
    const auto known = directories_.find(directory);
    if (known != directories_.end()) return &known->second;
    btrfs_ioctl_ino_lookup_args args = {};
    args.treeid = directory.subvolume;
    args.objectid = directory.inode;
    if (::ioctl(root_, BTRFS_IOC_INO_LOOKUP, &args) != 0) return ErrnoError(errno, "BTRFS_IOC_INO_LOOKUP");
    if (directories_.size() >= kMaxDirectories) directories_.clear();
    return &directories_.emplace(directory, args.name).first->second;
  }

  // From the top of the filesystem.
  absl::StatusOr<const std::string*> SubvolumePath(uint64_t id) {
    const auto known = subvolumes_.find(id);
    if (known != subvolumes_.end()) return &known->second;
    bool found = false;
    uint64_t parent = 0;
    uint64_t directory = 0;
    std::string name;
    const auto take = [&](const BtrfsKey& key, absl::string_view item) {
      if (key.type == BTRFS_ROOT_ITEM_KEY) {
        found = true;
      } else if (key.type == BTRFS_ROOT_BACKREF_KEY) {
        const auto ref = ItemAs<btrfs_root_ref>(item);
        parent = key.offset;
        directory = ref.dirid;
        name = std::string(item.substr(std::min(item.size(), sizeof(ref)), ref.name_len));
      }
      return true;
    };
    RETURN_IF_ERROR(trees_.Read(BTRFS_ROOT_TREE_OBJECTID, {id, BTRFS_ROOT_ITEM_KEY, 0},
                                {id, BTRFS_ROOT_BACKREF_KEY, UINT64_MAX}, take));
    if (!found || (parent == 0 && id != BTRFS_FS_TREE_OBJECTID)) {
      return absl::NotFoundError(absl::StrCat("no subvolume ", id));
    }
    if (parent != 0) {
      ASSIGN_OR_RETURN(const std::string above, PathFromTop(parent, directory));
      if (!above.empty()) name = absl::StrCat(above, "/", name);
    }
    return &subvolumes_.emplace(id, std::move(name)).first->second;
  }

  const int root_;
  BtrfsTrees trees_;
  std::vector<uint64_t> references_;
  uint32_t block_size_ = 0;
  size_t checksum_bytes_ = 0;
  bool may_compress_ = false;
  uint64_t item_span_ = 0;
  FileKey root_key_;
  std::string prefix_;  // of the root's paths, from the top; "" or with a slash at the end
  std::map<uint64_t, std::string> subvolumes_;
  std::map<uint64_t, uint64_t> last_snapshots_;
  absl::flat_hash_map<FileKey, std::string> directories_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<StorageMap>> OpenBtrfsMap(int root) {
  auto map = std::make_unique<BtrfsMap>(root);
  RETURN_IF_ERROR(map->Open());
  return std::unique_ptr<StorageMap>(std::move(map));
}

}  // namespace cowherd
