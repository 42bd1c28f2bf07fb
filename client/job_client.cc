#include "client/job_client.h"

#include <utility>

#include "client/call.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using Stub = v1::ControllerService::Stub;

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

JobClient::JobClient(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(v1::ControllerService::NewStub(channel_)) {}

absl::StatusOr<v1::Job> JobClient::CreateJob(const v1::CreateJobRequest& request,
                                             absl::Duration timeout) const {
  return Call(*stub_, &Stub::CreateJob, request, timeout);
}

absl::StatusOr<v1::Job> JobClient::GetJob(const std::string& id, absl::Duration timeout) const {
  return Call(*stub_, &Stub::GetJob, ById<v1::GetJobRequest>(id), timeout);
}

absl::StatusOr<v1::ListJobsResponse> JobClient::ListJobs(const v1::ListJobsRequest& request,
                                                         absl::Duration timeout) const {
  return Call(*stub_, &Stub::ListJobs, request, timeout);
}

absl::StatusOr<v1::Job> JobClient::CancelJob(const std::string& id, absl::Duration timeout) const {
  return Call(*stub_, &Stub::CancelJob, ById<v1::CancelJobRequest>(id), timeout);
}

absl::StatusOr<v1::Job> JobClient::PauseJob(const std::string& id, absl::Duration timeout) const {
  return Call(*stub_, &Stub::PauseJob, ById<v1::PauseJobRequest>(id), timeout);
}

absl::StatusOr<v1::Job> JobClient::ResumeJob(const std::string& id, absl::Duration timeout) const {
  return Call(*stub_, &Stub::ResumeJob, ById<v1::ResumeJobRequest>(id), timeout);
}

absl::Status JobClient::DeleteJob(const std::string& id, absl::Duration timeout) const {
  return Call(*stub_, &Stub::DeleteJob, ById<v1::DeleteJobRequest>(id), timeout).status();
}

absl::StatusOr<v1::ListNodesResponse> JobClient::ListNodes(absl::Duration timeout) const {
  return Call(*stub_, &Stub::ListNodes, v1::ListNodesRequest(), timeout);
}

absl::Status JobClient::WatchJob(const std::string& id, OnJob on_job, absl::Duration timeout) const {
  const v1::WatchJobRequest request = ById<v1::WatchJobRequest>(id);
  bool complete = false;
  RETURN_IF_ERROR(ReadAll<v1::Job>([&](grpc::ClientContext* context,
                                       auto* reader) { stub_->async()->WatchJob(context, &request, reader); },
                                   [&](const v1::Job& job) {
                                     const bool go_on = on_job(job);
                                     complete = HasEnded(job.state()) || !go_on;
                                     return go_on;
                                   },
                                   timeout));
  if (complete) return absl::OkStatus();
  return absl::UnavailableError("the controller ended the stream while the job goes on");
}

}  // namespace cowherd
