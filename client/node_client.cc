#include "client/node_client.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>

#include "client/call.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using StreamRequest = v1::DedupeRangesStreamRequest;
using StreamResponse = v1::DedupeRangesStreamResponse;

// Both directions of a stream for one thread that waits. Requests and answers queue here, so that neither
// direction waits for that thread.
class Pipe final : public grpc::ClientBidiReactor<StreamRequest, StreamResponse> {
 public:
  void Start() {
    AddHold();
    StartRead(&response_);
    StartCall();
  }

  void Write(StreamRequest request) {
    std::lock_guard<std::mutex> lock(mutex_);
    requests_.push_back(std::move(request));
    if (!writing_) WriteLocked();
  }
  // Once all writes are done, which is so when all are answered.
  void CloseWrites() { StartWritesDone(); }

  // Waits for answers and takes all there are. None: the stream is broken or has ended.
  std::deque<StreamResponse> Take() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return broken_ || !responses_.empty(); });
    return std::exchange(responses_, {});
  }

  grpc::Status Finish() {
    RemoveHold();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return status_;
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    requests_.pop_front();
    if (!ok) {
      broken_ = true;
      changed_.notify_all();
    } else if (!requests_.empty()) {
      WriteLocked();
    }
  }
  void OnReadDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (ok) {
      responses_.push_back(std::move(response_));
      StartRead(&response_);
    } else {
      broken_ = true;
    }
    changed_.notify_all();
  }
  void OnDone(const grpc::Status& status) override {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }

 private:
  void WriteLocked() {
    if (broken_) return;
    writing_ = true;
    grpc::WriteOptions options;
    // The next one follows at once: they may go together.
    if (requests_.size() > 1) options.set_buffer_hint();
    StartWrite(&requests_.front(), options);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StreamRequest> requests_;  // the front one is being written while writing_
  StreamResponse response_;             // being read
  std::deque<StreamResponse> responses_;
  bool writing_ = false;
  bool broken_ = false;
  bool done_ = false;
  grpc::Status status_;
};

absl::Status Incomplete() {
  return MakeError(absl::StatusCode::kDataLoss, "INCOMPLETE",
                   "the node ended the stream before its answer was complete; look at its log and try again");
}

}  // namespace

NodeClient::NodeClient(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(v1::NodeService::NewStub(channel_)) {}

absl::StatusOr<v1::DedupeRangesResponse> NodeClient::DedupeRanges(const v1::DedupeRangesRequest& request,
                                                                  absl::Duration timeout) const {
  return Call(*stub_, &v1::NodeService::Stub::DedupeRanges, request, timeout);
}

absl::Status NodeClient::DedupeRangesStream(size_t window, NextRequest next, Answered answered,
                                            absl::Duration timeout) const {
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  Pipe pipe;
  stub_->async()->DedupeRangesStream(&context, &pipe);
  pipe.Start();

  uint64_t sent = 0;
  uint64_t received = 0;
  bool more = true;
  bool stopped = false;
  absl::Status wrong;
  std::deque<StreamResponse> responses;
  while (wrong.ok() && !stopped) {
    while (more && sent - received < window) {
      StreamRequest request;
      request.set_id(sent);
      more = next(request.mutable_request());
      if (!more) break;
      pipe.Write(std::move(request));
      ++sent;
    }
    if (!more && sent == received) break;
    if (responses.empty()) responses = pipe.Take();
    if (responses.empty()) break;
    const StreamResponse response = std::move(responses.front());
    responses.pop_front();
    if (response.id() != received) {
      wrong = MakeError(absl::StatusCode::kInternal, "BAD_ANSWER",
                        "the node answered out of order; check that node and client are of one version");
      break;
    }
    ++received;
    stopped = response.has_response() ? !answered(response.response())
                                      : !answered(FromErrorDetail(response.error()));
  }
  const bool complete = wrong.ok() && !stopped && !more && sent == received;
  if (stopped || !wrong.ok()) {
    context.TryCancel();
  } else if (complete) {
    pipe.CloseWrites();
  }
  const grpc::Status status = pipe.Finish();
  if (!wrong.ok()) return wrong;
  if (stopped) return absl::OkStatus();
  if (status.ok() && !complete) return Incomplete();
  return FromGrpc(status);
}

absl::Status NodeClient::FindDuplicates(const v1::FindDuplicatesRequest& request, OnFound on_event,
                                        absl::Duration timeout) const {
  bool complete = false;
  RETURN_IF_ERROR(ReadAll<v1::FindDuplicatesResponse>(
      [&](grpc::ClientContext* context, auto* reader) {
        stub_->async()->FindDuplicates(context, &request, reader);
      },
      [&](const v1::FindDuplicatesResponse& event) {
        const bool go_on = on_event(event);
        complete = event.has_summary() || !go_on;
        return go_on;
      },
      timeout));
  return complete ? absl::OkStatus() : Incomplete();
}

absl::Status NodeClient::RunTask(const v1::RunTaskRequest& request, OnTask on_event,
                                 absl::Duration timeout) const {
  bool complete = false;
  RETURN_IF_ERROR(ReadAll<v1::RunTaskResponse>(
      [&](grpc::ClientContext* context, auto* reader) { stub_->async()->RunTask(context, &request, reader); },
      [&](const v1::RunTaskResponse& event) {
        const bool go_on = on_event(event);
        complete = event.has_summary() || !go_on;
        return go_on;
      },
      timeout));
  return complete ? absl::OkStatus() : Incomplete();
}

absl::Status NodeClient::CancelTask(const v1::CancelTaskRequest& request, absl::Duration timeout) const {
  return Call(*stub_, &v1::NodeService::Stub::CancelTask, request, timeout).status();
}

absl::StatusOr<v1::GetExtentsResponse> NodeClient::GetExtents(const v1::GetExtentsRequest& request,
                                                              absl::Duration timeout) const {
  return Call(*stub_, &v1::NodeService::Stub::GetExtents, request, timeout);
}

absl::StatusOr<v1::Node> NodeClient::GetNode(absl::Duration timeout) const {
  return Call(*stub_, &v1::NodeService::Stub::GetNode, v1::GetNodeRequest(), timeout);
}

}  // namespace cowherd
