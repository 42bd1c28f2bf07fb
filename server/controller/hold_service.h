#ifndef COWHERD_SERVER_CONTROLLER_HOLD_SERVICE_H_
#define COWHERD_SERVER_CONTROLLER_HOLD_SERVICE_H_

#include <memory>
#include <string>

#include "cowherd/v1/controller.grpc.pb.h"
#include "server/sched/holds.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"

namespace cowherd {

// Pauses and drains nodes and the cluster. Hands each call to the loop's thread, which answers it.
class HoldService final : public v1::HoldService::CallbackService {
 public:
  // Both must outlive the server.
  HoldService(Loop& loop, std::shared_ptr<Mailbox> mailbox);

  grpc::ServerUnaryReactor* PauseNode(grpc::CallbackServerContext* context,
                                      const v1::PauseNodeRequest* request, v1::NodeHold* response) override;
  grpc::ServerUnaryReactor* DrainNode(grpc::CallbackServerContext* context,
                                      const v1::DrainNodeRequest* request, v1::NodeHold* response) override;
  grpc::ServerUnaryReactor* ResumeNode(grpc::CallbackServerContext* context,
                                       const v1::ResumeNodeRequest* request, v1::NodeHold* response) override;
  grpc::ServerUnaryReactor* PauseCluster(grpc::CallbackServerContext* context,
                                         const v1::PauseClusterRequest* request,
                                         v1::ClusterHold* response) override;
  grpc::ServerUnaryReactor* DrainCluster(grpc::CallbackServerContext* context,
                                         const v1::DrainClusterRequest* request,
                                         v1::ClusterHold* response) override;
  grpc::ServerUnaryReactor* ResumeCluster(grpc::CallbackServerContext* context,
                                          const v1::ResumeClusterRequest* request,
                                          v1::ClusterHold* response) override;

 private:
  template <typename Request>
  grpc::ServerUnaryReactor* HoldNode(grpc::CallbackServerContext* context, const Request* request,
                                     Hold::Kind kind, v1::NodeHold* response);
  template <typename Request>
  grpc::ServerUnaryReactor* HoldCluster(grpc::CallbackServerContext* context, const Request* request,
                                        Hold::Kind kind, v1::ClusterHold* response);

  Loop& loop_;
  const std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_HOLD_SERVICE_H_
