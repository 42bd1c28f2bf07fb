#include "server/sched/picker.h"

namespace cowherd {

std::vector<size_t> Pick(const std::vector<Candidate>& candidates, const std::set<std::string>& up,
                         const std::map<std::string, size_t>& running, const PickLimits& limits,
                         absl::Time now) {
  std::map<std::string, size_t> busy = running;
  size_t total = 0;
  for (const auto& [node, count] : running) total += count;
  std::vector<size_t> picked;
  for (const bool open : {true, false}) {
    for (size_t i = 0; i < candidates.size() && total < limits.in_all; ++i) {
      const Candidate& candidate = candidates[i];
      if (candidate.open != open || candidate.not_before > now || up.count(candidate.node) == 0) continue;
      size_t& on_node = busy[candidate.node];
      if (on_node >= limits.per_node) continue;
      ++on_node;
      ++total;
      picked.push_back(i);
    }
  }
  return picked;
}

}  // namespace cowherd
