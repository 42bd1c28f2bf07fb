#include "client/job_client.h"

#include "client/call.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using Stub = v1::ControllerService::Stub;
using Repeat = Controllers::Repeat;

// The calls that take nothing but a job's id.
template <typename Request>
Request ById(const std::string& id) {
  Request request;
  request.set_id(id);
  return request;
}

}  // namespace

bool HasEnded(v1::JobState state) {
  return state == v1::SUCCEEDED || state == v1::JOB_FAILED || state == v1::CANCELLED;
}

absl::StatusOr<v1::Job> JobClient::CreateJob(const v1::CreateJobRequest& request,
                                             absl::Duration timeout) const {
  const Repeat repeat = request.request_id().empty() ? Repeat::kNever : Repeat::kSafe;
  return CallAny(*controllers_, repeat, &Stub::CreateJob, request, timeout);
}

absl::StatusOr<v1::Job> JobClient::GetJob(const std::string& id, absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::GetJob, ById<v1::GetJobRequest>(id), timeout);
}

absl::StatusOr<v1::ListJobsResponse> JobClient::ListJobs(const v1::ListJobsRequest& request,
                                                         absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::ListJobs, request, timeout);
}

absl::StatusOr<v1::Job> JobClient::CancelJob(const std::string& id, absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::CancelJob, ById<v1::CancelJobRequest>(id), timeout);
}

absl::StatusOr<v1::Job> JobClient::PauseJob(const v1::PauseJobRequest& request,
                                            absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::PauseJob, request, timeout);
}

absl::StatusOr<v1::Job> JobClient::ResumeJob(const std::string& id, absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::ResumeJob, ById<v1::ResumeJobRequest>(id), timeout);
}

absl::Status JobClient::DeleteJob(const std::string& id, absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::DeleteJob, ById<v1::DeleteJobRequest>(id), timeout)
      .status();
}

absl::StatusOr<v1::ListNodesResponse> JobClient::ListNodes(absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::ListNodes, v1::ListNodesRequest(), timeout);
}

absl::Status JobClient::WatchJob(const std::string& id, OnJob on_job, Controllers::OnBroken on_broken,
                                 absl::Duration timeout) const {
  const v1::WatchJobRequest request = ById<v1::WatchJobRequest>(id);
  bool any = false;
  uint64_t shown = 0;
  const auto stream = [&](const Controllers::Channel& channel, absl::Duration left,
                          WatchTries& tries) -> absl::Status {
    Stub stub(channel);
    bool complete = false;
    bool went_back = false;
    RETURN_IF_ERROR(ReadAll<v1::Job>([&](grpc::ClientContext* context,
                                         auto* reader) { stub.async()->WatchJob(context, &request, reader); },
                                     [&](const v1::Job& job) {
                                       tries.Heard();
                                       // After a change of controllers: seen before.
                                       if (any && job.revision() <= shown) {
                                         went_back = HasEnded(job.state());
                                         return true;
                                       }
                                       any = true;
                                       shown = job.revision();
                                       const bool go_on = on_job(job);
                                       complete = HasEnded(job.state()) || !go_on;
                                       return go_on;
                                     },
                                     left));
    if (complete) return absl::OkStatus();
    if (went_back) {
      return MakeError(absl::StatusCode::kDataLoss, "JOB_WENT_BACK",
                       "the job has ended, but is older than when last seen: the controller's store was put "
                       "back to a copy");
    }
    return absl::UnavailableError("the controller ended the stream while the job goes on");
  };
  return controllers_->Follow(timeout, stream, on_broken);
}

}  // namespace cowherd
