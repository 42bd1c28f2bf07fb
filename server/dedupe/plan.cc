#include "server/dedupe/plan.h"

#include <algorithm>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kMaxBytesOfTargets = 16 << 20;

}  // namespace

void CountOutcome(const TargetResult& result, Totals& totals) {
  totals.bytes_accepted += result.bytes_accepted;
  if (result.outcome == DedupeOutcome::kDeduped) ++totals.ranges_deduped;
  if (result.outcome == DedupeOutcome::kDiffers) ++totals.ranges_differ;
  if (result.outcome == DedupeOutcome::kFailed) ++totals.ranges_failed;
}

DedupePlan::DedupePlan(uint64_t length, size_t targets, uint64_t max_bytes_per_call)
    : length_(length), max_bytes_per_call_(max_bytes_per_call), results_(targets) {}

absl::optional<DedupePlan::Call> DedupePlan::Next() const {
  uint64_t behind = length_;
  for (const TargetResult& result : results_) {
    if (result.outcome == DedupeOutcome::kPending) behind = std::min(behind, result.bytes_accepted);
  }
  if (behind == length_) return absl::nullopt;
  Call call;
  call.offset = behind;
  call.length = std::min(length_ - behind, max_bytes_per_call_);
  // All targets of a call are compared before it can be stopped.
  const uint64_t most_bytes = std::max(max_bytes_per_call_, kMaxBytesOfTargets);
  const size_t most = std::clamp<uint64_t>(most_bytes / call.length, 1, kMaxDedupeTargets);
  for (size_t i = 0; i < results_.size() && call.targets.size() < most; ++i) {
    const TargetResult& result = results_[i];
    if (result.outcome != DedupeOutcome::kPending) continue;
    if (result.bytes_accepted == behind) {
      call.targets.push_back(i);
    } else if (result.bytes_accepted < behind + call.length) {
      // This one was served short before and is ahead by part of a call: do not compare its bytes twice.
      call.length = result.bytes_accepted - behind;
    }
  }
  return call;
}

void DedupePlan::Apply(const Call& call, absl::Span<const DedupeAnswer> answers) {
  for (size_t i = 0; i < call.targets.size(); ++i) {
    TargetResult& result = results_[call.targets[i]];
    const DedupeAnswer& answer = answers[i];
    switch (answer.kind) {
      case DedupeAnswer::Kind::kDiffers:
        result.outcome = DedupeOutcome::kDiffers;
        break;
      case DedupeAnswer::Kind::kError:
        Fail(call.targets[i], ErrnoError(answer.error, "share the range"));
        break;
      case DedupeAnswer::Kind::kSame:
        if (answer.bytes == 0) {
          Fail(call.targets[i],
               MakeError(absl::StatusCode::kInternal, "NO_PROGRESS",
                         "the kernel answered \"same\" for 0 bytes; it would do so for ever"));
          break;
        }
        result.bytes_accepted += std::min(answer.bytes, call.length);
        if (result.bytes_accepted == length_) result.outcome = DedupeOutcome::kDeduped;
        break;
    }
  }
}

void DedupePlan::Fail(size_t target, const absl::Status& error) {
  results_[target].outcome = DedupeOutcome::kFailed;
  results_[target].error = error;
}

void DedupePlan::StopAll(const absl::Status& why) {
  for (TargetResult& result : results_) {
    if (result.outcome != DedupeOutcome::kPending) continue;
    result.outcome = DedupeOutcome::kStopped;
    result.error = why;
  }
}

}  // namespace cowherd
