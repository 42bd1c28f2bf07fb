#ifndef COWHERD_SERVER_SCAN_SEEN_FILES_H_
#define COWHERD_SERVER_SCAN_SEEN_FILES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/fs/file_tree.h"
#include "server/scan/scan_state.h"

namespace cowherd {

// Files as they were when scans looked at them, within a memory budget: 8 bytes each, and never more than
// fit into the head of a state (some 8 million). What there is no room for is looked at again by the next
// scan, which is slow but right. Pure. One thread.
class SeenFiles {
 public:
  // In bytes.
  explicit SeenFiles(size_t budget)
      : most_(std::min<size_t>(budget, kMaxHeadBytes - sizeof(uint64_t)) / sizeof(uint64_t)) {}

  // Changes with the path, inode number, size, and the times of modification and change.
  static uint64_t HashOf(absl::string_view path, const FileFacts& facts);

  // Whether the last scan has looked at it; it is then one of this scan's too.
  bool Meet(uint64_t hash);
  // This scan has looked at it.
  void Add(uint64_t hash);

  void Clear();

  // Files that the last scan has looked at.
  size_t last() const { return last_.size(); }
  // Files that Add was called for.
  size_t added() const { return added_; }
  // There was no room.
  size_t left_out() const { return left_out_; }

  // Those met or added; with `all`, also those of the last scan that were not met yet.
  void Save(bool all, StateWriter& writer) const;
  // Takes what was saved as the last scan's, in place of what is there. DATA_LOSS: it is not such a set.
  absl::Status Load(StateReader& reader);

 private:
  const size_t most_;
  std::vector<uint64_t> last_;  // ascending
  std::vector<bool> met_;       // of last_
  std::vector<uint64_t> new_;
  size_t added_ = 0;
  size_t left_out_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SEEN_FILES_H_
