#ifndef COWHERD_SERVER_CONTROLLER_REQUEST_H_
#define COWHERD_SERVER_CONTROLLER_REQUEST_H_

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cowherd/v1/controller.pb.h"
#include "server/jobs/job.h"
#include "server/sched/holds.h"
#include "server/sched/plan.h"

// From requests to checked values. Errors are INVALID_ARGUMENT and name the request's field.
namespace cowherd {

// Limits not said in the proto.
inline constexpr size_t kMaxSpecBytes = size_t{3} << 20;
inline constexpr int kMaxNodes = 10'000;
inline constexpr int kMaxLabels = 100;
inline constexpr int kMaxRoots = 1'000;
inline constexpr int kMaxPaths = 1'000;
inline constexpr int kMaxGlobs = 1'000;
inline constexpr size_t kMaxBy = 200;

struct CheckedJob {
  // The same bytes for the same spec.
  std::string spec;
  JobPlan plan;
  std::string request_id;
};

// The same bytes for the same message, whatever the order of its maps.
std::string Serialize(const google::protobuf::MessageLite& message);

// Of a client; also those of other calls that make a job.
absl::Status CheckRequestId(absl::string_view request_id);

absl::StatusOr<CheckedJob> CheckCreateJob(const v1::CreateJobRequest& request);

// The plan of a spec that CheckCreateJob made. DATA_LOSS "STORE_CORRUPT": it did not.
absl::StatusOr<JobPlan> ReadPlan(absl::string_view spec);

struct CheckedList {
  std::vector<JobState> states;
  size_t page_size = 0;
  // 0: from the newest.
  uint64_t before = 0;
};

absl::StatusOr<CheckedList> CheckListJobs(const v1::ListJobsRequest& request);

// The token of the page after the job with this sequence.
std::string PageToken(uint64_t sequence);

absl::Status CheckJobId(absl::string_view id);

// Who, why: for people.
absl::StatusOr<Hold> CheckHold(Hold::Kind kind, absl::string_view reason, absl::string_view by);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_REQUEST_H_
