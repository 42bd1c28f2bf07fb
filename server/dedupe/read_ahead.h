#ifndef COWHERD_SERVER_DEDUPE_READ_AHEAD_H_
#define COWHERD_SERVER_DEDUPE_READ_AHEAD_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/dedupe/plan.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

struct DedupeRange {
  int source = -1;  // open for reading
  uint64_t offset = 0;
  uint64_t length = 0;
};

// Brings what the calls of one dedupe compare into the page cache. Of a range that is longer than a piece, a
// thread of its own reads what the next call compares meanwhile; it is begun with the first call that waits
// for the disk. One thread.
class ReadAhead {
 public:
  // Of each side: what a call that waits for the disk should compare at most, so that it reads on meanwhile.
  static constexpr uint64_t kPiece = 2 << 20;

  // What it is given must outlive it.
  ReadAhead(ExtentOps& ops, const DedupeRange& range, absl::Span<const DedupeTarget> targets);
  // Waits for at most one piece that is being read.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // All that `call` compares was cached before anything was read here.
  bool IsCached(const DedupePlan::Call& call);
  // Returns once all that `call` compares, of each side a piece at most, is cached as far as it can be read.
  void Await(const DedupePlan::Call& call);

 private:
  struct Side {
    int fd = -1;
    uint64_t offset = 0;     // of the range, in the file
    uint64_t cached_to = 0;  // from the beginning of the range: was cached when it was looked at
    uint64_t begun_to = 0;   // is being read, or was
  };
  struct Piece {
    int fd = -1;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  void ForSides(const DedupePlan::Call& call, absl::FunctionRef<void(Side&)> work);
  bool IsCached(Side& side, uint64_t from, uint64_t to);
  // What of the call's sides is still to be read.
  std::vector<Piece> Missing(const DedupePlan::Call& call, uint64_t from, uint64_t to);
  void Read();

  ExtentOps& ops_;
  const uint64_t length_;
  std::vector<Side> sides_;  // the source, then the targets

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  size_t asked_for_ = 0;  // pieces, ever
  size_t read_ = 0;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_READ_AHEAD_H_
