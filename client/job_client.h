#ifndef COWHERD_CLIENT_JOB_CLIENT_H_
#define COWHERD_CLIENT_JOB_CLIENT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// The calls of a controller, for programs. Waiting, threads, timeouts and errors as for NodeClient.
class JobClient {
 public:
  // See channel.h.
  explicit JobClient(std::shared_ptr<grpc::Channel> channel);

  // Safe to repeat only with the same, non-empty request_id.
  absl::StatusOr<v1::Job> CreateJob(const v1::CreateJobRequest& request, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> GetJob(const std::string& id, absl::Duration timeout) const;
  // One page.
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request,
                                                absl::Duration timeout) const;
  absl::StatusOr<v1::Job> CancelJob(const std::string& id, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> PauseJob(const std::string& id, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> ResumeJob(const std::string& id, absl::Duration timeout) const;
  absl::Status DeleteJob(const std::string& id, absl::Duration timeout) const;
  absl::StatusOr<v1::ListNodesResponse> ListNodes(absl::Duration timeout) const;

  // `on_job` gets the job as it is and after changes, and returns false to stop. OK: the job has ended and
  // on_job has seen it so, or on_job stopped it. UNAVAILABLE: the controller went; watch again.
  using OnJob = absl::FunctionRef<bool(const v1::Job&)>;
  absl::Status WatchJob(const std::string& id, OnJob on_job, absl::Duration timeout) const;

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::ControllerService::Stub> stub_;
};

// SUCCEEDED, JOB_FAILED or CANCELLED.
bool HasEnded(v1::JobState state);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_JOB_CLIENT_H_
