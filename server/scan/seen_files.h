#ifndef COWHERD_SERVER_SCAN_SEEN_FILES_H_
#define COWHERD_SERVER_SCAN_SEEN_FILES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/fs/file_tree.h"
#include "server/scan/scan_state.h"

namespace cowherd {

// Files as they were when scans looked at them, as hashes of 48 bits within a memory budget: some 4 bytes
// each. A file that is new or changed is taken for one that was looked at once in 30 million times, with 10
// million files. What there is no room for is looked at again by the next scan, which is slow but right.
// Pure. One thread.
class SeenFiles {
 public:
  // In bytes; at least 512 KiB are used.
  explicit SeenFiles(size_t budget);

  // Changes with the path, inode number, size, and the times of modification and change.
  static uint64_t HashOf(absl::string_view path, const FileFacts& facts);

  // Whether the last scan has looked at it, or this one as far as was merged; it is then one of this scan's
  // too.
  bool Meet(uint64_t hash);
  // This scan has looked at it.
  void Add(uint64_t hash);

  void Clear();

  // Files that the last scan has looked at.
  size_t last() const { return last_; }
  // Files that Add was called for.
  size_t added() const { return added_; }
  // There was no room.
  size_t left_out() const { return left_out_; }
  size_t bytes() const;

  // Those met or added; with `all`, also those of the last scan that were not met yet.
  void Save(bool all, StateWriter& writer);
  // Takes what was saved as the last scan's, in place of what is there. DATA_LOSS: it is not such a set.
  absl::Status Load(StateReader& reader);
  // Passes over what was saved.
  static absl::Status Skip(StateReader& reader);

 private:
  void MakeRoom();
  void Merge();

  const size_t most_;
  const size_t most_new_;
  // Ascending by hash. Of each the lower 32 bits; starts_[h]: the first one whose upper 16 are h or more,
  // with one more for the end.
  std::vector<uint32_t> starts_;
  std::vector<uint32_t> lower_;
  std::vector<bool> met_;      // of lower_: met or added
  std::vector<uint64_t> new_;  // to be merged
  size_t last_ = 0;
  size_t added_ = 0;
  size_t left_out_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SEEN_FILES_H_
