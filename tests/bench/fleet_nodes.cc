// The storage nodes of a fleet in one process, by gRPC, each on its own loopback port: for
// tests/bench/failover.py. Nodes keep NodeService's promises on attempts, attaching and epochs, and do their
// tasks only in name: one "looks at" kTaskBytes at the rate that its job asks for, give or take a half.
//
//   fleet_nodes NODES ROOTS
//
// Writes one line with the ports, in the order of the nodes, then a line for each order, each begin of a run
// and each cancel, until it is killed: WHAT NODE TASK ATTEMPT EPOCH, after nanoseconds of the monotonic
// clock.
#include <grpcpp/alarm.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "cowherd/v1/node.grpc.pb.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using Steady = std::chrono::steady_clock;

constexpr uint64_t kTaskBytes = uint64_t{1} << 30;
constexpr uint64_t kDefaultBytesPerSecond = kTaskBytes / 2;
constexpr std::chrono::seconds kProgressEvery(1);

class Stream;

struct Run {
  std::string run_id;
  uint32_t attempt = 0;
  Steady::time_point begin;
  Steady::time_point end;
  bool cancelled = false;
  std::set<Stream*> streams;
};

struct FleetNode {
  std::string name;
  uint64_t epoch = 0;
  std::map<std::string, Run> runs;
};

class Fleet final : public v1::NodeService::CallbackService {
 public:
  Fleet(size_t nodes, size_t roots);
  void Wait() { server_->Wait(); }
  const std::vector<int>& ports() const { return ports_; }

  grpc::ServerUnaryReactor* GetNode(grpc::CallbackServerContext* context, const v1::GetNodeRequest*,
                                    v1::Node* response) override;
  grpc::ServerWriteReactor<v1::RunTaskResponse>* RunTask(grpc::CallbackServerContext* context,
                                                         const v1::RunTaskRequest* request) override;
  grpc::ServerUnaryReactor* CancelTask(grpc::CallbackServerContext* context,
                                       const v1::CancelTaskRequest* request,
                                       v1::CancelTaskResponse*) override;

 private:
  friend class Stream;

  // The node whose address the caller dialled.
  FleetNode& Called(const grpc::CallbackServerContext& context);
  // Ends the streams of lower epochs.
  grpc::Status EnterLocked(FleetNode& node, uint64_t epoch);
  void Tell(const char* what, const FleetNode& node, const std::string& task, uint32_t attempt,
            uint64_t epoch);

  const size_t roots_;
  std::mutex mutex_;
  std::vector<FleetNode> nodes_;
  std::vector<int> ports_;
  std::map<std::string, size_t> by_authority_;
  std::unique_ptr<grpc::Server> server_;
};

// Reports of one run: at once, then each second, then its summary. Deletes itself.
class Stream final : public grpc::ServerWriteReactor<v1::RunTaskResponse> {
 public:
  explicit Stream(Fleet& fleet) : fleet_(fleet) {}

  void BeginLocked(FleetNode& node, Run& run, uint64_t epoch) {
    node_ = &node;
    run_ = &run;
    epoch_ = epoch;
    run.streams.insert(this);
  }
  uint64_t epoch() const { return epoch_; }
  // What it waits for may have come.
  void WakeLocked() {
    awake_ = true;
    alarm_.Cancel();
  }

  void Write() {
    {
      std::lock_guard<std::mutex> lock(fleet_.mutex_);
      const Steady::time_point now = Steady::now();
      const bool over = run_->cancelled || now >= run_->end;
      message_.Clear();
      message_.set_run_id(run_->run_id);
      message_.set_attempt(run_->attempt);
      v1::TaskTotals& totals =
          over ? *message_.mutable_summary()->mutable_totals() : *message_.mutable_progress();
      const double part = std::chrono::duration<double>(now - run_->begin) /
                          std::chrono::duration<double>(run_->end - run_->begin);
      totals.set_bytes_scanned(part >= 1 ? kTaskBytes
                                         : static_cast<uint64_t>(part * static_cast<double>(kTaskBytes)));
      if (run_->cancelled) message_.mutable_summary()->mutable_error()->set_reason("CANCELLED");
      next_ = std::min(now + Steady::duration(kProgressEvery), run_->end);
    }
    StartWrite(&message_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    if (message_.has_summary()) return Finish(grpc::Status::OK);
    std::lock_guard<std::mutex> lock(fleet_.mutex_);
    const Steady::duration wait = awake_ ? Steady::duration::zero() : next_ - Steady::now();
    alarm_.Set(std::chrono::system_clock::now() + wait, [this](bool) {
      std::unique_lock<std::mutex> woken(fleet_.mutex_);
      awake_ = false;
      const bool dropped = dropped_;
      const bool fenced = epoch_ < node_->epoch;
      woken.unlock();
      if (dropped) return Finish(grpc::Status::CANCELLED);
      if (fenced) return Finish(StaleEpoch());
      Write();
    });
  }
  void OnCancel() override {
    std::lock_guard<std::mutex> lock(fleet_.mutex_);
    dropped_ = true;
    WakeLocked();
  }
  void OnDone() override {
    {
      std::lock_guard<std::mutex> lock(fleet_.mutex_);
      if (run_ != nullptr) run_->streams.erase(this);
    }
    delete this;
  }

  static grpc::Status StaleEpoch() {
    return ToGrpc(
        MakeError(absl::StatusCode::kFailedPrecondition, "STALE_EPOCH", "a newer controller rules"));
  }

 private:
  Fleet& fleet_;
  FleetNode* node_ = nullptr;
  Run* run_ = nullptr;
  uint64_t epoch_ = 0;
  v1::RunTaskResponse message_;
  Steady::time_point next_;
  grpc::Alarm alarm_;
  bool awake_ = false;
  bool dropped_ = false;
};

Fleet::Fleet(size_t nodes, size_t roots) : roots_(roots), nodes_(nodes), ports_(nodes) {
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  for (size_t i = 0; i < nodes; ++i) {
    nodes_[i].name = absl::StrFormat("node-%05d", i);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &ports_[i]);
  }
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return;
  std::lock_guard<std::mutex> lock(mutex_);
  for (size_t i = 0; i < nodes; ++i) by_authority_[absl::StrCat("127.0.0.1:", ports_[i])] = i;
}

FleetNode& Fleet::Called(const grpc::CallbackServerContext& context) {
  const grpc::string_ref authority = context.ExperimentalGetAuthority();
  return nodes_[by_authority_.at(std::string(authority.data(), authority.size()))];
}

void Fleet::Tell(const char* what, const FleetNode& node, const std::string& task, uint32_t attempt,
                 uint64_t epoch) {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(Steady::now().time_since_epoch()).count();
  const std::string line = absl::StrFormat("%d %s %s %s %u %u\n", now, what, node.name, task, attempt, epoch);
  std::fwrite(line.data(), 1, line.size(), stdout);
}

grpc::Status Fleet::EnterLocked(FleetNode& node, uint64_t epoch) {
  if (epoch < node.epoch) return Stream::StaleEpoch();
  if (epoch == node.epoch) return grpc::Status::OK;
  node.epoch = epoch;
  for (auto& [task, run] : node.runs) {
    for (Stream* stream : run.streams) stream->WakeLocked();
  }
  return grpc::Status::OK;
}

grpc::ServerUnaryReactor* Fleet::GetNode(grpc::CallbackServerContext* context, const v1::GetNodeRequest*,
                                         v1::Node* response) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const FleetNode& node = Called(*context);
    response->set_name(node.name);
    response->set_instance_id(absl::StrCat("instance-", node.name));
    response->set_max_tasks(1);
    response->mutable_started()->set_seconds(1);
    for (size_t i = 0; i < roots_; ++i) {
      v1::Root& root = *response->add_roots();
      root.set_name(absl::StrFormat("volume-%02d", i));
      root.set_path(absl::StrCat("/", root.name()));
      root.set_filesystem("xfs");
      root.set_uuid(absl::StrCat(node.name, "-", i));
      root.set_dedupe_supported(true);
    }
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<v1::RunTaskResponse>* Fleet::RunTask(grpc::CallbackServerContext* context,
                                                              const v1::RunTaskRequest* request) {
  auto* stream = new Stream(*this);
  grpc::Status status;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    FleetNode& node = Called(*context);
    status = EnterLocked(node, request->epoch());
    if (status.ok()) {
      Tell("order", node, request->task_id(), request->attempt(), request->epoch());
      Run& run = node.runs[request->task_id()];
      const bool over = run.cancelled || Steady::now() >= run.end;
      if (run.run_id.empty() || (over && request->attempt() > run.attempt)) {
        const uint64_t asked = request->scan().options().bytes_per_second();
        const double rate = static_cast<double>(asked > 0 ? asked : kDefaultBytesPerSecond);
        const double spread =
            0.5 + static_cast<double>(std::hash<std::string>()(request->task_id()) % 1'000) / 1'000;
        run.run_id = absl::StrCat(request->task_id(), "/", request->attempt());
        run.attempt = request->attempt();
        run.cancelled = false;
        run.begin = Steady::now();
        run.end = run.begin + std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(
                                  spread * static_cast<double>(kTaskBytes) / rate));
        Tell("begin", node, request->task_id(), request->attempt(), request->epoch());
      }
      stream->BeginLocked(node, run, request->epoch());
    }
  }
  if (status.ok()) {
    stream->Write();
  } else {
    stream->Finish(status);
  }
  return stream;
}

grpc::ServerUnaryReactor* Fleet::CancelTask(grpc::CallbackServerContext* context,
                                            const v1::CancelTaskRequest* request, v1::CancelTaskResponse*) {
  grpc::Status status;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    FleetNode& node = Called(*context);
    status = EnterLocked(node, request->epoch());
    const auto found = node.runs.find(request->task_id());
    if (status.ok() && found == node.runs.end()) {
      status = ToGrpc(MakeError(absl::StatusCode::kNotFound, "TASK_UNKNOWN", "no such task here"));
    } else if (status.ok()) {
      Run& run = found->second;
      Tell("cancel", node, request->task_id(), run.attempt, request->epoch());
      if (Steady::now() < run.end) run.cancelled = true;
      for (Stream* stream : run.streams) stream->WakeLocked();
    }
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

int Main(int argc, char** argv) {
  size_t nodes = 0;
  size_t roots = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[1], &nodes) || !absl::SimpleAtoi(argv[2], &roots) || nodes == 0 ||
      roots == 0) {
    std::fprintf(stderr, "usage: fleet_nodes NODES ROOTS\n");
    return 2;
  }
  // Debian's Abseil looks for deadlocks, which costs more than all else here.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
  Fleet fleet(nodes, roots);
  std::string ports;
  for (const int port : fleet.ports()) {
    if (port <= 0) {
      std::fprintf(stderr, "fleet_nodes: not all nodes found a port\n");
      return 1;
    }
    absl::StrAppend(&ports, ports.empty() ? "" : " ", port);
  }
  std::printf("%s\n", ports.c_str());
  std::fflush(stdout);
  fleet.Wait();
  return 0;
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Main(argc, argv); }
