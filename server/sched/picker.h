#ifndef COWHERD_SERVER_SCHED_PICKER_H_
#define COWHERD_SERVER_SCHED_PICKER_H_

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace cowherd {

// A task that could be sent to its node.
struct Candidate {
  std::string node;
  // Its run may go on already.
  bool open = false;
  // Not before.
  absl::Time not_before = absl::InfinitePast();
};

struct PickLimits {
  size_t per_node = 1;
  size_t in_all = 64;
};

// Which candidates to send now, as indices: only to nodes in `up`, within the limits. `running` counts the
// tasks that run on each node. Open ones go first, since their runs take up their nodes anyhow; else the
// order given. Pure.
std::vector<size_t> Pick(const std::vector<Candidate>& candidates, const std::set<std::string>& up,
                         const std::map<std::string, size_t>& running, const PickLimits& limits,
                         absl::Time now);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_PICKER_H_
