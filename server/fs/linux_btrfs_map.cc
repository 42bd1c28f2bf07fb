#include "server/fs/linux_btrfs_map.h"

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// The kernel clears or touches what it is given, all of it: small where little is asked for.
constexpr size_t kSearchBytes = 1 << 20;
constexpr size_t kSmallSearchBytes = 4096;
// Some hundreds of a file's extents.
constexpr size_t kFileSearchBytes = 64 << 10;
constexpr size_t kReferenceBytes = 1 << 20;
constexpr size_t kSmallReferenceBytes = 4096;
constexpr uint64_t kNoLimit = UINT64_MAX;
// What one compressed extent holds at most (fs/btrfs/compression.h).
constexpr uint64_t kMaxEncodedBytes = 128 << 10;
// Of one file to one extent, to be looked up one by one.
constexpr uint32_t kMaxOwnReferences = 64;

using Header = btrfs_ioctl_search_header;

// Items of trees are packed and little-endian, as is every machine this is built for.
template <typename T>
T ItemAs(absl::string_view item) {
  T value;
  std::memset(&value, 0, sizeof(value));
  std::memcpy(&value, item.data(), std::min(item.size(), sizeof(value)));
  return value;
}

class BtrfsMap final : public StorageMap {
 public:
  explicit BtrfsMap(int root) : root_(root), buffer_(sizeof(btrfs_ioctl_search_args_v2) + kSearchBytes) {}

  absl::Status Open() {
    btrfs_ioctl_fs_info_args info = {};
    info.flags = BTRFS_FS_INFO_FLAG_CSUM_INFO;
    if (::ioctl(root_, BTRFS_IOC_FS_INFO, &info) != 0) return ErrnoError(errno, "BTRFS_IOC_FS_INFO");
    block_size_ = info.sectorsize;
    // Before Linux 5.10 it is not told; then there are no other checksums than crc32c of default filesystems.
    checksum_bytes_ = (info.flags & BTRFS_FS_INFO_FLAG_CSUM_INFO) != 0 ? info.csum_size : 4;
    // The most one item can cover: a leaf full of checksums.
    item_span_ = uint64_t{info.nodesize} / checksum_bytes_ * block_size_;

    btrfs_ioctl_ino_lookup_args own = {};
    own.objectid = BTRFS_FIRST_FREE_OBJECTID;
    if (::ioctl(root_, BTRFS_IOC_INO_LOOKUP, &own) != 0) return ErrnoError(errno, "BTRFS_IOC_INO_LOOKUP");
    struct stat stat;
    if (::fstat(root_, &stat) != 0) return ErrnoError(errno, "fstat");
    root_key_ = {own.treeid, stat.st_ino};
    ASSIGN_OR_RETURN(prefix_, PathFromTop(own.treeid, stat.st_ino));
    // Fails here, not in the middle, where the rights are missing.
    return Extents(0, 1, 0).status();
  }

  absl::StatusOr<std::vector<StorageExtent>> Extents(uint64_t from, size_t max, uint64_t since) override {
    btrfs_ioctl_search_key key = Key(BTRFS_EXTENT_TREE_OBJECTID);
    key.min_objectid = from;
    key.max_objectid = kNoLimit;
    key.min_type = 0;
    key.max_type = UINT32_MAX;
    // Leaves out whole nodes of the tree; what is left of them holds older extents too.
    key.min_transid = since == 0 ? 0 : since + 1;
    last_snapshots_.clear();
    std::vector<StorageExtent> extents;
    RETURN_IF_ERROR(Search(key, max < 64 ? kSmallSearchBytes : kSearchBytes,
                           [&](const Header& header, absl::string_view item) {
                             if (header.type != BTRFS_EXTENT_ITEM_KEY) return true;
                             const auto extent = ItemAs<btrfs_extent_item>(item);
                             if ((extent.flags & BTRFS_EXTENT_FLAG_DATA) == 0) return true;
                             if (since != 0 && extent.generation <= since) return true;
                             extents.push_back({header.objectid, header.offset});
                             return extents.size() < max;
                           }));
    return extents;
  }

  absl::StatusOr<uint64_t> CommittedGeneration() override {
    __u64 generation = 0;
    if (::ioctl(root_, BTRFS_IOC_START_SYNC, &generation) != 0) {
      return ErrnoError(errno, "BTRFS_IOC_START_SYNC");
    }
    if (::ioctl(root_, BTRFS_IOC_WAIT_SYNC, &generation) != 0)
      return ErrnoError(errno, "BTRFS_IOC_WAIT_SYNC");
    return generation;
  }

  FileKey root() const override { return root_key_; }

  absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) override {
    const uint64_t end = address + count * block_size_;
    btrfs_ioctl_search_key key =
        Key(BTRFS_CSUM_TREE_OBJECTID, BTRFS_EXTENT_CSUM_OBJECTID, BTRFS_EXTENT_CSUM_KEY);
    key.min_offset = address - std::min(address, item_span_);
    key.max_offset = end - 1;
    std::vector<uint64_t> checksums(count);
    const size_t bytes =
        std::min<size_t>(kSearchBytes, (item_span_ / block_size_ + count) * checksum_bytes_ + 4096);
    RETURN_IF_ERROR(Search(key, bytes, [&](const Header& header, absl::string_view item) {
      const size_t blocks = item.size() / checksum_bytes_;
      const size_t skip = header.offset < address ? (address - header.offset) / block_size_ : 0;
      for (size_t i = skip; i < blocks; ++i) {
        const uint64_t at = header.offset + i * block_size_;
        if (at >= end) break;
        uint64_t folded = 0;
        std::memcpy(&folded, item.data() + i * checksum_bytes_, std::min<size_t>(checksum_bytes_, 8));
        checksums[(at - address) / block_size_] = folded == 0 ? 1 : folded;
      }
      return true;
    }));
    return checksums;
  }

  absl::StatusOr<std::vector<Reference>> References(const StorageExtent& extent) override {
    absl::StatusOr<absl::optional<std::vector<Reference>>> own = OwnReferences(extent);
    if (own.ok() && *own) return **std::move(own);
    return AllReferences(extent);
  }

  absl::StatusOr<std::string> PathOf(const FileKey& file) override {
    ASSIGN_OR_RETURN(std::string path, PathFromTop(file.subvolume, file.inode));
    if (prefix_.empty()) return path;
    if (!absl::StartsWith(path, absl::StrCat(prefix_, "/"))) return absl::NotFoundError("not below the root");
    return path.substr(prefix_.size() + 1);
  }

  absl::StatusOr<uint64_t> SizeOf(const FileKey& file) override {
    const btrfs_ioctl_search_key key = Key(file.subvolume, file.inode, BTRFS_INODE_ITEM_KEY);
    absl::optional<uint64_t> size;
    RETURN_IF_ERROR(Search(key, kSmallSearchBytes, [&](const Header&, absl::string_view item) {
      size = ItemAs<btrfs_inode_item>(item).size;
      return false;
    }));
    if (!size) return absl::NotFoundError("no such inode");
    return *size;
  }

  absl::StatusOr<uint64_t> ExtentsOf(const FileKey& file, uint64_t most) override {
    const btrfs_ioctl_search_key key = Key(file.subvolume, file.inode, BTRFS_EXTENT_DATA_KEY);
    uint64_t extents = 0;
    RETURN_IF_ERROR(Search(key, kFileSearchBytes, [&](const Header&, absl::string_view bytes) {
      const auto item = ItemAs<btrfs_file_extent_item>(bytes);
      if (item.type == BTRFS_FILE_EXTENT_INLINE || item.disk_bytenr != 0) ++extents;
      return extents <= most;
    }));
    return extents;
  }

  uint32_t block_size() const override { return block_size_; }
  unsigned checksum_bits() const override { return checksum_bytes_ * 8; }

 private:
  // A file's references to an extent, as its back reference in the extent tree counts them.
  struct Owner {
    FileKey file;
    uint64_t begin = 0;  // where the extent would begin in the file
    uint32_t count = 0;
  };

  // By the back references beside the extent, at a fraction of the cost of resolving them in the kernel.
  // None: that is not all, since trees may be shared with a snapshot that was taken after the extent was
  // written, or there are many.
  absl::StatusOr<absl::optional<std::vector<Reference>>> OwnReferences(const StorageExtent& extent) {
    ASSIGN_OR_RETURN(const absl::optional<std::vector<Owner>> owners, Owners(extent));
    if (!owners) return absl::nullopt;
    std::vector<Reference> references;
    for (const Owner& owner : *owners) {
      btrfs_ioctl_search_key key = Key(owner.file.subvolume, owner.file.inode, BTRFS_EXTENT_DATA_KEY);
      key.min_offset = owner.begin;
      key.max_offset = owner.begin + std::max(extent.length, kMaxEncodedBytes) - 1;
      uint32_t found = 0;
      RETURN_IF_ERROR(Search(key, kSmallSearchBytes, [&](const Header& header, absl::string_view bytes) {
        const absl::optional<Reference> reference = AsReference(owner.file, header.offset, bytes, extent);
        if (reference && header.offset - reference->extent_offset == owner.begin) {
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
    btrfs_ioctl_search_key key = Key(BTRFS_EXTENT_TREE_OBJECTID, extent.address, BTRFS_EXTENT_ITEM_KEY);
    key.min_offset = key.max_offset = extent.length;
    std::vector<Owner> owners;
    uint64_t untold = UINT64_MAX;
    uint64_t generation = 0;
    RETURN_IF_ERROR(Search(key, kSmallSearchBytes, [&](const Header&, absl::string_view bytes) {
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
    }));
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
    const btrfs_ioctl_search_key key = Key(BTRFS_ROOT_TREE_OBJECTID, subvolume, BTRFS_ROOT_ITEM_KEY);
    uint64_t last = UINT64_MAX;
    RETURN_IF_ERROR(Search(key, kSmallSearchBytes, [&](const Header&, absl::string_view item) {
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

  static btrfs_ioctl_search_key Key(uint64_t tree) {
    btrfs_ioctl_search_key key = {};
    key.tree_id = tree;
    key.max_offset = kNoLimit;
    key.max_transid = kNoLimit;
    return key;
  }

  // Items of one type that belong to one object, at all offsets.
  static btrfs_ioctl_search_key Key(uint64_t tree, uint64_t object, uint32_t type) {
    btrfs_ioctl_search_key key = Key(tree);
    key.min_objectid = key.max_objectid = object;
    key.min_type = key.max_type = type;
    return key;
  }

  // Calls `item` for each item in key order, until it returns false.
  absl::Status Search(btrfs_ioctl_search_key key, size_t bytes,
                      absl::FunctionRef<bool(const Header&, absl::string_view)> item) {
    auto* args = reinterpret_cast<btrfs_ioctl_search_args_v2*>(buffer_.data());
    while (true) {
      args->key = key;
      args->key.nr_items = UINT32_MAX;
      args->buf_size = bytes;
      if (::ioctl(root_, BTRFS_IOC_TREE_SEARCH_V2, args) != 0) {
        if (errno == EOVERFLOW && bytes < kSearchBytes) {
          bytes = kSearchBytes;
          continue;
        }
        return ErrnoError(errno, "BTRFS_IOC_TREE_SEARCH_V2");
      }
      if (args->key.nr_items == 0) return absl::OkStatus();
      const char* at = reinterpret_cast<const char*>(args->buf);
      Header header = {};
      for (uint32_t i = 0; i < args->key.nr_items; ++i) {
        std::memcpy(&header, at, sizeof(header));
        at += sizeof(header);
        if (!item(header, absl::string_view(at, header.len))) return absl::OkStatus();
        at += header.len;
      }
      // On from the key after the last one.
      key.min_objectid = header.objectid;
      key.min_type = header.type;
      key.min_offset = header.offset + 1;
      if (key.min_offset == 0 && ++key.min_type == 0) ++key.min_objectid;
    }
  }

  // None: the file has changed there.
  absl::StatusOr<absl::optional<Reference>> ReferenceAt(const FileKey& file, uint64_t offset,
                                                        const StorageExtent& extent) {
    btrfs_ioctl_search_key key = Key(file.subvolume, file.inode, BTRFS_EXTENT_DATA_KEY);
    key.min_offset = key.max_offset = offset;
    absl::optional<Reference> reference;
    RETURN_IF_ERROR(Search(key, kSmallSearchBytes, [&](const Header&, absl::string_view bytes) {
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

  absl::StatusOr<std::string> PathFromTop(uint64_t subvolume, uint64_t inode) {
    ASSIGN_OR_RETURN(const std::string* top, SubvolumePath(subvolume));
    if (inode == BTRFS_FIRST_FREE_OBJECTID) return *top;
    ASSIGN_OR_RETURN(std::string path, PathInSubvolume(subvolume, inode));
    return top->empty() ? path : absl::StrCat(*top, "/", path);
  }

  absl::StatusOr<std::string> PathInSubvolume(uint64_t subvolume, uint64_t inode) {
    btrfs_ioctl_ino_lookup_args args = {};
    args.treeid = subvolume;
    args.objectid = inode;
    if (::ioctl(root_, BTRFS_IOC_INO_LOOKUP, &args) != 0) return ErrnoError(errno, "BTRFS_IOC_INO_LOOKUP");
    return std::string(absl::StripSuffix(args.name, "/"));
  }

  // From the top of the filesystem.
  absl::StatusOr<const std::string*> SubvolumePath(uint64_t id) {
    const auto known = subvolumes_.find(id);
    if (known != subvolumes_.end()) return &known->second;
    btrfs_ioctl_search_key key = Key(BTRFS_ROOT_TREE_OBJECTID);
    key.min_objectid = key.max_objectid = id;
    key.min_type = BTRFS_ROOT_ITEM_KEY;
    key.max_type = BTRFS_ROOT_BACKREF_KEY;
    bool found = false;
    uint64_t parent = 0;
    uint64_t directory = 0;
    std::string name;
    RETURN_IF_ERROR(Search(key, kSmallSearchBytes, [&](const Header& header, absl::string_view item) {
      if (header.type == BTRFS_ROOT_ITEM_KEY) {
        found = true;
      } else if (header.type == BTRFS_ROOT_BACKREF_KEY) {
        const auto ref = ItemAs<btrfs_root_ref>(item);
        parent = header.offset;
        directory = ref.dirid;
        name = std::string(item.substr(std::min(item.size(), sizeof(ref)), ref.name_len));
      }
      return true;
    }));
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
  std::vector<char> buffer_;
  std::vector<uint64_t> references_;
  uint32_t block_size_ = 0;
  size_t checksum_bytes_ = 0;
  uint64_t item_span_ = 0;
  FileKey root_key_;
  std::string prefix_;
  std::map<uint64_t, std::string> subvolumes_;
  std::map<uint64_t, uint64_t> last_snapshots_;  // since the last look at extents
};

}  // namespace

absl::StatusOr<std::unique_ptr<StorageMap>> OpenBtrfsMap(int root) {
  auto map = std::make_unique<BtrfsMap>(root);
  RETURN_IF_ERROR(map->Open());
  return std::unique_ptr<StorageMap>(std::move(map));
}

}  // namespace cowherd
