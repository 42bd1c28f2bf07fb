#ifndef COWHERD_SERVER_SCHED_CANARY_H_
#define COWHERD_SERVER_SCHED_CANARY_H_

#include <cstdint>
#include <set>
#include <string>

#include "server/jobs/job.h"

namespace cowherd {

// Some nodes of a job go first; the others follow if all went well enough there. Pure.
struct Canary {
  // How many. 0: all nodes are alike.
  uint32_t nodes = 0;
  // The others follow only if fewer tasks than this failed for good. Above 0 where nodes is.
  uint32_t max_failures = 1;
};

// The first by name.
std::set<std::string> CanaryNodes(const Canary& canary, const std::set<std::string>& nodes);

enum class CanaryVerdict { kWait, kGoOn, kStop };

// What the tasks of the canary nodes say. Enough failures are told at once, success when all have ended.
CanaryVerdict JudgeCanary(const Canary& canary, const TaskCounts& tasks);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_CANARY_H_
