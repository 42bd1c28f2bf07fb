#include "tests/testing/fake_servers.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"

namespace cowherd::testing {
namespace {

template <typename Response>
grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, absl::StatusOr<Response> answer,
                                 Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status status = answer.status();
  if (status.ok()) *response = *std::move(answer);
  reactor->Finish(ToGrpc(status));
  return reactor;
}

// Writes a list of messages, one by one, then the status.
template <typename Message>
class ListWriter final : public grpc::ServerWriteReactor<Message> {
 public:
  ListWriter(std::vector<Message> messages, absl::Status status)
      : messages_(std::move(messages)), status_(std::move(status)) {
    Next();
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      this->Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (next_ == messages_.size()) {
      this->Finish(ToGrpc(status_));
    } else {
      this->StartWrite(&messages_[next_++]);
    }
  }

  const std::vector<Message> messages_;
  const absl::Status status_;
  size_t next_ = 0;
};

// Answers each request before it reads the next.
class DedupeStream final
    : public grpc::ServerBidiReactor<v1::DedupeRangesStreamRequest, v1::DedupeRangesStreamResponse> {
 public:
  explicit DedupeStream(FakeNode& node) : node_(node) { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    if (answered_++ == node_.break_stream_at) {
      Finish(node_.break_with);
      return;
    }
    response_.Clear();
    response_.set_id(request_.id());
    absl::StatusOr<v1::DedupeRangesResponse> answer = node_.Answer(request_.request());
    if (answer.ok()) {
      *response_.mutable_response() = *std::move(answer);
    } else {
      *response_.mutable_error() = ToErrorDetail(answer.status());
    }
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  FakeNode& node_;
  v1::DedupeRangesStreamRequest request_;
  v1::DedupeRangesStreamResponse response_;
  int answered_ = 0;
};

// Ends when the client gives up.
class Hanging final : public grpc::ServerUnaryReactor {
 public:
  void OnCancel() override { Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }
};

}  // namespace

absl::StatusOr<v1::DedupeRangesResponse> FakeNode::Answer(const v1::DedupeRangesRequest& request) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    dedupes_.push_back(request);
  }
  if (dedupe) return dedupe(request);
  v1::DedupeRangesResponse response;
  for (const v1::FilePosition& destination : request.destinations()) {
    v1::DestinationResult* result = response.add_results();
    *result->mutable_destination() = destination;
    result->set_outcome(v1::DEDUPED);
    result->set_bytes_accepted(request.length());
    if (request.measure_shared()) result->set_bytes_shared(request.length());
    response.set_bytes_accepted(response.bytes_accepted() + result->bytes_accepted());
    response.set_bytes_shared(response.bytes_shared() + result->bytes_shared());
  }
  response.set_bytes_requested(request.length() * static_cast<uint64_t>(request.destinations_size()));
  return response;
}

std::vector<v1::DedupeRangesRequest> FakeNode::dedupes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return dedupes_;
}

std::vector<v1::FindDuplicatesRequest> FakeNode::finds() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return finds_;
}

int FakeNode::streams() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return streams_;
}

grpc::ServerUnaryReactor* FakeNode::DedupeRanges(grpc::CallbackServerContext* context,
                                                 const v1::DedupeRangesRequest* request,
                                                 v1::DedupeRangesResponse* response) {
  return Finish(context, Answer(*request), response);
}

grpc::ServerBidiReactor<v1::DedupeRangesStreamRequest, v1::DedupeRangesStreamResponse>*
FakeNode::DedupeRangesStream(grpc::CallbackServerContext*) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++streams_;
  }
  return new DedupeStream(*this);
}

grpc::ServerWriteReactor<v1::FindDuplicatesResponse>* FakeNode::FindDuplicates(
    grpc::CallbackServerContext*, const v1::FindDuplicatesRequest* request) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    finds_.push_back(*request);
  }
  return new ListWriter<v1::FindDuplicatesResponse>(found, find_status);
}

grpc::ServerWriteReactor<v1::RunTaskResponse>* FakeNode::RunTask(grpc::CallbackServerContext*,
                                                                 const v1::RunTaskRequest*) {
  return new ListWriter<v1::RunTaskResponse>(task_events, absl::OkStatus());
}

grpc::ServerUnaryReactor* FakeNode::CancelTask(grpc::CallbackServerContext* context,
                                               const v1::CancelTaskRequest*,
                                               v1::CancelTaskResponse* response) {
  return Finish<v1::CancelTaskResponse>(context, v1::CancelTaskResponse(), response);
}

grpc::ServerUnaryReactor* FakeNode::GetExtents(grpc::CallbackServerContext* context,
                                               const v1::GetExtentsRequest* request,
                                               v1::GetExtentsResponse* response) {
  return Finish(context, extents(*request), response);
}

grpc::ServerUnaryReactor* FakeNode::GetNode(grpc::CallbackServerContext* context, const v1::GetNodeRequest*,
                                            v1::Node* response) {
  if (hang) return new Hanging;
  return Finish(context, node, response);
}

std::vector<v1::CreateJobRequest> FakeController::creates() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return creates_;
}

std::vector<v1::ListJobsRequest> FakeController::lists() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return lists_;
}

std::vector<std::string> FakeController::calls() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return calls_;
}

grpc::ServerUnaryReactor* FakeController::FinishJob(grpc::CallbackServerContext* context, v1::Job* response) {
  if (break_with.ok()) return Finish(context, job, response);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(break_with);
  return reactor;
}

grpc::ServerUnaryReactor* FakeController::AnswerJob(grpc::CallbackServerContext* context,
                                                    const std::string& call, v1::Job* response) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(call);
  }
  return FinishJob(context, response);
}

grpc::ServerUnaryReactor* FakeController::CreateJob(grpc::CallbackServerContext* context,
                                                    const v1::CreateJobRequest* request, v1::Job* response) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    creates_.push_back(*request);
  }
  return FinishJob(context, response);
}

grpc::ServerUnaryReactor* FakeController::GetJob(grpc::CallbackServerContext* context,
                                                 const v1::GetJobRequest* request, v1::Job* response) {
  return AnswerJob(context, absl::StrCat("GetJob ", request->id()), response);
}

grpc::ServerUnaryReactor* FakeController::ListJobs(grpc::CallbackServerContext* context,
                                                   const v1::ListJobsRequest* request,
                                                   v1::ListJobsResponse* response) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    lists_.push_back(*request);
  }
  return Finish(context, list(*request), response);
}

grpc::ServerUnaryReactor* FakeController::CancelJob(grpc::CallbackServerContext* context,
                                                    const v1::CancelJobRequest* request, v1::Job* response) {
  return AnswerJob(context, absl::StrCat("CancelJob ", request->id()), response);
}

grpc::ServerUnaryReactor* FakeController::PauseJob(grpc::CallbackServerContext* context,
                                                   const v1::PauseJobRequest* request, v1::Job* response) {
  return AnswerJob(context, absl::StrCat("PauseJob ", request->id()), response);
}

grpc::ServerUnaryReactor* FakeController::ResumeJob(grpc::CallbackServerContext* context,
                                                    const v1::ResumeJobRequest* request, v1::Job* response) {
  return AnswerJob(context, absl::StrCat("ResumeJob ", request->id()), response);
}

grpc::ServerUnaryReactor* FakeController::DeleteJob(grpc::CallbackServerContext* context,
                                                    const v1::DeleteJobRequest* request,
                                                    google::protobuf::Empty*) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(absl::StrCat("DeleteJob ", request->id()));
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(delete_status));
  return reactor;
}

grpc::ServerWriteReactor<v1::Job>* FakeController::WatchJob(grpc::CallbackServerContext*,
                                                            const v1::WatchJobRequest* request) {
  std::lock_guard<std::mutex> lock(mutex_);
  calls_.push_back(absl::StrCat("WatchJob ", request->id()));
  Watch watch;
  if (!watches.empty()) {
    watch = watches.front();
    watches.pop_front();
  }
  return new ListWriter<v1::Job>(watch.jobs, watch.status);
}

grpc::ServerUnaryReactor* FakeController::ListNodes(grpc::CallbackServerContext* context,
                                                    const v1::ListNodesRequest*,
                                                    v1::ListNodesResponse* response) {
  return Finish<v1::ListNodesResponse>(context, nodes, response);
}

FakeServer::FakeServer(grpc::Service& service) {
  int port = 0;
  // As the real ones have.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeServer::~FakeServer() {
  // Calls that a client gave up end at once; none is worth waiting for.
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

}  // namespace cowherd::testing
