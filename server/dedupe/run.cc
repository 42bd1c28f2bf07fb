#include "server/dedupe/run.h"

#include <algorithm>
#include <vector>

#include "server/base/status.h"

namespace cowherd {
namespace {

// Of each side, beyond the call that is being made.
constexpr uint64_t kMaxReadAhead = 4 << 20;

}  // namespace

absl::Status RunDedupe(ExtentOps& ops, const DedupeRange& range, absl::Span<const DedupeTarget> targets,
                       const Stop& stop, DedupePlan& plan) {
  bool tried = false;
  uint64_t source_cached_to = 0;
  while (absl::optional<DedupePlan::Call> call = plan.Next()) {
    if (absl::Status why = stop.Check(); !why.ok()) {
      plan.StopAll(why);
      break;
    }
    std::vector<DedupeTarget> batch;
    batch.reserve(call->targets.size());
    for (size_t i : call->targets) batch.push_back({targets[i].fd, targets[i].offset + call->offset});
    // All sides are begun before any is waited for, so that the disk has enough to do.
    std::vector<DedupeTarget> uncached;
    const auto start_reading = [&](int fd, uint64_t offset) {
      if (ops.StartReading(fd, offset, call->length) != CachedPart::kAll) uncached.push_back({fd, offset});
    };
    // Further batches of targets compare with the same bytes of the source.
    if (call->offset + call->length > source_cached_to) {
      start_reading(range.source, range.offset + call->offset);
      source_cached_to = call->offset + call->length;
    }
    for (const DedupeTarget& target : batch) start_reading(target.fd, target.offset);
    for (const DedupeTarget& side : uncached) ops.Prefetch(side.fd, side.offset, call->length);
    // So that it goes on reading during the comparison.
    const uint64_t next = call->offset + call->length;
    if (next < range.length) {
      const uint64_t ahead = std::min({range.length - next, call->length, kMaxReadAhead});
      ops.StartReading(range.source, range.offset + next, ahead);
      for (size_t i : call->targets) ops.StartReading(targets[i].fd, targets[i].offset + next, ahead);
    }
    absl::StatusOr<std::vector<DedupeAnswer>> answers =
        ops.Dedupe(range.source, range.offset + call->offset, call->length, batch);
    if (answers.ok()) {
      plan.Apply(*call, *answers);
    } else if (!tried) {
      return answers.status();
    } else {
      for (size_t i : call->targets) plan.Fail(i, answers.status());
    }
    tried = true;
  }
  return absl::OkStatus();
}

}  // namespace cowherd
