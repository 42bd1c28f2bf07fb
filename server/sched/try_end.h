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

// What it means for an open task without a stream that its node has told when it began.
enum class RestartVerdict {
  // It has not begun anew since the run, or nobody knows.
  kSame,
  // It has, but no run was heard of: the order may have gone to a node that was down. Taken as sent anew.
  kExcused,
  // It came down under the task.
  kCrashed,
};

struct LastHeard {
  // When the node of the run, or to which it was ordered, had begun. Not set: not known.
  absl::Time node_started = absl::InfinitePast();
  // As Runs tells: once is chance, twice is not.
  bool unheard = false;
  bool excused = false;
};

RestartVerdict JudgeRestart(const LastHeard& last, absl::Time node_started);

// No run of the task exists any more, or none will be heard of.
void CloseTry(Task& task, const absl::Status& why, const TryContext& context);

// Its node is lost, and its job does not wait for lost nodes.
void GiveUpTask(Task& task, const absl::Status& why);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_TRY_END_H_
