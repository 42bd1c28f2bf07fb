#ifndef COWHERD_SERVER_SCHED_BANDWIDTH_H_
#define COWHERD_SERVER_SCHED_BANDWIDTH_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/optional.h"

namespace cowherd {

// What one more task may take of `limit` bytes per second, where the running ones were given `given` together
// and at most `slots` run side by side: an equal part, so that the limit holds whatever starts and ends, and
// no running task need be told another figure. Less where less is left, but not below half a part: nullopt
// then, the task waits until another ends. `limit` must not be 0. Pure.
absl::optional<uint64_t> ShareOf(uint64_t limit, size_t slots, uint64_t given);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_BANDWIDTH_H_
