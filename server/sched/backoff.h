#ifndef COWHERD_SERVER_SCHED_BACKOFF_H_
#define COWHERD_SERVER_SCHED_BACKOFF_H_

#include <cstdint>

#include "absl/random/bit_gen_ref.h"
#include "absl/time/time.h"

namespace cowherd {

inline constexpr absl::Duration kBackoffFloor = absl::Seconds(1);
inline constexpr absl::Duration kBackoffCeiling = absl::Minutes(5);

// How long to wait after the `failures`th failure in a row (from 1): evenly drawn from 1 s to 2^failures s,
// at most 5 min, so that many tasks that failed together do not come back together.
absl::Duration Backoff(uint32_t failures, absl::BitGenRef random);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_BACKOFF_H_
