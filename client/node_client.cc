#include "client/node_client.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include "client/call.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using StreamRequest = v1::DedupeRangesStreamRequest;
using StreamResponse = v1::DedupeRangesStreamResponse;

// Both directions of a stream for one thread that waits: one write and one read may be under way at a time.
class Pipe final : public grpc::ClientBidiReactor<StreamRequest, StreamResponse> {
 public:
  // A write or read must not be under way. `request` is copied.
  void Write(const StreamRequest& request) {
    std::lock_guard<std::mutex> lock(mutex_);
    request_ = request;
    writing_ = true;
    StartWrite(&request_);
  }
  void Read() {
    std::lock_guard<std::mutex> lock(mutex_);
    reading_ = true;
    StartRead(&response_);
  }
  void CloseWrites() { StartWritesDone(); }

  // Waits until no read is under way or, if `or_write`, no write. False: the stream is broken or has ended.
  bool Wait(bool or_write) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return broken_ || !reading_ || (or_write && !writing_); });
    return !broken_;
  }
  bool reading() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return reading_;
  }
  bool writing() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return writing_;
  }
  // What the last read got.
  const StreamResponse& response() const { return response_; }

  grpc::Status Finish() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return status_;
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    broken_ = broken_ || !ok;
    changed_.notify_all();
  }
  void OnReadDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    reading_ = false;
    broken_ = broken_ || !ok;
    changed_.notify_all();
  }
  void OnDone(const grpc::Status& status) override {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    done_ = true;
    changed_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  StreamRequest request_;
  StreamResponse response_;
  bool writing_ = false;
  bool reading_ = false;
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
  pipe.AddHold();
  pipe.StartCall();

  uint64_t sent = 0;
  uint64_t received = 0;
  bool more = true;
  bool stopped = false;
  bool awaits = false;  // a read was begun and its message not yet taken
  absl::Status wrong;
  while (true) {
    if (more && !pipe.writing() && sent - received < window) {
      StreamRequest request;
      request.set_id(sent);
      more = next(request.mutable_request());
      if (more) {
        pipe.Write(request);
        ++sent;
      }
    }
    if (!more && sent == received) break;
    if (!awaits) pipe.Read();
    awaits = true;
    if (!pipe.Wait(/*or_write=*/more && sent - received < window)) break;
    if (pipe.reading()) continue;
    awaits = false;
    const StreamResponse& response = pipe.response();
    if (response.id() != received) {
      wrong = MakeError(absl::StatusCode::kInternal, "BAD_ANSWER",
                        "the node answered out of order; check that node and client are of one version");
      break;
    }
    ++received;
    stopped = response.has_response() ? !answered(response.response())
                                      : !answered(FromErrorDetail(response.error()));
    if (stopped) break;
  }
  const bool complete = wrong.ok() && !stopped && !more && sent == received;
  if (stopped || !wrong.ok()) {
    context.TryCancel();
  } else if (complete) {
    pipe.CloseWrites();
  }
  pipe.RemoveHold();
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
