#include "server/sched/bandwidth.h"

#include <algorithm>

namespace cowherd {

absl::optional<uint64_t> ShareOf(uint64_t limit, size_t slots, uint64_t given) {
  const uint64_t part = std::max<uint64_t>(limit / std::max<size_t>(slots, 1), 1);
  const uint64_t left = limit - std::min(limit, given);
  if (left == 0 || left < part / 2) return absl::nullopt;
  return std::min(part, left);
}

}  // namespace cowherd
