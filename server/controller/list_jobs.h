#ifndef COWHERD_SERVER_CONTROLLER_LIST_JOBS_H_
#define COWHERD_SERVER_CONTROLLER_LIST_JOBS_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cowherd/v1/controller.pb.h"
#include "server/jobs/job.h"

namespace cowherd {

// As JobStore::List.
using JobLister = absl::FunctionRef<absl::StatusOr<std::vector<JobRecord>>(
    const std::vector<JobState>& states, uint64_t before, size_t limit)>;

// Answers ListJobs by what `list` gives.
absl::Status ListJobsFrom(const v1::ListJobsRequest& request, JobLister list, v1::ListJobsResponse* response);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_LIST_JOBS_H_
