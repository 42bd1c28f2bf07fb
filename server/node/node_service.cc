#include "server/node/node_service.h"

#include <grpcpp/alarm.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "server/base/failpoint.h"
#include "server/base/grpc_status.h"
#include "server/base/stop.h"
#include "server/node/convert.h"

namespace cowherd {
namespace {

using SteadyClock = std::chrono::steady_clock;
using SystemClock = std::chrono::system_clock;

// So that the answer to what was done is there before the client gives up.
constexpr auto kDeadlineMargin = std::chrono::milliseconds(250);
constexpr auto kProgressInterval = std::chrono::seconds(1);
// Of one stream: requests read and not answered yet.
constexpr size_t kMaxUnanswered = 128;
constexpr size_t kMaxUnansweredBytes = 1 << 20;
// How long a stream keeps a thread of the pool while others may wait for one.
constexpr auto kTurn = std::chrono::milliseconds(20);
// Duplicates found and not sent yet, before the scan waits for the reader.
constexpr size_t kMaxUnsent = 256;

SteadyClock::time_point StopTime(const grpc::CallbackServerContext& context) {
  const SystemClock::time_point deadline = context.deadline();
  const SystemClock::time_point now = SystemClock::now();
  // Without a deadline gRPC says the far future, which the other clock cannot hold.
  if (deadline - now > std::chrono::hours(24 * 365)) return SteadyClock::time_point::max();
  return SteadyClock::now() + (deadline - now) - kDeadlineMargin;
}

// A call that answers once and can be told to stop. Deletes itself.
class DedupeCall final : public grpc::ServerUnaryReactor {
 public:
  explicit DedupeCall(const grpc::CallbackServerContext& context) : stop(StopTime(context)) {}
  void OnCancel() override { stop.Request(); }
  void OnDone() override { delete this; }

  Stop stop;
};

// Requests of one stream, served one after the other, answered in their order. Reading, serving and writing
// go on side by side; requests that wait together are served with the same open files. What is beyond the
// limits waits in gRPC's flow control. Deletes itself.
class DedupeStream final
    : public grpc::ServerBidiReactor<v1::DedupeRangesStreamRequest, v1::DedupeRangesStreamResponse> {
 public:
  DedupeStream(grpc::CallbackServerContext& context, Node& node, WorkPool& pool)
      : node_(node), pool_(pool), stop_(StopTime(context)) {
    std::lock_guard<std::mutex> lock(mutex_);
    ReadLocked();
  }

  void OnReadDone(bool ok) override {
    std::unique_lock<std::mutex> lock(mutex_);
    reading_ = false;
    read_all_ = !ok;
    if (ok && !broken_) {
      const size_t bytes = request_.ByteSizeLong();
      unanswered_bytes_ += bytes;
      waiting_.push_back({std::move(request_), bytes});
      ReadLocked();
      if (!serving_) {
        serving_ = true;
        if (absl::Status full = pool_.Submit([this] { Serve(); }); !full.ok()) {
          serving_ = false;
          const Waiting refused = std::move(waiting_.front());
          waiting_.pop_front();
          AnswerLocked(refused, full);
        }
      }
    }
    WriteOrFinish(std::move(lock));
  }

  void OnWriteDone(bool ok) override {
    std::unique_lock<std::mutex> lock(mutex_);
    writing_ = false;
    if (!ok) Break();
    unanswered_bytes_ -= unsent_.front().request_bytes;
    unsent_.pop_front();
    ReadLocked();
    WriteOrFinish(std::move(lock));
  }

  void OnCancel() override {
    std::unique_lock<std::mutex> lock(mutex_);
    Break();
    WriteOrFinish(std::move(lock));
  }

  void OnDone() override { delete this; }

 private:
  struct Waiting {
    v1::DedupeRangesStreamRequest message;
    size_t bytes = 0;
  };
  struct Answer {
    v1::DedupeRangesStreamResponse message;
    size_t request_bytes = 0;
  };

  void Serve() {
    const SteadyClock::time_point end = SteadyClock::now() + kTurn;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!waiting_.empty() && !broken_) {
      std::deque<Waiting> together;
      together.swap(waiting_);
      served_now_ = together.size();
      lock.unlock();
      std::vector<const v1::DedupeRangesRequest*> requests;
      requests.reserve(together.size());
      for (const Waiting& waiting : together) requests.push_back(&waiting.message.request());
      node_.DedupeTogether(requests, stop_, [&](absl::StatusOr<v1::DedupeRangesResponse> result) {
        std::lock_guard<std::mutex> answering(mutex_);
        AnswerLocked(together.front(), std::move(result));
        together.pop_front();
        --served_now_;
        WriteLocked();
      });
      lock.lock();
      // Other calls have their turn. Where the pool takes no more, this one goes on.
      if (SteadyClock::now() >= end && pool_.Submit([this] { Serve(); }).ok()) return;
    }
    serving_ = false;
    WriteOrFinish(std::move(lock));
  }

  void AnswerLocked(const Waiting& request, absl::StatusOr<v1::DedupeRangesResponse> result) {
    Answer& answer = unsent_.emplace_back();
    answer.request_bytes = request.bytes;
    answer.message.set_id(request.message.id());
    if (result.ok()) {
      *answer.message.mutable_response() = *std::move(result);
    } else {
      *answer.message.mutable_error() = ToErrorDetail(result.status());
    }
  }

  void ReadLocked() {
    const size_t unanswered = waiting_.size() + served_now_ + unsent_.size();
    if (reading_ || read_all_ || broken_) return;
    if (unanswered >= kMaxUnanswered || unanswered_bytes_ >= kMaxUnansweredBytes) return;
    reading_ = true;
    StartRead(&request_);
  }

  void WriteLocked() {
    if (writing_ || broken_ || unsent_.empty()) return;
    writing_ = true;
    grpc::WriteOptions options;
    // The next one follows at once: they may go together.
    if (unsent_.size() > 1) options.set_buffer_hint();
    StartWrite(&unsent_.front().message, options);
  }

  // Finish lets another thread delete this object: nothing may be touched after it, so the lock is let go
  // first.
  void WriteOrFinish(std::unique_lock<std::mutex> lock) {
    WriteLocked();
    if (writing_ || serving_ || finished_ || !(broken_ || read_all_)) return;
    finished_ = true;
    const grpc::Status status = broken_ ? grpc::Status::CANCELLED : grpc::Status::OK;
    lock.unlock();
    Finish(status);
  }

  // The client is gone.
  void Break() {
    broken_ = true;
    stop_.Request();
  }

  Node& node_;
  WorkPool& pool_;
  Stop stop_;
  std::mutex mutex_;
  v1::DedupeRangesStreamRequest request_;  // being read while reading_
  std::deque<Waiting> waiting_;
  size_t served_now_ = 0;        // taken from waiting_ and not answered yet
  std::deque<Answer> unsent_;    // the front one is being written while writing_
  size_t unanswered_bytes_ = 0;  // of the requests
  bool reading_ = false;
  bool read_all_ = false;
  bool serving_ = false;  // the pool has a turn of this stream
  bool writing_ = false;
  bool broken_ = false;
  bool finished_ = false;
};

// Duplicates as a scan finds them, progress every second, the summary last. Deletes itself once the scan has
// ended, the last write is done and the alarm has gone off.
class FindStream final : public grpc::ServerWriteReactor<v1::FindDuplicatesResponse> {
 public:
  FindStream(grpc::CallbackServerContext& context, Node& node, WorkPool& pool,
             const v1::FindDuplicatesRequest& request)
      : node_(node), stop_(StopTime(context)) {
    absl::StatusOr<RootedScan> scan = node_.CheckFind(request);
    if (!scan.ok()) {
      Finish(ToGrpc(scan.status()));
      return;
    }
    scan_ = *std::move(scan);
    totals_ = node_.OpenTotals(*scan_.root);
    if (absl::Status full = pool.Submit([this] { Scan(); }); !full.ok()) {
      Finish(ToGrpc(full));
      return;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    SetAlarmLocked();
  }

  void OnWriteDone(bool ok) override {
    std::unique_lock<std::mutex> lock(mutex_);
    writing_ = false;
    if (!ok) stop_.Request();
    unsent_.pop_front();
    room_.notify_all();
    WriteOrFinish(std::move(lock));
  }

  void OnCancel() override {
    stop_.Request();
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    room_.notify_all();
  }

  void OnDone() override { delete this; }

 private:
  void Scan() {
    absl::StatusOr<v1::LargestGroups> largest =
        node_.FindDuplicates(scan_, stop_, *totals_, [this](const v1::DuplicateRange& duplicate) {
          v1::FindDuplicatesResponse message;
          *message.mutable_duplicate() = duplicate;
          std::unique_lock<std::mutex> lock(mutex_);
          room_.wait(lock, [this] { return cancelled_ || unsent_.size() < kMaxUnsent; });
          if (cancelled_) return;
          unsent_.push_back(std::move(message));
          WriteOrFinish(std::move(lock));
        });
    std::unique_lock<std::mutex> lock(mutex_);
    status_ = largest.status();
    if (largest.ok()) {
      *unsent_.emplace_back().mutable_largest() = *std::move(largest);
      *unsent_.emplace_back().mutable_summary() = Progress();
    }
    scanned_ = true;
    alarm_.Cancel();
    WriteOrFinish(std::move(lock));
  }

  void SetAlarmLocked() {
    if (scanned_) return;
    alarm_set_ = true;
    alarm_.Set(SystemClock::now() + kProgressInterval, [this](bool) {
      std::unique_lock<std::mutex> lock(mutex_);
      alarm_set_ = false;
      if (!scanned_ && unsent_.empty()) *unsent_.emplace_back().mutable_progress() = Progress();
      SetAlarmLocked();
      WriteOrFinish(std::move(lock));
    });
  }

  // Finish lets another thread delete this object: nothing may be touched after it, so the lock is let go
  // first.
  void WriteOrFinish(std::unique_lock<std::mutex> lock) {
    if (writing_ || finished_) return;
    if (cancelled_) unsent_.clear();
    if (!unsent_.empty()) {
      writing_ = true;
      StartWrite(&unsent_.front());
    } else if (scanned_ && !alarm_set_) {
      finished_ = true;
      const grpc::Status status = ToGrpc(status_);
      lock.unlock();
      Finish(status);
    }
  }

  v1::TaskTotals Progress() const {
    return ToProto(totals_->Get(), absl::FromChrono(SteadyClock::now() - begin_));
  }

  Node& node_;
  Stop stop_;
  RootedScan scan_;
  std::shared_ptr<SharedTotals> totals_;
  const SteadyClock::time_point begin_ = SteadyClock::now();
  grpc::Alarm alarm_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::deque<v1::FindDuplicatesResponse> unsent_;  // the front one is being written while writing_
  absl::Status status_;
  bool writing_ = false;
  bool scanned_ = false;
  bool cancelled_ = false;
  bool alarm_set_ = false;
  bool finished_ = false;
};

// Reports of one run: where it stands, progress every second, the summary as soon as it has ended. A slow
// reader misses steps, never the summary. Ends with the run or its reader, whichever is first, or once a
// controller of a higher epoch has given orders; the run goes on. Deletes itself.
class TaskStream final : public grpc::ServerWriteReactor<v1::RunTaskResponse> {
 public:
  TaskStream(EpochGate& epochs, const google::protobuf::Timestamp& node_started)
      : epochs_(epochs), node_started_(node_started) {}

  // Once, from any thread.
  void Begin(absl::StatusOr<std::shared_ptr<TaskRun>> run, uint64_t epoch) {
    if (!run.ok()) {
      Finish(ToGrpc(run.status()));
      return;
    }
    run_ = *std::move(run);
    epoch_ = epoch;
    // Before the first report, which tells of an end until then.
    end_watch_ = std::make_unique<TaskRun::EndWatch>(run_, [this] { WakeFor(ended_); });
    epoch_watch_ = std::make_unique<EpochGate::Watch>(epochs_, epoch, [this] { WakeFor(fenced_); });
    Write();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::CANCELLED);
    } else if (message_.has_summary()) {
      Finish(grpc::Status::OK);
    } else {
      AwaitNext();
    }
  }

  void OnCancel() override { WakeFor(cancelled_); }
  void OnDone() override { delete this; }

 private:
  void Write() {
    message_ = run_->Report();
    *message_.mutable_node_started() = node_started_;
    written_ = SystemClock::now();
    Crashpoint(message_.has_summary() ? "node.summary.send" : "node.progress.send");
    StartWrite(&message_);
  }

  void AwaitNext() {
    std::lock_guard<std::mutex> lock(mutex_);
    const bool at_once = ended_ || cancelled_ || fenced_;
    alarm_.Set(at_once ? written_ : written_ + kProgressInterval, [this](bool) {
      std::unique_lock<std::mutex> woken(mutex_);
      const bool cancelled = cancelled_;
      const bool fenced = fenced_;
      woken.unlock();
      if (cancelled) {
        Finish(grpc::Status::CANCELLED);
      } else if (fenced) {
        Finish(ToGrpc(epochs_.Check(epoch_)));
      } else {
        Write();
      }
    });
  }

  // Ends the wait for the next report, if there is one.
  void WakeFor(bool& reason) {
    std::lock_guard<std::mutex> lock(mutex_);
    reason = true;
    alarm_.Cancel();
  }

  EpochGate& epochs_;
  const google::protobuf::Timestamp node_started_;
  std::shared_ptr<TaskRun> run_;
  uint64_t epoch_ = 0;
  v1::RunTaskResponse message_;
  SystemClock::time_point written_;
  grpc::Alarm alarm_;
  std::mutex mutex_;
  bool ended_ = false;
  bool cancelled_ = false;
  bool fenced_ = false;
  // Use what is above.
  std::unique_ptr<TaskRun::EndWatch> end_watch_;
  std::unique_ptr<EpochGate::Watch> epoch_watch_;
};

// Runs `work`, which fills the response, on the pool.
template <typename Work>
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, WorkPool& pool, Work work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::Status full =
      pool.Submit([reactor, work = std::move(work)]() mutable { reactor->Finish(ToGrpc(work())); });
  if (!full.ok()) reactor->Finish(ToGrpc(full));
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* NodeService::DedupeRanges(grpc::CallbackServerContext* context,
                                                    const v1::DedupeRangesRequest* request,
                                                    v1::DedupeRangesResponse* response) {
  auto* call = new DedupeCall(*context);
  absl::Status full = dedupes_.Submit([this, call, request, response] {
    absl::StatusOr<v1::DedupeRangesResponse> result = node_.DedupeRanges(*request, call->stop);
    const absl::Status status = result.status();
    if (result.ok()) *response = *std::move(result);
    call->Finish(ToGrpc(status));
  });
  if (!full.ok()) call->Finish(ToGrpc(full));
  return call;
}

grpc::ServerBidiReactor<v1::DedupeRangesStreamRequest, v1::DedupeRangesStreamResponse>*
NodeService::DedupeRangesStream(grpc::CallbackServerContext* context) {
  return new DedupeStream(*context, node_, dedupes_);
}

grpc::ServerWriteReactor<v1::FindDuplicatesResponse>* NodeService::FindDuplicates(
    grpc::CallbackServerContext* context, const v1::FindDuplicatesRequest* request) {
  return new FindStream(*context, node_, scans_, *request);
}

grpc::ServerWriteReactor<v1::RunTaskResponse>* NodeService::RunTask(grpc::CallbackServerContext*,
                                                                    const v1::RunTaskRequest* request) {
  auto* stream = new TaskStream(node_.epochs(), node_.started());
  absl::Status status = Failpoint("node.run.receive");
  if (status.ok()) {
    status = lookups_.Submit(
        [this, stream, request] { stream->Begin(node_.RunTask(*request), request->epoch()); });
  }
  if (!status.ok()) stream->Begin(status, request->epoch());
  return stream;
}

grpc::ServerUnaryReactor* NodeService::CancelTask(grpc::CallbackServerContext* context,
                                                  const v1::CancelTaskRequest* request,
                                                  v1::CancelTaskResponse*) {
  return Answer(context, lookups_, [this, request]() -> absl::Status {
    absl::Status status = Failpoint("node.cancel.receive");
    if (status.ok()) status = node_.CancelTask(*request);
    Crashpoint("node.cancel.send");
    return status;
  });
}

grpc::ServerUnaryReactor* NodeService::GetExtents(grpc::CallbackServerContext* context,
                                                  const v1::GetExtentsRequest* request,
                                                  v1::GetExtentsResponse* response) {
  // It waits for what the file has not written yet.
  return Answer(context, dedupes_, [this, request, response]() -> absl::Status {
    ASSIGN_OR_RETURN(*response, node_.GetExtents(*request));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* NodeService::GetNode(grpc::CallbackServerContext* context,
                                               const v1::GetNodeRequest*, v1::Node* response) {
  return Answer(context, lookups_, [this, response]() -> absl::Status {
    RETURN_IF_ERROR(Failpoint("node.probe.receive"));
    *response = node_.Describe();
    Crashpoint("node.probe.send");
    return absl::OkStatus();
  });
}

}  // namespace cowherd
