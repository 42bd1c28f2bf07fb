#ifndef COWHERD_SERVER_SCHED_NEWS_H_
#define COWHERD_SERVER_SCHED_NEWS_H_

#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "server/jobs/job.h"
#include "server/sched/node_link.h"
#include "server/sched/try_end.h"
#include "server/sched/verdict.h"

namespace cowherd {

// How a try of a task ended.
struct TryEnd {
  // What the run said at its end. Unset: the stream ended without that.
  absl::optional<RunEvent> last;
  // Why the stream ended, where `last` is unset.
  absl::Status status;
};

// What runs told and the store does not have yet.
struct News {
  // The latest of each run, in the order of the runs.
  std::vector<RunEvent> progress;
  // The try is over; its stream is gone.
  absl::optional<TryEnd> end;
};

// What the end of a try came to.
struct Ending {
  // Unset: the task is done.
  absl::optional<Verdict> verdict;
  // Why, where there is a verdict.
  absl::Status why;
  // The run was stopped as it had been told to.
  bool asked = false;
};

// What news mean beyond the task.
struct Outcome {
  // Opaque results of the task. Empty: none.
  std::string results;
  // Unset: the try goes on.
  absl::optional<Ending> ending;
};

// Counts in the task what its runs told of their progress. `starts_over` as CountRun's.
void CountProgress(Task& task, const News& news, bool starts_over);

// Makes of the task what its news say. Pure but for `random`.
Outcome TakeNews(Task& task, const News& news, bool starts_over, TryContext context, absl::BitGenRef random);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NEWS_H_
