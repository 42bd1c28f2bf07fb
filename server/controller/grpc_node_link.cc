#include "server/controller/grpc_node_link.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cowherd/v1/node.grpc.pb.h"
#include "server/base/credentials.h"
#include "server/base/failpoint.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/convert.h"

namespace cowherd {
namespace {

constexpr std::chrono::seconds kDeadline(2);
constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
constexpr int kMaxReconnectMs = 5'000;
// A RangeJob's results are large.
constexpr int kMaxReceiveBytes = 64 << 20;

// What one unary call needs while it is under way. Its context holds the channel, so it goes before the call
// is said to have ended.
template <typename Request, typename Response>
struct Unary {
  grpc::ClientContext context;
  Request request;
  Response response;
};

// Deletes itself when the stream is done.
class RunReactor final : public grpc::ClientReadReactor<v1::RunTaskResponse> {
 public:
  RunReactor(std::shared_ptr<grpc::Channel> channel, v1::RunTaskRequest request, NodeLink::RunEvents events,
             GrpcNodeLink::Calls& calls)
      : stub_(v1::NodeService::NewStub(std::move(channel))),
        request_(std::move(request)),
        events_(std::move(events)),
        calls_(calls) {}

  void Start(std::shared_ptr<RunReactor> self) {
    self_ = std::move(self);
    calls_.Begin();
    stub_->async()->RunTask(&context_, &request_, this);
    StartRead(&response_);
    // Reads are begun by another thread.
    AddHold();
    StartCall();
  }
  void Next() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (holding_) StartRead(&response_);
  }
  void Drop() {
    context_.TryCancel();
    Release();
  }

  void OnReadDone(bool ok) override {
    // The end follows.
    if (!ok) return Release();
    Crashpoint("controller.report.receive");
    events_.on_event(FromProto(response_));
  }
  void OnDone(const grpc::Status& status) override {
    Crashpoint("controller.report.end");
    events_.on_end(FromGrpc(status));
    GrpcNodeLink::Calls& calls = calls_;
    // The context holds the channel: it goes before the link may.
    std::shared_ptr<RunReactor> self = std::move(self_);
    self.reset();
    calls.End();
  }

 private:
  void Release() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!std::exchange(holding_, false)) return;
    RemoveHold();
  }

  const std::unique_ptr<v1::NodeService::Stub> stub_;
  const v1::RunTaskRequest request_;
  const NodeLink::RunEvents events_;
  GrpcNodeLink::Calls& calls_;
  grpc::ClientContext context_;
  v1::RunTaskResponse response_;
  std::shared_ptr<RunReactor> self_;
  std::mutex mutex_;
  bool holding_ = true;
};

class GrpcRun final : public NodeLink::Run {
 public:
  explicit GrpcRun(std::shared_ptr<RunReactor> reactor) : reactor_(std::move(reactor)) {}
  ~GrpcRun() override { reactor_->Drop(); }
  void Next() override { reactor_->Next(); }

 private:
  const std::shared_ptr<RunReactor> reactor_;
};

// A run that never was.
class NoRun final : public NodeLink::Run {
 public:
  void Next() override {}
};

}  // namespace

void GrpcNodeLink::Calls::Begin() {
  std::lock_guard<std::mutex> lock(mutex_);
  ++count_;
}

void GrpcNodeLink::Calls::End() {
  std::lock_guard<std::mutex> lock(mutex_);
  // Under the lock: once it sees none, the owner may be gone.
  if (--count_ == 0) none_.notify_all();
}

void GrpcNodeLink::Calls::WaitForNone() {
  std::unique_lock<std::mutex> lock(mutex_);
  none_.wait(lock, [this] { return count_ == 0; });
}

GrpcNodeLink::GrpcNodeLink(Options options) : options_(std::move(options)) {}

GrpcNodeLink::~GrpcNodeLink() { calls_.WaitForNone(); }

absl::StatusOr<std::shared_ptr<grpc::Channel>> GrpcNodeLink::ChannelTo(const Endpoint& endpoint) {
  if (!options_.allow_any_address && !IsLocalAddress(endpoint.address)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "PLAINTEXT_REFUSED",
                     absl::StrCat(endpoint.address,
                                  " is on another machine and is not dialled in plain text; give "
                                  "--tls_cert, --tls_key and --tls_ca, or "
                                  "--allow_remote_plaintext"));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<grpc::Channel>& channel = channels_[endpoint.address];
  if (channel != nullptr) return channel;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // A run's stream only reads.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options_.idle_after)));
  // No proxy stands between the controller and its nodes.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  if (!endpoint.tls_name.empty()) arguments.SetSslTargetNameOverride(endpoint.tls_name);
  channel = grpc::CreateCustomChannel(endpoint.address, options_.credentials, arguments);
  return channel;
}

void GrpcNodeLink::Probe(const Endpoint& endpoint, ProbeDone done) {
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = ChannelTo(endpoint);
  if (!channel.ok()) return done(channel.status());
  if (absl::Status failed = Failpoint("controller.probe.send"); !failed.ok()) return done(failed);
  auto* call = new Unary<v1::GetNodeRequest, v1::Node>();
  call->context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  calls_.Begin();
  const auto stub = v1::NodeService::NewStub(*channel);
  stub->async()->GetNode(&call->context, &call->request, &call->response,
                         [this, call, done = std::move(done)](const grpc::Status& status) {
                           std::unique_ptr<Unary<v1::GetNodeRequest, v1::Node>> owned(call);
                           Crashpoint("controller.probe.receive");
                           if (status.ok()) {
                             done(FromProto(owned->response));
                           } else {
                             done(FromGrpc(status));
                           }
                           owned.reset();
                           calls_.End();
                         });
}

std::unique_ptr<NodeLink::Run> GrpcNodeLink::RunTask(const Endpoint& endpoint, const RunOrder& order,
                                                     RunEvents events) {
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = ChannelTo(endpoint);
  absl::StatusOr<v1::RunTaskRequest> request = ToProto(order);
  absl::Status status = channel.ok() ? request.status() : channel.status();
  if (status.ok()) status = Failpoint("controller.run.send");
  if (!status.ok()) {
    events.on_end(status);
    return std::make_unique<NoRun>();
  }
  auto reactor =
      std::make_shared<RunReactor>(*std::move(channel), *std::move(request), std::move(events), calls_);
  reactor->Start(reactor);
  return std::make_unique<GrpcRun>(std::move(reactor));
}

void GrpcNodeLink::CancelTask(const Endpoint& endpoint, const std::string& task_id, uint64_t epoch,
                              CancelDone done) {
  absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = ChannelTo(endpoint);
  if (!channel.ok()) return done(channel.status());
  if (absl::Status failed = Failpoint("controller.cancel.send"); !failed.ok()) return done(failed);
  auto* call = new Unary<v1::CancelTaskRequest, v1::CancelTaskResponse>();
  call->context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  call->request.set_task_id(task_id);
  call->request.set_epoch(epoch);
  calls_.Begin();
  const auto stub = v1::NodeService::NewStub(*channel);
  stub->async()->CancelTask(
      &call->context, &call->request, &call->response,
      [this, call, done = std::move(done)](const grpc::Status& status) {
        std::unique_ptr<Unary<v1::CancelTaskRequest, v1::CancelTaskResponse>> owned(call);
        Crashpoint("controller.cancel.receive");
        done(FromGrpc(status));
        owned.reset();
        calls_.End();
      });
}

void GrpcNodeLink::Forget(const std::string& address) {
  std::lock_guard<std::mutex> lock(mutex_);
  forgotten_.erase(
      std::remove_if(forgotten_.begin(), forgotten_.end(),
                     [](const std::shared_ptr<grpc::Channel>& channel) { return channel.use_count() == 1; }),
      forgotten_.end());
  const auto found = channels_.find(address);
  if (found == channels_.end()) return;
  forgotten_.push_back(std::move(found->second));
  channels_.erase(found);
}

}  // namespace cowherd
