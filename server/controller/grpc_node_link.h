#ifndef COWHERD_SERVER_CONTROLLER_GRPC_NODE_LINK_H_
#define COWHERD_SERVER_CONTROLLER_GRPC_NODE_LINK_H_

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/sched/node_link.h"

namespace cowherd {

// Calls nodes by gRPC. One channel per address, whose connection is let go when it idles. A node that is
// silent for 15 s while a task runs there counts as gone.
class GrpcNodeLink final : public NodeLink {
 public:
  struct Options {
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    // Without TLS, only addresses of this machine are dialled; others fail with FAILED_PRECONDITION
    // "PLAINTEXT_REFUSED".
    bool allow_any_address = false;
    absl::Duration idle_after = absl::Seconds(5);
  };

  explicit GrpcNodeLink(Options options);
  // Waits for calls under way: probes and cancels for at most 2 s. All runs must be gone.
  ~GrpcNodeLink() override;

  void Probe(const Endpoint& endpoint, ProbeDone done) override;
  std::unique_ptr<Run> RunTask(const Endpoint& endpoint, const RunOrder& order, RunEvents events) override;
  void CancelTask(const Endpoint& endpoint, const std::string& task_id, uint64_t epoch,
                  CancelDone done) override;
  void Forget(const std::string& address) override;

  // Counts calls under way. For this class and its calls.
  class Calls {
   public:
    void Begin();
    void End();
    void WaitForNone();

   private:
    std::mutex mutex_;
    std::condition_variable none_;
    size_t count_ = 0;
  };

 private:
  absl::StatusOr<std::shared_ptr<grpc::Channel>> ChannelTo(const Endpoint& endpoint);

  const Options options_;
  Calls calls_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_;
  // Kept until no call uses them: a process's last channel must not go on a gRPC thread, which would wait for
  // itself.
  std::vector<std::shared_ptr<grpc::Channel>> forgotten_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_GRPC_NODE_LINK_H_
