#include "server/controller/controller_service.h"

#include <string>
#include <utility>

#include "server/base/grpc_status.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/controller/call_on_loop.h"
#include "server/controller/caller.h"
#include "server/controller/convert.h"
#include "server/controller/list_jobs.h"
#include "server/controller/request.h"

namespace cowherd {
namespace {

absl::Status Answer(const absl::StatusOr<JobView>& job, v1::Job* response) {
  if (!job.ok()) return job.status();
  ASSIGN_OR_RETURN(*response, ToProto(*job));
  return absl::OkStatus();
}

}  // namespace

ControllerService::ControllerService(Loop& loop, std::shared_ptr<Mailbox> mailbox)
    : loop_(loop), mailbox_(std::move(mailbox)) {}

template <typename Call>
grpc::ServerUnaryReactor* ControllerService::OnLoop(grpc::CallbackServerContext* context, Call call) {
  return CallOnLoop(*mailbox_, context, std::move(call));
}

grpc::ServerUnaryReactor* ControllerService::CreateJob(grpc::CallbackServerContext* context,
                                                       const v1::CreateJobRequest* request,
                                                       v1::Job* response) {
  absl::StatusOr<CheckedJob> job = CheckCreateJob(*request);
  if (!job.ok()) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(job.status()));
    return reactor;
  }
  return OnLoop(context, [this, response, job = *std::move(job)]() mutable {
    return Answer(loop_.CreateJob(std::move(job.spec), std::move(job.plan), std::move(job.request_id)),
                  response);
  });
}

grpc::ServerUnaryReactor* ControllerService::GetJob(grpc::CallbackServerContext* context,
                                                    const v1::GetJobRequest* request, v1::Job* response) {
  return OnLoop(context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    return Answer(loop_.GetJob(request->id()), response);
  });
}

grpc::ServerUnaryReactor* ControllerService::ListJobs(grpc::CallbackServerContext* context,
                                                      const v1::ListJobsRequest* request,
                                                      v1::ListJobsResponse* response) {
  return OnLoop(context, [this, request, response]() -> absl::Status {
    return ListJobsFrom(
        *request,
        [this](const std::vector<JobState>& states, uint64_t before, size_t limit) {
          return loop_.ListJobs(states, before, limit);
        },
        response);
  });
}

grpc::ServerUnaryReactor* ControllerService::CancelJob(grpc::CallbackServerContext* context,
                                                       const v1::CancelJobRequest* request,
                                                       v1::Job* response) {
  const std::string by = CallerOf(*context, context->peer());
  return OnLoop(context, [this, request, by, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    RETURN_IF_ERROR(Answer(loop_.CancelJob(request->id()), response));
    Log(LogLevel::kInfo, "asked to cancel a job", {{"job", request->id()}, {"by", by}});
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ControllerService::PauseJob(grpc::CallbackServerContext* context,
                                                      const v1::PauseJobRequest* request, v1::Job* response) {
  const std::string by = CallerOf(*context, request->by());
  return OnLoop(context, [this, request, by, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    ASSIGN_OR_RETURN(Hold hold, CheckHold(Hold::Kind::kPause, request->reason(), by));
    return Answer(loop_.PauseJob(request->id(), std::move(hold)), response);
  });
}

grpc::ServerUnaryReactor* ControllerService::ResumeJob(grpc::CallbackServerContext* context,
                                                       const v1::ResumeJobRequest* request,
                                                       v1::Job* response) {
  const std::string by = CallerOf(*context, context->peer());
  return OnLoop(context, [this, request, by, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    RETURN_IF_ERROR(Answer(loop_.ResumeJob(request->id()), response));
    Log(LogLevel::kInfo, "asked to resume a job", {{"job", request->id()}, {"by", by}});
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ControllerService::DeleteJob(grpc::CallbackServerContext* context,
                                                       const v1::DeleteJobRequest* request,
                                                       google::protobuf::Empty*) {
  const std::string by = CallerOf(*context, context->peer());
  return OnLoop(context, [this, request, by]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    RETURN_IF_ERROR(loop_.DeleteJob(request->id()));
    Log(LogLevel::kInfo, "asked to delete a job", {{"job", request->id()}, {"by", by}});
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::Job>* ControllerService::WatchJob(grpc::CallbackServerContext*,
                                                               const v1::WatchJobRequest* request) {
  return WatchStream::Start(loop_, mailbox_, messages_, request->id());
}

grpc::ServerUnaryReactor* ControllerService::ListNodes(grpc::CallbackServerContext* context,
                                                       const v1::ListNodesRequest*,
                                                       v1::ListNodesResponse* response) {
  return OnLoop(context, [this, response]() -> absl::Status {
    *response = ToProto(loop_.nodes(), loop_.running(), loop_.holds(), loop_.paused_filesystems(),
                        loop_.Now(), loop_.ahead());
    return absl::OkStatus();
  });
}

}  // namespace cowherd
