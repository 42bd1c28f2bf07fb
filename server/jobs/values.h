#ifndef COWHERD_SERVER_JOBS_VALUES_H_
#define COWHERD_SERVER_JOBS_VALUES_H_

#include "absl/status/statusor.h"
#include "server/jobs/job.h"
#include "server/jobs/values.pb.h"

// Jobs and tasks as messages that can be stored, and back: nothing is lost. DATA_LOSS "STORE_CORRUPT": not
// such a message. Pure.
namespace cowherd {

// Without spec_bytes and bytes.
stored::JobValue ToValue(const Job& job);
absl::StatusOr<Job> FromValue(const stored::JobValue& value);

stored::TaskValue ToValue(const Task& task);
absl::StatusOr<Task> FromValue(const stored::TaskValue& value);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_VALUES_H_
