#ifndef COWHERD_CLIENT_HOLD_CLIENT_H_
#define COWHERD_CLIENT_HOLD_CLIENT_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/controllers.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// Lets nodes and the cluster rest and go on, for programs. As JobClient. Each call may be repeated.
class HoldClient {
 public:
  explicit HoldClient(std::shared_ptr<Controllers> controllers) : controllers_(std::move(controllers)) {}

  absl::StatusOr<v1::NodeHold> PauseNode(const v1::PauseNodeRequest& request, absl::Duration timeout) const;
  absl::StatusOr<v1::NodeHold> DrainNode(const v1::DrainNodeRequest& request, absl::Duration timeout) const;
  absl::StatusOr<v1::NodeHold> ResumeNode(const v1::ResumeNodeRequest& request, absl::Duration timeout) const;
  absl::StatusOr<v1::ClusterHold> PauseCluster(const v1::PauseClusterRequest& request,
                                               absl::Duration timeout) const;
  absl::StatusOr<v1::ClusterHold> DrainCluster(const v1::DrainClusterRequest& request,
                                               absl::Duration timeout) const;
  absl::StatusOr<v1::ClusterHold> ResumeCluster(absl::Duration timeout) const;

 private:
  const std::shared_ptr<Controllers> controllers_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_HOLD_CLIENT_H_
