#ifndef COWHERD_SERVER_SCAN_SHARE_QUEUE_H_
#define COWHERD_SERVER_SCAN_SHARE_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "server/fs/file_tree.h"
#include "server/scan/cached_ranges.h"
#include "server/scan/share.h"
#include "server/scan/storage_set.h"

namespace cowherd {

// Says what is read and what is shared next. Each range is read once, however many groups need it, in the
// order of storage within a window of groups: soon some can be shared while the disk reads on, and what they
// brought in can go. Reading is begun well ahead of the one worker that waits for it, so that the disk always
// has something to do; one long range is begun at a time, so that it is not sent to and fro. A group is
// shared as soon as all of it is read, and let go then, but for a source that overlaps another group's: it is
// kept to the end. What is kept is bounded by the groups given, see SplitGroups. Decides, and touches no
// file. Any thread.
class ShareQueue {
 public:
  struct Range {
    FileKey file;
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t storage = 0;
  };
  // Shorter ranges are begun by all workers at once.
  static constexpr uint64_t kLongRange = 256 << 10;
  // Who begins a range waits for what of it is more.
  static constexpr uint64_t kMaxBegunOfRange = 4 << 20;

  struct Step {
    enum class Kind { kBegin, kAwait, kShare, kEnd };
    Kind kind = Kind::kEnd;
    size_t index = 0;  // of a range, of a group
    size_t count = 1;  // of ranges to be begun
  };

  // `together`: bytes that may be begun at once.
  explicit ShareQueue(std::vector<ShareGroup> groups, uint64_t together = UINT64_MAX);

  // Each range comes to be begun, and again to be waited for unless Begun said that this is not needed; each
  // group comes once. What is begun is one range, or several short ones that follow each other in their file,
  // 1 MiB at most. Waits while nothing is ready and other workers begin and wait for what comes next. The
  // end: other workers share what is left.
  Step Next();

  const Range& range(size_t index) const { return ranges_[index].range; }
  const ShareGroup& group(size_t index) const { return groups_[index]; }
  // The ranges of a group: the source's, unless it is moved, then the places' in their order; of moved ones
  // the first place's.
  absl::Span<const size_t> RangesOf(size_t group) const { return ranges_of_[group]; }

  // To be called once for each range that was to be begun. The file is open from now on, and what is behind
  // the first `read` bytes is on its way into the page cache; with the whole length nothing is to be waited
  // for. `cached`: bytes that were there by then, also by ranges of this queue. Null: it could not be
  // opened, and is not waited for.
  void Begun(size_t range, std::shared_ptr<const OpenFile> file, uint64_t read, uint64_t cached);
  // How much of the range was read before it was to be waited for.
  uint64_t ReadOf(size_t range) const;
  // To be called once for each range that was to be waited for.
  void Arrived(size_t range);
  // Null: it could not be opened.
  std::shared_ptr<const OpenFile> FileOf(size_t range) const;

  // The group is done with: tells what was brought in and is not needed any more.
  std::vector<CachedRange> Done(size_t group);
  // The same of all groups, done or not.
  std::vector<CachedRange> AllDone();

 private:
  struct RangeState {
    Range range;
    std::vector<size_t> groups;  // ascending
    size_t users = 0;            // groups that are not done, and one more if it is kept
    bool source = false;
    bool kept = false;  // to the end
    uint64_t read = 0;
    std::shared_ptr<const OpenFile> file;
    bool brought_in = false;
  };

  void KeepSourcesThatOverlap();
  void OrderByWindow();
  // Of the next ranges.
  size_t CountTogether() const;
  void Ready(size_t range);
  void LetGo(RangeState& state, std::vector<CachedRange>& cached);

  std::vector<ShareGroup> groups_;
  const uint64_t together_;
  std::vector<std::vector<size_t>> ranges_of_;
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool begins_long_range_ = false;  // a worker does
  bool awaits_ = false;             // a worker does
  std::vector<RangeState> ranges_;  // as they are read
  std::vector<size_t> unread_;      // ranges of each group that are still to be read
  size_t next_range_ = 0;           // to be begun
  std::deque<size_t> begun_;        // ranges to be waited for
  size_t ranges_on_their_way_ = 0;  // these, and those in the hands of workers
  uint64_t bytes_on_their_way_ = 0;
  absl::flat_hash_map<FileKey, StorageSet> brought_in_;  // of the ranges that are kept to the end
  std::deque<size_t> ready_;                             // groups
  uint64_t ready_bytes_ = 0;
  size_t ready_places_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SHARE_QUEUE_H_
