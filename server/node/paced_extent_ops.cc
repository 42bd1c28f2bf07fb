#include "server/node/paced_extent_ops.h"

namespace cowherd {

absl::StatusOr<std::vector<DedupeAnswer>> PacedExtentOps::Dedupe(int source, uint64_t offset, uint64_t length,
                                                                 absl::Span<const DedupeTarget> targets) {
  pace_.Wait(length * (1 + targets.size()), stop_);
  return PassingOps::Dedupe(source, offset, length, targets);
}

}  // namespace cowherd
