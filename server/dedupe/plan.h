#ifndef COWHERD_SERVER_DEDUPE_PLAN_H_
#define COWHERD_SERVER_DEDUPE_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "server/base/totals.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

enum class DedupeOutcome { kPending, kDeduped, kDiffers, kFailed, kStopped };

struct TargetResult {
  DedupeOutcome outcome = DedupeOutcome::kPending;
  uint64_t bytes_accepted = 0;
  absl::Status error;  // with kFailed and kStopped
};

// Adds the accepted bytes and the outcome; pending and stopped count as neither done nor failed.
void CountOutcome(const TargetResult& result, Totals& totals);

// One dedupe of any length into any number of targets, cut into calls that the kernel takes. Pure: the caller
// makes the calls and reports the answers. Targets that keep pace share calls; one that the kernel served
// short catches up alone.
class DedupePlan {
 public:
  struct Call {
    uint64_t offset = 0;  // from the beginning of the range
    uint64_t length = 0;
    // Indices. At most kMaxDedupeTargets, and with more than one no more in all than
    // max_bytes_per_call or 16 MiB, whichever is more.
    std::vector<size_t> targets;
  };

  // length > 0; 0 < max_bytes_per_call <= kMaxDedupeLength.
  DedupePlan(uint64_t length, size_t targets, uint64_t max_bytes_per_call);

  // What to ask next; none: every target has its outcome.
  absl::optional<Call> Next() const;

  // The kernel's answers to `call`, one per target of it. A target for which it made no progress at all has
  // failed.
  void Apply(const Call& call, absl::Span<const DedupeAnswer> answers);

  // One target failed, before or instead of an answer.
  void Fail(size_t target, const absl::Status& error);

  // Every target still pending was stopped.
  void StopAll(const absl::Status& why);

  const std::vector<TargetResult>& results() const { return results_; }

 private:
  const uint64_t length_;
  const uint64_t max_bytes_per_call_;
  std::vector<TargetResult> results_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_PLAN_H_
