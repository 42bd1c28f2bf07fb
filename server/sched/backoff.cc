#include "server/sched/backoff.h"

#include <algorithm>

#include "absl/random/distributions.h"

namespace cowherd {

absl::Duration Backoff(uint32_t failures, absl::BitGenRef random) {
  // 2^9 s is above the ceiling.
  const uint32_t power = std::min<uint32_t>(failures, 9);
  const absl::Duration ceiling = std::min(kBackoffFloor * (1 << power), kBackoffCeiling);
  const double share = absl::Uniform<double>(random, 0.0, 1.0);
  // Whole milliseconds, which the store keeps as they are.
  return kBackoffFloor + absl::Ceil(share * (ceiling - kBackoffFloor), absl::Milliseconds(1));
}

}  // namespace cowherd
