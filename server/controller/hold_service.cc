#include "server/controller/hold_service.h"

#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"
#include "server/controller/call_on_loop.h"
#include "server/controller/caller.h"
#include "server/controller/convert.h"
#include "server/controller/request.h"

namespace cowherd {
namespace {

absl::Status CheckNode(const std::string& node) {
  return node.empty() ? FieldError("node", "must not be empty") : absl::OkStatus();
}

}  // namespace

HoldService::HoldService(Loop& loop, std::shared_ptr<Mailbox> mailbox)
    : loop_(loop), mailbox_(std::move(mailbox)) {}

template <typename Request>
grpc::ServerUnaryReactor* HoldService::HoldNode(grpc::CallbackServerContext* context, const Request* request,
                                                Hold::Kind kind, v1::NodeHold* response) {
  const std::string by = CallerOf(*context, request->by());
  return CallOnLoop(*mailbox_, context, [this, request, kind, by, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckNode(request->node()));
    ASSIGN_OR_RETURN(Hold hold, CheckHold(kind, request->reason(), by));
    RETURN_IF_ERROR(loop_.HoldNode(request->node(), std::move(hold)));
    response->set_node(request->node());
    *response->mutable_hold() = ToProto(*loop_.holds().Find(Holds::Node(request->node())));
    return absl::OkStatus();
  });
}

template <typename Request>
grpc::ServerUnaryReactor* HoldService::HoldCluster(grpc::CallbackServerContext* context,
                                                   const Request* request, Hold::Kind kind,
                                                   v1::ClusterHold* response) {
  const std::string by = CallerOf(*context, request->by());
  return CallOnLoop(*mailbox_, context, [this, request, kind, by, response]() -> absl::Status {
    ASSIGN_OR_RETURN(Hold hold, CheckHold(kind, request->reason(), by));
    RETURN_IF_ERROR(loop_.HoldCluster(std::move(hold)));
    *response->mutable_hold() = ToProto(*loop_.holds().Find(Holds::Cluster()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* HoldService::PauseNode(grpc::CallbackServerContext* context,
                                                 const v1::PauseNodeRequest* request,
                                                 v1::NodeHold* response) {
  return HoldNode(context, request, Hold::Kind::kPause, response);
}

grpc::ServerUnaryReactor* HoldService::DrainNode(grpc::CallbackServerContext* context,
                                                 const v1::DrainNodeRequest* request,
                                                 v1::NodeHold* response) {
  return HoldNode(context, request, Hold::Kind::kDrain, response);
}

grpc::ServerUnaryReactor* HoldService::ResumeNode(grpc::CallbackServerContext* context,
                                                  const v1::ResumeNodeRequest* request,
                                                  v1::NodeHold* response) {
  const std::string by = CallerOf(*context, context->peer());
  return CallOnLoop(*mailbox_, context, [this, request, by, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckNode(request->node()));
    RETURN_IF_ERROR(loop_.ResumeNode(request->node()));
    Log(LogLevel::kInfo, "asked to resume a node", {{"node", request->node()}, {"by", by}});
    response->set_node(request->node());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* HoldService::PauseCluster(grpc::CallbackServerContext* context,
                                                    const v1::PauseClusterRequest* request,
                                                    v1::ClusterHold* response) {
  return HoldCluster(context, request, Hold::Kind::kPause, response);
}

grpc::ServerUnaryReactor* HoldService::DrainCluster(grpc::CallbackServerContext* context,
                                                    const v1::DrainClusterRequest* request,
                                                    v1::ClusterHold* response) {
  return HoldCluster(context, request, Hold::Kind::kDrain, response);
}

grpc::ServerUnaryReactor* HoldService::ResumeCluster(grpc::CallbackServerContext* context,
                                                     const v1::ResumeClusterRequest*, v1::ClusterHold*) {
  const std::string by = CallerOf(*context, context->peer());
  return CallOnLoop(*mailbox_, context, [this, by]() -> absl::Status {
    RETURN_IF_ERROR(loop_.ResumeCluster());
    Log(LogLevel::kInfo, "asked to resume the cluster", {{"by", by}});
    return absl::OkStatus();
  });
}

}  // namespace cowherd
