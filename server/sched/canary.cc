#include "server/sched/canary.h"

#include <algorithm>
#include <iterator>

namespace cowherd {

std::set<std::string> CanaryNodes(const Canary& canary, const std::set<std::string>& nodes) {
  const size_t count = std::min<size_t>(canary.nodes, nodes.size());
  return std::set<std::string>(nodes.begin(), std::next(nodes.begin(), static_cast<ptrdiff_t>(count)));
}

CanaryVerdict JudgeCanary(const Canary& canary, const TaskCounts& tasks) {
  if (canary.nodes == 0) return CanaryVerdict::kGoOn;
  if (tasks.in(TaskState::kFailed) >= canary.max_failures) return CanaryVerdict::kStop;
  return tasks.left() == 0 ? CanaryVerdict::kGoOn : CanaryVerdict::kWait;
}

}  // namespace cowherd
