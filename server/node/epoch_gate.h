#ifndef COWHERD_SERVER_NODE_EPOCH_GATE_H_
#define COWHERD_SERVER_NODE_EPOCH_GATE_H_

#include <cstdint>
#include <mutex>
#include <set>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace cowherd {

// Lets orders in by the sender's term of office: once one of a higher epoch was let in, those of lower ones
// are refused, and what belongs to a lower one is told. Epoch 0 is none: always let in, never told. Any
// thread.
class EpochGate {
 public:
  using Keep = absl::AnyInvocable<absl::Status(uint64_t epoch)>;

  // `highest` was seen before. `keep` makes a higher one last before any order of it is let in; it may block,
  // and is called by one thread at a time.
  EpochGate(uint64_t highest, Keep keep) : keep_(std::move(keep)), highest_(highest) {}

  // FAILED_PRECONDITION "STALE_EPOCH": a higher one was let in. UNAVAILABLE "EPOCH_NOT_KEPT": `keep` failed,
  // and the epoch was not let in. Blocks on `keep` for the first order of an epoch; others pass meanwhile.
  absl::Status Enter(uint64_t epoch);

  // As Enter, of an epoch that was let in before: whether it still is. Does not block.
  absl::Status Check(uint64_t epoch) const;

  // Tells `told` once a higher epoch than `epoch` is let in, on the thread that lets it in, or at once if
  // that has been; until this object goes. `told` must not call the gate, nor block.
  class Watch {
   public:
    Watch(EpochGate& gate, uint64_t epoch, absl::AnyInvocable<void()> told);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    friend class EpochGate;
    EpochGate& gate_;
    const uint64_t epoch_;
    absl::AnyInvocable<void()> told_;
  };

 private:
  absl::Status CheckLocked(uint64_t epoch) const;

  std::mutex keeping_;  // taken before mutex_
  Keep keep_;
  mutable std::mutex mutex_;
  uint64_t highest_;
  std::set<Watch*> watches_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_EPOCH_GATE_H_
