#ifndef COWHERD_SERVER_SCHED_TRY_END_H_
#define COWHERD_SERVER_SCHED_TRY_END_H_

#include <cstdint>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/sched/verdict.h"

namespace cowherd {

// What the end of a try depends on beyond the task. Everything below is pure but for `random`.
struct TryContext {
  absl::Time now;
  // Its job is to end.
  bool cancelled = false;
  // This controller had asked for a stop.
  bool asked = false;
  // Losses of the way to the node in a row, this one included.
  uint32_t losses = 1;
  // A task that failed so often has failed for good.
  uint32_t max_failures = 10;
};

// The try ended without the work being done, for this reason. `task` must be open.
void FailTry(Task& task, Verdict verdict, const absl::Status& why, const TryContext& context,
             absl::BitGenRef random);

// The run said that the work is done.
void FinishTask(Task& task);

// Its node began anew while the task was open there. The second time the task is set aside: FAILED, "POISON".
void CrashTry(Task& task, const TryContext& context, absl::BitGenRef random);

// No run of the task exists any more, or none will be heard of.
void CloseTry(Task& task, const absl::Status& why, const TryContext& context);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_TRY_END_H_
