// Many watchers of one job, in one process: opens them, tells when each has heard of the job, then answers on
// standard output what is asked on standard input.
//   watch_load ADDRESS JOB WATCHES CHANNELS SLOW
// The last SLOW of WATCHES read nothing until they are told to. Prints "open"; then takes, one a line:
//   seen    prints the least and the highest revision that the others have heard of last
//   read    the slow ones begin to read; once
//   slow    prints the most messages that one of them got, and the least revision that one of them has
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cowherd/v1/controller.grpc.pb.h"

namespace cowherd {
namespace {

class Watcher final : public grpc::ClientReadReactor<v1::Job> {
 public:
  Watcher(v1::ControllerService::Stub& stub, const std::string& job, bool slow) : slow_(slow) {
    request_.set_id(job);
    stub.async()->WatchJob(&context_, &request_, this);
    AddHold();
    if (!slow_) StartRead(&job_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    std::lock_guard<std::mutex> lock(mutex_);
    ++count_;
    revision_ = job_.revision();
    changed_.notify_all();
    StartRead(&job_);
  }
  void OnDone(const grpc::Status& status) override {
    std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
    if (status.error_code() != grpc::StatusCode::CANCELLED) {
      std::cerr << "a watch ended: " << status.error_message() << std::endl;
    }
    changed_.notify_all();
  }

  bool slow() const { return slow_; }
  void Read() { StartRead(&job_); }
  bool AwaitFirst() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return count_ > 0 || done_; });
    return count_ > 0;
  }
  int count() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return count_;
  }
  uint64_t revision() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return revision_;
  }
  void End() {
    context_.TryCancel();
    RemoveHold();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }

 private:
  const bool slow_;
  grpc::ClientContext context_;
  v1::WatchJobRequest request_;
  v1::Job job_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
  uint64_t revision_ = 0;
  bool done_ = false;
};

int Run(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: watch_load ADDRESS JOB WATCHES CHANNELS SLOW\n";
    return 2;
  }
  const int watches = std::stoi(argv[3]);
  const int channels = std::stoi(argv[4]);
  const int slow = std::stoi(argv[5]);
  std::vector<std::unique_ptr<v1::ControllerService::Stub>> stubs;
  for (int i = 0; i < channels; ++i) {
    grpc::ChannelArguments arguments;
    // A connection each.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(256 << 20);
    stubs.push_back(v1::ControllerService::NewStub(
        grpc::CreateCustomChannel(argv[1], grpc::InsecureChannelCredentials(), arguments)));
  }
  std::vector<std::unique_ptr<Watcher>> watchers;
  watchers.reserve(static_cast<size_t>(watches));
  for (int i = 0; i < watches; ++i) {
    watchers.push_back(std::make_unique<Watcher>(*stubs[static_cast<size_t>(i % channels)], argv[2],
                                                 /*slow=*/i >= watches - slow));
  }
  bool ok = true;
  for (const auto& watcher : watchers) ok = (watcher->slow() || watcher->AwaitFirst()) && ok;
  std::cout << (ok ? "open" : "refused") << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const bool of_slow = line != "seen";
    uint64_t least = ~uint64_t{0};
    uint64_t most = 0;
    int messages = 0;
    for (const auto& watcher : watchers) {
      if (watcher->slow() != of_slow) continue;
      if (line == "read") watcher->Read();
      least = std::min(least, watcher->revision());
      most = std::max(most, watcher->revision());
      messages = std::max(messages, watcher->count());
    }
    if (line == "seen") std::cout << least << ' ' << most << std::endl;
    if (line == "slow") std::cout << messages << ' ' << least << std::endl;
  }
  for (const auto& watcher : watchers) watcher->End();
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Run(argc, argv); }
