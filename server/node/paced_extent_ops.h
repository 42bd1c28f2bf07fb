#ifndef COWHERD_SERVER_NODE_PACED_EXTENT_OPS_H_
#define COWHERD_SERVER_NODE_PACED_EXTENT_OPS_H_

#include <vector>

#include "server/base/stop.h"
#include "server/fs/passing_ops.h"
#include "server/scan/pace.h"

namespace cowherd {

// Another ExtentOps, where each Dedupe waits first until the pace allows it, or until `stop` says to end. All
// must outlive it.
class PacedExtentOps final : public PassingOps {
 public:
  PacedExtentOps(ExtentOps& ops, Pace& pace, const Stop& stop) : PassingOps(ops), pace_(pace), stop_(stop) {}

  absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                   absl::Span<const DedupeTarget> targets) override;

 private:
  Pace& pace_;
  const Stop& stop_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_PACED_EXTENT_OPS_H_
