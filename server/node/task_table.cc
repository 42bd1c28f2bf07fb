#include "server/node/task_table.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/failpoint.h"
#include "server/base/grpc_status.h"
#include "server/base/random_id.h"
#include "server/base/status.h"
#include "server/node/convert.h"

namespace cowherd {

absl::Duration TaskRun::Elapsed() const {
  return absl::FromChrono(std::chrono::steady_clock::now() - begin_);
}

bool TaskRun::ended() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return ended_;
}

TaskRun::EndWatch::EndWatch(std::shared_ptr<TaskRun> run, absl::AnyInvocable<void()> told)
    : run_(std::move(run)), told_(std::move(told)) {
  std::lock_guard<std::mutex> lock(run_->mutex_);
  run_->watches_.insert(this);
  if (run_->ended_) told_();
}

TaskRun::EndWatch::~EndWatch() {
  std::lock_guard<std::mutex> lock(run_->mutex_);
  run_->watches_.erase(this);
}

v1::RunTaskResponse TaskRun::Report() const {
  v1::RunTaskResponse report;
  report.set_run_id(run_id_);
  report.set_attempt(attempt_);
  std::lock_guard<std::mutex> lock(mutex_);
  if (ended_) {
    *report.mutable_summary() = summary_;
  } else {
    *report.mutable_progress() = ToProto(totals_->Get(), Elapsed());
  }
  return report;
}

TaskTable::TaskTable(size_t max_running, size_t max_kept, EpochGate& epochs, OnEnd on_end)
    : max_running_(max_running), max_kept_(max_kept), epochs_(epochs), on_end_(std::move(on_end)) {}

TaskTable::~TaskTable() {
  StopAll();
  {
    std::unique_lock<std::mutex> lock(mutex_);
    idle_.wait(lock, [this] { return running_ == 0; });
  }
  for (auto& [task_id, entry] : tasks_) entry.thread.join();
}

absl::StatusOr<std::shared_ptr<TaskRun>> TaskTable::RunOrAttach(
    const std::string& task_id, uint32_t attempt, uint64_t epoch,
    absl::AnyInvocable<absl::StatusOr<New>()> make) {
  RETURN_IF_ERROR(epochs_.Enter(epoch));
  std::lock_guard<std::mutex> lock(mutex_);
  // A later controller may have been told meanwhile that no such task is here.
  RETURN_IF_ERROR(epochs_.Check(epoch));
  const auto known = tasks_.find(task_id);
  if (known != tasks_.end() && (!known->second.run->ended() || attempt <= known->second.run->attempt_)) {
    return known->second.run;
  }
  if (stopping_)
    return MakeError(absl::StatusCode::kUnavailable, "NODE_STOPPING", "this node is shutting down");
  if (running_ >= max_running_) {
    return MakeError(absl::StatusCode::kResourceExhausted, "BUSY",
                     absl::StrCat(running_, " tasks run on this node already; try again when one has ended"));
  }
  ASSIGN_OR_RETURN(New made, make());
  if (known != tasks_.end()) {
    known->second.thread.join();
    tasks_.erase(known);
    for (auto it = ended_order_.begin(); it != ended_order_.end(); ++it) {
      if (*it == task_id) {
        ended_order_.erase(it);
        break;
      }
    }
  }
  auto run = std::make_shared<TaskRun>(RandomId(), attempt, std::move(made.totals), made.deadline);
  Entry& entry = tasks_[task_id];
  entry.run = run;
  entry.epoch = epoch;
  ++running_;
  entry.thread = std::thread([this, task_id, run, work = std::move(made.work)]() mutable {
    v1::TaskSummary summary;
    absl::Status status = Failpoint("node.task.begin");
    if (status.ok()) status = work(*run->totals_, run->stop_, summary);
    Crashpoint("node.task.end");
    work = nullptr;
    End(task_id, *run, std::move(status), std::move(summary));
  });
  return run;
}

void TaskTable::End(const std::string& task_id, TaskRun& run, absl::Status status, v1::TaskSummary summary) {
  std::vector<std::thread> forgotten;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_ && absl::IsCancelled(status)) {
      status = MakeError(absl::StatusCode::kUnavailable, "NODE_STOPPING", "the node was shut down");
    }
    {
      std::lock_guard<std::mutex> run_lock(run.mutex_);
      *summary.mutable_totals() = ToProto(run.totals_->Get(), run.Elapsed());
      if (!status.ok()) *summary.mutable_error() = ToErrorDetail(status);
      run.summary_ = std::move(summary);
      run.ended_ = true;
      run.totals_.reset();
    }
    --running_;
    // This thread cannot be joined by itself: the oldest of the others go.
    while (ended_order_.size() >= max_kept_) {
      const auto oldest = tasks_.find(ended_order_.front());
      forgotten.push_back(std::move(oldest->second.thread));
      tasks_.erase(oldest);
      ended_order_.pop_front();
    }
    ended_order_.push_back(task_id);
    on_end_(task_id, run, status);
    {
      // Last, so that whoever is told sees all of the end.
      std::lock_guard<std::mutex> run_lock(run.mutex_);
      for (TaskRun::EndWatch* watch : run.watches_) watch->told_();
    }
    idle_.notify_all();
  }
  for (std::thread& thread : forgotten) thread.join();
}

absl::Status TaskTable::Cancel(const std::string& task_id, uint64_t epoch) {
  RETURN_IF_ERROR(epochs_.Enter(epoch));
  std::lock_guard<std::mutex> lock(mutex_);
  const auto known = tasks_.find(task_id);
  if (known == tasks_.end()) {
    return WithField(MakeError(absl::StatusCode::kNotFound, "TASK_UNKNOWN", "this node has no such task"),
                     "task_id");
  }
  known->second.run->stop_.Request();
  return absl::OkStatus();
}

void TaskTable::StopAll() {
  std::lock_guard<std::mutex> lock(mutex_);
  stopping_ = true;
  for (auto& [task_id, entry] : tasks_) entry.run->stop_.Request();
}

size_t TaskTable::running() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return running_;
}

std::vector<std::string> TaskTable::Controlled() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> controlled;
  for (const auto& [task_id, entry] : tasks_) {
    if (entry.epoch != 0 && !entry.run->ended()) controlled.push_back(task_id);
  }
  return controlled;
}

}  // namespace cowherd
