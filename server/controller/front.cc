#include "server/controller/front.h"

#include <mutex>
#include <utility>

#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/convert.h"
#include "server/controller/list_jobs.h"
#include "server/controller/request.h"

namespace cowherd {
namespace {

constexpr size_t kMaxWaitingReads = 1'000;

// A stream that ends before it began.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::Job> {
 public:
  explicit RefusedWatch(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

Front::Front(std::unique_ptr<JobStore> reader, std::function<std::string()> leader)
    : reader_(std::move(reader)), leader_(std::move(leader)), reads_(/*threads=*/1, kMaxWaitingReads) {}

void Front::Lead(Term& term) {
  std::lock_guard<std::shared_mutex> lock(mutex_);
  term_ = &term;
}

void Front::Follow() {
  std::lock_guard<std::shared_mutex> lock(mutex_);
  term_ = nullptr;
}

template <typename Request, typename Response>
grpc::ServerUnaryReactor* Front::Answer(grpc::CallbackServerContext* context, const Request* request,
                                        Response* response, Method<Request, Response> method,
                                        std::function<absl::Status(JobStore&)> otherwise) {
  {
    // Held only until the call is posted.
    std::shared_lock<std::shared_mutex> lock(mutex_);
    if (term_ != nullptr) return (term_->controller().*method)(context, request, response);
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (otherwise == nullptr || reader_ == nullptr) {
    reactor->Finish(ToGrpc(NotLeader(leader_())));
    return reactor;
  }
  const absl::Status posted = reads_.Submit(
      [this, reactor, otherwise = std::move(otherwise)] { reactor->Finish(ToGrpc(otherwise(*reader_))); });
  if (!posted.ok()) reactor->Finish(ToGrpc(posted));
  return reactor;
}

grpc::ServerUnaryReactor* Front::CreateJob(grpc::CallbackServerContext* context,
                                           const v1::CreateJobRequest* request, v1::Job* response) {
  return Answer(context, request, response, &ControllerService::CreateJob);
}

grpc::ServerUnaryReactor* Front::GetJob(grpc::CallbackServerContext* context,
                                        const v1::GetJobRequest* request, v1::Job* response) {
  return Answer(context, request, response, &ControllerService::GetJob,
                [request, response](JobStore& reader) -> absl::Status {
                  RETURN_IF_ERROR(CheckJobId(request->id()));
                  ASSIGN_OR_RETURN(JobRecord record, reader.Get(request->id()));
                  if (!Ended(record.job.state)) record.results.clear();
                  ASSIGN_OR_RETURN(*response, ToProto(record, /*with_tasks=*/true));
                  return absl::OkStatus();
                });
}

grpc::ServerUnaryReactor* Front::ListJobs(grpc::CallbackServerContext* context,
                                          const v1::ListJobsRequest* request,
                                          v1::ListJobsResponse* response) {
  return Answer(context, request, response, &ControllerService::ListJobs,
                [request, response](JobStore& reader) {
                  return ListJobsFrom(
                      *request,
                      [&reader](const std::vector<JobState>& states, uint64_t before, size_t limit) {
                        return reader.List(states, before, limit);
                      },
                      response);
                });
}

grpc::ServerUnaryReactor* Front::CancelJob(grpc::CallbackServerContext* context,
                                           const v1::CancelJobRequest* request, v1::Job* response) {
  return Answer(context, request, response, &ControllerService::CancelJob);
}

grpc::ServerUnaryReactor* Front::PauseJob(grpc::CallbackServerContext* context,
                                          const v1::PauseJobRequest* request, v1::Job* response) {
  return Answer(context, request, response, &ControllerService::PauseJob);
}

grpc::ServerUnaryReactor* Front::ResumeJob(grpc::CallbackServerContext* context,
                                           const v1::ResumeJobRequest* request, v1::Job* response) {
  return Answer(context, request, response, &ControllerService::ResumeJob);
}

grpc::ServerUnaryReactor* Front::DeleteJob(grpc::CallbackServerContext* context,
                                           const v1::DeleteJobRequest* request,
                                           google::protobuf::Empty* response) {
  return Answer(context, request, response, &ControllerService::DeleteJob);
}

grpc::ServerWriteReactor<v1::Job>* Front::WatchJob(grpc::CallbackServerContext* context,
                                                   const v1::WatchJobRequest* request) {
  {
    std::shared_lock<std::shared_mutex> lock(mutex_);
    if (term_ != nullptr) return term_->controller().WatchJob(context, request);
  }
  return new RefusedWatch(NotLeader(leader_()));
}

grpc::ServerUnaryReactor* Front::ListNodes(grpc::CallbackServerContext* context,
                                           const v1::ListNodesRequest* request,
                                           v1::ListNodesResponse* response) {
  return Answer(context, request, response, &ControllerService::ListNodes);
}

}  // namespace cowherd
