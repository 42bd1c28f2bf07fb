#ifndef COWHERD_SERVER_FS_STORAGE_MAP_H_
#define COWHERD_SERVER_FS_STORAGE_MAP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace cowherd {

// What one compressed extent holds at most, as files see it (fs/btrfs/compression.h).
constexpr uint64_t kMaxEncodedBytes = 128 << 10;

// A piece of a filesystem's storage that holds file data. Its space comes back only as a whole, once no file
// refers to any part of it.
struct StorageExtent {
  uint64_t address = 0;
  uint64_t length = 0;  // as stored; with compression less than files see
};

// What StorageMap::Extents tells at once.
struct StorageExtents {
  std::vector<StorageExtent> extents;
  uint64_t next = 0;  // where to go on; 0: there are no more
};

// A file within a filesystem of many subvolumes.
struct FileKey {
  uint64_t subvolume = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileKey& a, const FileKey& b) {
    return a.subvolume == b.subvolume && a.inode == b.inode;
  }
  friend bool operator<(const FileKey& a, const FileKey& b) {
    return a.subvolume != b.subvolume ? a.subvolume < b.subvolume : a.inode < b.inode;
  }
  template <typename H>
  friend H AbslHashValue(H h, const FileKey& key) {
    return H::combine(std::move(h), key.subvolume, key.inode);
  }
};

struct InodeFacts {
  uint64_t size = 0;        // in bytes, as the file ends
  uint64_t generation = 0;  // tells files apart that have the same number one after the other
  bool immutable = false;   // chattr +i: the kernel does not let it share with others, but others with it
};

// A file's use of a storage extent, or of a part of it.
struct Reference {
  FileKey file;
  uint64_t offset = 0;         // in the file
  uint64_t extent_offset = 0;  // of the part, from the extent's beginning as files see it
  uint64_t length = 0;         // as the file sees it
  bool encoded = false;        // compressed: checksums are of the stored bytes
  bool unwritten = false;      // preallocated: reads as zeros, has no checksums
  // Bytes of the last block, where the file ends within it; 0: whole blocks. StorageMap does not tell.
  uint32_t tail = 0;
};

// The storage of one filesystem that keeps checksums of its data: which extents there are, the checksums of
// their blocks, and who refers to them. What is not committed yet may be missing, and what was read before is
// kept for later answers, up to Forget(). Errors are ErrnoError. One thread.
class StorageMap {
 public:
  virtual ~StorageMap() = default;

  // Data extents that begin at or after `from`, ascending, at most `max`; only those made after generation
  // `since`. None, and yet somewhere to go on: so much else lies there that the call would take long.
  // What is older and far from anything newer is not even read. An extent's data may be newer than itself
  // where it was reserved first, or where the filesystem writes in place.
  virtual absl::StatusOr<StorageExtents> Extents(uint64_t from, size_t max, uint64_t since) = 0;

  // Commits what was begun, then tells the generation up to which all is committed: extents that come later
  // are of higher ones. As Forget(). Grows for as long as the filesystem lives, mounted or not; 1 or more.
  virtual absl::StatusOr<uint64_t> CommittedGeneration() = 0;

  // The root directory.
  virtual FileKey root() const = 0;

  // The checksum of each of `count` blocks from `address`, folded to 64 bits; 0: there is none.
  virtual absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) = 0;

  // Every reference to the extent, of all subvolumes and snapshots. RESOURCE_EXHAUSTED: some ten thousands or
  // more.
  virtual absl::StatusOr<std::vector<Reference>> References(const StorageExtent& extent) = 0;

  // A path of the file below the root directory that is wanted: the first, where it has several names; a
  // thousand of them are looked at. NOT_FOUND: it has none. `wanted` must not ask this map.
  using Wanted = absl::FunctionRef<bool(const std::string& path)>;
  virtual absl::StatusOr<std::string> PathOf(const FileKey& file, Wanted wanted) = 0;

  virtual absl::StatusOr<InodeFacts> InodeOf(const FileKey& file) = 0;

  // Extents that the file has, holes not counted; no more than `most` + 1 are counted.
  virtual absl::StatusOr<uint64_t> ExtentsOf(const FileKey& file, uint64_t most) = 0;

  // The filesystem was changed: answers tell how it is from now on.
  virtual void Forget() = 0;

  virtual uint32_t block_size() const = 0;
  // Of a checksum, before folding.
  virtual unsigned checksum_bits() const = 0;
  // Whether the filesystem may compress what is written to new files in the root directory.
  virtual bool may_compress() const = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_STORAGE_MAP_H_
