#ifndef COWHERD_SERVER_SCAN_ESTIMATE_H_
#define COWHERD_SERVER_SCAN_ESTIMATE_H_

#include <cstdint>
#include <map>

#include "server/scan/extent_plan.h"

namespace cowherd {

// What carrying out plans comes to, in bytes of storage.
struct Estimate {
  uint64_t freeable = 0;  // given up, less what is moved
  uint64_t moved = 0;
  // Each place once; each source once, since what shares with it is compared one after the other.
  uint64_t read = 0;
};

// Of the plans of one batch. Pure.
Estimate EstimateOf(const std::map<uint64_t, ExtentPlan>& batch);

// The part of what `plan` frees that one of its duplicate segments makes up.
uint64_t FreeableOf(const ExtentPlan& plan, const Segment& segment);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_ESTIMATE_H_
