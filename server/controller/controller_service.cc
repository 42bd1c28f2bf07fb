#include "server/controller/controller_service.h"

#include <mutex>
#include <string>
#include <utility>

#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/call_on_loop.h"
#include "server/controller/convert.h"
#include "server/controller/request.h"

namespace cowherd {
namespace {

absl::Status Answer(const absl::StatusOr<JobRecord>& record, v1::Job* response) {
  if (!record.ok()) return record.status();
  ASSIGN_OR_RETURN(*response, ToProto(*record, /*with_tasks=*/true));
  return absl::OkStatus();
}

// Sends the latest state whenever the one before is sent.
class WatchReactor final : public grpc::ServerWriteReactor<v1::Job> {
 public:
  WatchReactor(Loop& loop, std::shared_ptr<Mailbox> mailbox) : loop_(loop), mailbox_(std::move(mailbox)) {}

  // On the loop's thread, first.
  void Watch(const std::shared_ptr<WatchReactor>& self, const std::string& id) {
    absl::StatusOr<uint64_t> watch = loop_.WatchJob(
        id, [self](std::shared_ptr<const JobRecord> record) { self->Update(std::move(record)); });
    if (watch.ok()) {
      watch_ = *watch;
    } else {
      End(watch.status());
    }
  }

  // Lives until OnDone.
  void Keep(std::shared_ptr<WatchReactor> self) { self_ = std::move(self); }

  void End(const absl::Status& status) {
    std::lock_guard<std::mutex> lock(mutex_);
    EndLocked(status);
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    if (!ok) return EndLocked(absl::CancelledError("the watcher went away"));
    if (end_) return EndLocked(*end_);
    Send();
  }
  void OnCancel() override { End(absl::CancelledError("the watcher went away")); }
  void OnDone() override {
    std::shared_ptr<WatchReactor> self = std::move(self_);
    // Comes after Watch on that thread.
    mailbox_->PostNews([self = std::move(self)] { self->loop_.Unwatch(self->watch_); });
  }

 private:
  void Update(std::shared_ptr<const JobRecord> record) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (record == nullptr) {
      return EndLocked(
          MakeError(absl::StatusCode::kUnavailable, "STOPPING", "the controller is stopping; watch again"));
    }
    latest_ = std::move(record);
    if (!writing_) Send();
  }

  void Send() {
    if (finished_ || end_ || latest_ == nullptr) return;
    const std::shared_ptr<const JobRecord> record = std::move(latest_);
    latest_ = nullptr;
    absl::StatusOr<v1::Job> job = ToProto(*record, /*with_tasks=*/true);
    if (!job.ok()) return EndLocked(job.status());
    message_ = *std::move(job);
    if (Ended(record->job.state)) end_ = absl::OkStatus();
    writing_ = true;
    StartWrite(&message_);
  }

  // Once, and not while a message is on its way.
  void EndLocked(const absl::Status& status) {
    if (finished_) return;
    if (!end_) end_ = status;
    if (writing_) return;
    finished_ = true;
    Finish(ToGrpc(*end_));
  }

  Loop& loop_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::shared_ptr<WatchReactor> self_;
  // Of the loop's thread. 0: none.
  uint64_t watch_ = 0;
  std::mutex mutex_;
  std::shared_ptr<const JobRecord> latest_;
  v1::Job message_;
  bool writing_ = false;
  bool finished_ = false;
  // How to end once nothing is on its way.
  absl::optional<absl::Status> end_;
};

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
    ASSIGN_OR_RETURN(const CheckedList list, CheckListJobs(*request));
    ASSIGN_OR_RETURN(const std::vector<JobRecord> records,
                     loop_.ListJobs(list.states, list.before, list.page_size));
    for (const JobRecord& record : records) {
      ASSIGN_OR_RETURN(*response->add_jobs(), ToProto(record, /*with_tasks=*/false));
    }
    if (records.empty()) return absl::OkStatus();
    const uint64_t last = records.back().job.sequence;
    ASSIGN_OR_RETURN(const std::vector<JobRecord> more, loop_.ListJobs(list.states, last, 1));
    if (!more.empty()) response->set_next_page_token(PageToken(last));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ControllerService::CancelJob(grpc::CallbackServerContext* context,
                                                       const v1::CancelJobRequest* request,
                                                       v1::Job* response) {
  return OnLoop(context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    return Answer(loop_.CancelJob(request->id()), response);
  });
}

grpc::ServerUnaryReactor* ControllerService::PauseJob(grpc::CallbackServerContext* context,
                                                      const v1::PauseJobRequest* request, v1::Job* response) {
  return OnLoop(context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    return Answer(loop_.PauseJob(request->id()), response);
  });
}

grpc::ServerUnaryReactor* ControllerService::ResumeJob(grpc::CallbackServerContext* context,
                                                       const v1::ResumeJobRequest* request,
                                                       v1::Job* response) {
  return OnLoop(context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    return Answer(loop_.ResumeJob(request->id()), response);
  });
}

grpc::ServerUnaryReactor* ControllerService::DeleteJob(grpc::CallbackServerContext* context,
                                                       const v1::DeleteJobRequest* request,
                                                       google::protobuf::Empty*) {
  return OnLoop(context, [this, request]() -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    return loop_.DeleteJob(request->id());
  });
}

grpc::ServerWriteReactor<v1::Job>* ControllerService::WatchJob(grpc::CallbackServerContext*,
                                                               const v1::WatchJobRequest* request) {
  auto reactor = std::make_shared<WatchReactor>(loop_, mailbox_);
  reactor->Keep(reactor);
  const absl::Status posted =
      mailbox_->PostCall([reactor, id = request->id()] { reactor->Watch(reactor, id); });
  if (!posted.ok()) reactor->End(posted);
  return reactor.get();
}

grpc::ServerUnaryReactor* ControllerService::ListNodes(grpc::CallbackServerContext* context,
                                                       const v1::ListNodesRequest*,
                                                       v1::ListNodesResponse* response) {
  return OnLoop(context, [this, response]() -> absl::Status {
    *response = ToProto(loop_.nodes(), loop_.running());
    return absl::OkStatus();
  });
}

}  // namespace cowherd
