#include "server/dedupe/run.h"

#include <vector>

#include "server/base/status.h"

namespace cowherd {

absl::Status RunDedupe(ExtentOps& ops, const DedupeRange& range, absl::Span<const DedupeTarget> targets,
                       const Stop& stop, DedupePlan& plan) {
  ReadAhead reading(ops, range, targets);
  bool tried = false;
  while (absl::optional<DedupePlan::Call> call = plan.Next()) {
    if (absl::Status why = stop.Check(); !why.ok()) {
      plan.StopAll(why);
      break;
    }
    reading.Await(*call);
    std::vector<DedupeTarget> batch;
    batch.reserve(call->targets.size());
    for (size_t i : call->targets) batch.push_back({targets[i].fd, targets[i].offset + call->offset});
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
