#ifndef COWHERD_SERVER_NODE_METERED_EXTENT_OPS_H_
#define COWHERD_SERVER_NODE_METERED_EXTENT_OPS_H_

#include <vector>

#include "server/fs/passing_ops.h"
#include "server/metrics/node_metrics.h"

namespace cowherd {

// Another ExtentOps, with each Dedupe timed and each refusal counted. Both must outlive it.
class MeteredExtentOps final : public PassingOps {
 public:
  MeteredExtentOps(ExtentOps& ops, NodeMetrics& metrics) : PassingOps(ops), metrics_(metrics) {}

  absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                   absl::Span<const DedupeTarget> targets) override;

 private:
  NodeMetrics& metrics_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_METERED_EXTENT_OPS_H_
