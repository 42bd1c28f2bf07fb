#ifndef COWHERD_SERVER_SCHED_JOB_VIEW_H_
#define COWHERD_SERVER_SCHED_JOB_VIEW_H_

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "server/jobs/job.h"
#include "server/sched/holds.h"

namespace cowherd {

// A job as people are shown it: results only if it has ended, and with what is not kept with it.
struct JobView : JobRecord {
  // Who paused it. Unset: nobody has.
  absl::optional<Hold> hold;
  // Why nothing of it is done now, on whatever node. OK: nothing to say.
  absl::Status waits;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_JOB_VIEW_H_
