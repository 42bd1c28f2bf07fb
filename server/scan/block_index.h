#ifndef COWHERD_SERVER_SCAN_BLOCK_INDEX_H_
#define COWHERD_SERVER_SCAN_BLOCK_INDEX_H_

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/optional.h"
#include "server/scan/fingerprint_source.h"

namespace cowherd {

// Where blocks were seen first, within a fixed memory budget. Keeps only anchors: blocks whose fingerprint is
// 0 modulo 2^k. k starts at 0 and grows as the budget fills, so an equal run of some 2^k blocks still holds
// an anchor wherever it starts. Files without an anchor left are forgotten. Any thread.
class BlockIndex {
 public:
  using FileId = uint32_t;
  struct Location {
    FileId file = 0;
    uint32_t block = 0;
    bool operator==(const Location& other) const { return file == other.file && block == other.block; }
  };
  // 2^32 blocks: 16 TiB of 4 KiB blocks; later blocks of a file are not indexed.
  static constexpr uint64_t kMaxBlock = UINT32_MAX;

  // In bytes; at least 1 MiB is used.
  explicit BlockIndex(size_t budget);

  // A file about to be indexed, by its path. Call ReleaseFile once its blocks are in.
  FileId AddFile(std::string path);
  void ReleaseFile(FileId file);
  // Empty: forgotten.
  std::string PathOf(FileId file) const;

  // Where this block was seen first. None: not an anchor, or not seen before; an anchor is then kept as seen
  // `here`.
  absl::optional<Location> FindOrInsert(Fingerprint fingerprint, Location here);

  // Keeps an anchor as seen `here` instead of where it was.
  void Replace(Fingerprint fingerprint, Location here);

  size_t bytes() const;
  size_t entries() const;
  // k.
  int sampling() const;

 private:
  struct File {
    std::string path;
    uint64_t references = 0;  // anchors, plus one while it is being indexed
  };

  bool IsAnchor(Fingerprint fingerprint) const { return (fingerprint & mask_) == 0; }
  size_t BytesLocked() const;
  void MakeRoomLocked();
  void UnreferenceLocked(FileId file);

  const size_t budget_;
  const size_t max_entries_;
  mutable std::mutex mutex_;
  absl::flat_hash_map<Fingerprint, Location> anchors_;
  std::deque<File> files_;  // grows without a second copy
  std::vector<FileId> free_files_;
  size_t path_bytes_ = 0;
  uint64_t mask_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_BLOCK_INDEX_H_
