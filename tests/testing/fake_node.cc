#include "tests/testing/fake_node.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"

namespace cowherd {

FakeNode::FakeNode(v1::Node facts) : facts_(std::move(facts)) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeNode::~FakeNode() {
  GoDown();
  server_->Shutdown(std::chrono::system_clock::now());
}

v1::RunTaskRequest FakeNode::WaitForRun() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return begun_.size() > returned_; });
  return begun_[returned_++];
}

void FakeNode::Progress(const std::string& task_id, const v1::TaskTotals& totals) {
  std::lock_guard<std::mutex> lock(mutex_);
  runs_[task_id].totals = totals;
  changed_.notify_all();
}

void FakeNode::End(const std::string& task_id, v1::TaskSummary summary) {
  std::lock_guard<std::mutex> lock(mutex_);
  Run& run = runs_[task_id];
  run.over = true;
  run.summary = std::move(summary);
  changed_.notify_all();
}

void FakeNode::GoDown() {
  std::lock_guard<std::mutex> lock(mutex_);
  down_ = true;
  changed_.notify_all();
}

void FakeNode::ComeBack() {
  std::lock_guard<std::mutex> lock(mutex_);
  down_ = false;
}

grpc::Status FakeNode::CheckLocked(uint64_t epoch) {
  if (down_) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
  if (epoch < epoch_) {
    return ToGrpc(
        MakeError(absl::StatusCode::kFailedPrecondition, "STALE_EPOCH", "a newer controller rules"));
  }
  epoch_ = epoch;
  return grpc::Status::OK;
}

grpc::Status FakeNode::GetNode(grpc::ServerContext*, const v1::GetNodeRequest*, v1::Node* response) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (down_) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
  *response = facts_;
  for (const auto& [task_id, run] : runs_) {
    if (!run.over && run.request.epoch() > 0) response->add_controlled_tasks(task_id);
  }
  return grpc::Status::OK;
}

grpc::Status FakeNode::RunTask(grpc::ServerContext* context, const v1::RunTaskRequest* request,
                               grpc::ServerWriter<v1::RunTaskResponse>* writer) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (grpc::Status status = CheckLocked(request->epoch()); !status.ok()) return status;
  auto found = runs_.find(request->task_id());
  if (found == runs_.end() || (found->second.over && request->attempt() > found->second.request.attempt())) {
    Run run;
    run.request = *request;
    run.run_id = absl::StrCat("run-", ++runs_made_);
    runs_[request->task_id()] = std::move(run);
    begun_.push_back(*request);
    changed_.notify_all();
  }
  std::string told;
  for (;;) {
    if (down_) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
    const Run& run = runs_[request->task_id()];
    v1::RunTaskResponse response;
    response.set_run_id(run.run_id);
    response.set_attempt(run.request.attempt());
    if (run.over) {
      *response.mutable_summary() = run.summary;
    } else {
      *response.mutable_progress() = run.totals;
    }
    if (std::string bytes = response.SerializeAsString(); bytes != told) {
      told = std::move(bytes);
      writer->Write(response);
    }
    if (run.over) return grpc::Status::OK;
    changed_.wait_for(lock, std::chrono::milliseconds(20));
  }
}

grpc::Status FakeNode::CancelTask(grpc::ServerContext*, const v1::CancelTaskRequest* request,
                                  v1::CancelTaskResponse*) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (grpc::Status status = CheckLocked(request->epoch()); !status.ok()) return status;
  const auto found = runs_.find(request->task_id());
  if (found == runs_.end()) {
    return ToGrpc(MakeError(absl::StatusCode::kNotFound, "TASK_UNKNOWN", "no such task here"));
  }
  Run& run = found->second;
  if (!run.over) {
    run.over = true;
    *run.summary.mutable_totals() = run.totals;
    run.summary.mutable_error()->set_reason("CANCELLED");
    changed_.notify_all();
  }
  return grpc::Status::OK;
}

}  // namespace cowherd
