#include "client/hold_client.h"

#include "client/call.h"
#include "cowherd/v1/controller.grpc.pb.h"

namespace cowherd {
using Stub = v1::HoldService::Stub;
using Repeat = Controllers::Repeat;

absl::StatusOr<v1::NodeHold> HoldClient::PauseNode(const v1::PauseNodeRequest& request,
                                                   absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::PauseNode, request, timeout);
}

absl::StatusOr<v1::NodeHold> HoldClient::DrainNode(const v1::DrainNodeRequest& request,
                                                   absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::DrainNode, request, timeout);
}

absl::StatusOr<v1::NodeHold> HoldClient::ResumeNode(const v1::ResumeNodeRequest& request,
                                                    absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::ResumeNode, request, timeout);
}

absl::StatusOr<v1::ClusterHold> HoldClient::PauseCluster(const v1::PauseClusterRequest& request,
                                                         absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::PauseCluster, request, timeout);
}

absl::StatusOr<v1::ClusterHold> HoldClient::DrainCluster(const v1::DrainClusterRequest& request,
                                                         absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::DrainCluster, request, timeout);
}

absl::StatusOr<v1::ClusterHold> HoldClient::ResumeCluster(absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::ResumeCluster, v1::ResumeClusterRequest(), timeout);
}

}  // namespace cowherd
