#ifndef COWHERD_SERVER_SCHED_VERDICT_H_
#define COWHERD_SERVER_SCHED_VERDICT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// What the end of a try means for its task.
enum class Verdict {
  // The way to the node broke, the run may go on: send the same attempt again.
  kLost,
  // The node has no free place: send the same attempt again later.
  kBusy,
  // Somebody stopped the run.
  kStopped,
  // May go better in a new attempt.
  kRetry,
  // So may this, but the filesystem is full, over quota, read-only or broken: until it is not, any task of it
  // would fail. That is no failure of the task, which waits for as long as it takes.
  kFilesystem,
  // The same where the filesystem is not mounted.
  kAbsent,
  // Would fail the same way again.
  kFinal,
  // The node obeys another controller.
  kFenced,
};

// `status` ended the stream: the RPC's status, so nothing was tried or the stream broke. OK: it ended without
// a summary.
Verdict JudgeStream(const absl::Status& status);

// `status` came in a summary: the run is over. Must not be OK.
Verdict JudgeRun(const absl::Status& status);

// Why a task is tried again, for a metric: one of kRetryReasons.
absl::string_view RetryReason(Verdict verdict, const absl::Status& status);
inline constexpr absl::string_view kRetryReasons[] = {
    "node_unreachable", "node_busy", "stopped", "root_absent", "no_space", "disk", "read_only", "other"};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_VERDICT_H_
