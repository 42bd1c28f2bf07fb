#ifndef COWHERD_SERVER_JOBS_NAMES_H_
#define COWHERD_SERVER_JOBS_NAMES_H_

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "server/jobs/job.h"

// From the names that stores keep (JobStateName and its like) back to the values. Empty: not such a name.
namespace cowherd {

absl::optional<JobState> JobStateFrom(absl::string_view name);
absl::optional<TaskState> TaskStateFrom(absl::string_view name);
absl::optional<Wanted> WantedFrom(absl::string_view name);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_NAMES_H_
