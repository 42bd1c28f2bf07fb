#ifndef COWHERD_SERVER_SCAN_SEEN_LINKS_H_
#define COWHERD_SERVER_SCAN_SEEN_LINKS_H_

#include <cstddef>

#include "absl/container/flat_hash_set.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// Files with several names that were seen, within a memory budget. What there is no room for is new each
// time. One thread.
class SeenLinks {
 public:
  // In bytes.
  explicit SeenLinks(size_t budget) : most_(budget / kBytesEach) {}

  // Whether it was seen before; from now on it was, if there is room.
  bool Meet(const FileKey& file) {
    if (seen_.size() < most_) return !seen_.insert(file).second;
    return seen_.contains(file);
  }

 private:
  // A slot and its control byte, at the least load, and half as much beside it while the table doubles.
  static constexpr size_t kBytesEach = (sizeof(FileKey) + 1) * 16 / 7 * 3 / 2;

  const size_t most_;
  absl::flat_hash_set<FileKey> seen_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SEEN_LINKS_H_
