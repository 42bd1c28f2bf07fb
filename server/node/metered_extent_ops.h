#ifndef COWHERD_SERVER_NODE_METERED_EXTENT_OPS_H_
#define COWHERD_SERVER_NODE_METERED_EXTENT_OPS_H_

#include <vector>

#include "server/fs/extent_ops.h"
#include "server/metrics/node_metrics.h"

namespace cowherd {

// Another ExtentOps, with each Dedupe timed and each refusal counted. Both must outlive it.
class MeteredExtentOps final : public ExtentOps {
 public:
  MeteredExtentOps(ExtentOps& ops, NodeMetrics& metrics) : ops_(ops), metrics_(metrics) {}

  absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                   absl::Span<const DedupeTarget> targets) override;
  absl::StatusOr<ExtentList> Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                     bool flush) override {
    return ops_.Extents(fd, offset, length, max, flush);
  }
  bool IsSwap(int fd) override { return ops_.IsSwap(fd); }
  absl::StatusOr<FsFacts> Facts(int fd) override { return ops_.Facts(fd); }
  void Prefetch(int fd, uint64_t offset, uint64_t length) override { ops_.Prefetch(fd, offset, length); }
  CachedPart StartReading(int fd, uint64_t offset, uint64_t length) override {
    return ops_.StartReading(fd, offset, length);
  }
  void Forget(int fd, uint64_t offset, uint64_t length) override { ops_.Forget(fd, offset, length); }
  absl::Status Commit(int fd) override { return ops_.Commit(fd); }

 private:
  ExtentOps& ops_;
  NodeMetrics& metrics_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_METERED_EXTENT_OPS_H_
