#ifndef COWHERD_SERVER_DEDUPE_READ_AHEAD_H_
#define COWHERD_SERVER_DEDUPE_READ_AHEAD_H_

#include <atomic>
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

// Brings what the calls of one dedupe compare into the page cache. Where another call follows one that waits
// for the disk, a thread reads on behind it meanwhile: some 16 MiB of each side at most. One thread.
class ReadAhead {
 public:
  // What it is given must outlive it.
  ReadAhead(ExtentOps& ops, const DedupeRange& range, absl::Span<const DedupeTarget> targets);
  // Waits for at most one piece of less than 4 MiB that is being read, or begun.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Returns once all that `call` compares is cached, as far as it can be read.
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
  // Asks for what of the call's sides was not begun, piece by piece of all sides in turn.
  void Ask(const DedupePlan::Call& call, uint64_t from, uint64_t to);
  void Read();
  // The first of the pieces; begins those behind it, too. Lets go of the lock meanwhile.
  void ReadOne(std::unique_lock<std::mutex>& lock);

  ExtentOps& ops_;
  const uint64_t length_;
  std::vector<Side> sides_;  // the source, then the targets

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  size_t begun_ = 0;      // of them, from the first on
  size_t asked_for_ = 0;  // pieces, ever
  size_t read_ = 0;
  std::atomic<bool> ends_ = false;  // changes with the lock
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_READ_AHEAD_H_
