#ifndef COWHERD_CLIENT_JOB_CLIENT_H_
#define COWHERD_CLIENT_JOB_CLIENT_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/controllers.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// The calls of a cluster's controllers, for programs. Waiting, threads, timeouts and errors as for
// NodeClient, but that a call goes on to another controller where one is gone or does not lead. A call
// without an answer is made again if it only reads, or if a request_id makes it harmless; others end as
// UNAVAILABLE without a reason, and may or may not have been done.
class JobClient {
 public:
  explicit JobClient(std::shared_ptr<Controllers> controllers) : controllers_(std::move(controllers)) {}

  absl::StatusOr<v1::Job> CreateJob(const v1::CreateJobRequest& request, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> GetJob(const std::string& id, absl::Duration timeout) const;
  // One page.
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request,
                                                absl::Duration timeout) const;
  absl::StatusOr<v1::Job> CancelJob(const std::string& id, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> PauseJob(const v1::PauseJobRequest& request, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> ResumeJob(const std::string& id, absl::Duration timeout) const;
  absl::Status DeleteJob(const std::string& id, absl::Duration timeout) const;
  absl::StatusOr<v1::ListNodesResponse> ListNodes(absl::Duration timeout) const;

  // `on_job` gets the job as it is and after changes, each revision once and none older than one it got, and
  // returns false to stop. A stream that breaks is taken up again, as `on_broken` is told before. OK: the job
  // has ended and on_job has seen it so, or on_job stopped it. UNAVAILABLE: no controller came back for more
  // than a minute. DATA_LOSS "JOB_WENT_BACK": the job ended as an older one than on_job has seen; the
  // controller's store was put back.
  using OnJob = absl::FunctionRef<bool(const v1::Job&)>;
  absl::Status WatchJob(const std::string& id, OnJob on_job, Controllers::OnBroken on_broken,
                        absl::Duration timeout) const;

 private:
  const std::shared_ptr<Controllers> controllers_;
};

// SUCCEEDED, JOB_FAILED or CANCELLED.
bool HasEnded(v1::JobState state);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_JOB_CLIENT_H_
