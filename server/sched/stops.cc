#include "server/sched/stops.h"

namespace cowherd {

void Stops::Plan(TaskKey task, Stop& stop, absl::Time next) {
  due_.erase({stop.next, task});
  stop.next = next;
  if (next != absl::InfiniteFuture()) due_.emplace(next, task);
}

void Stops::Hurry(TaskKey task) { Plan(task, stops_[task], absl::InfinitePast()); }

void Stops::Sent(TaskKey task, absl::Time again) {
  Stop& stop = stops_[task];
  stop.in_flight = true;
  Plan(task, stop, again);
}

void Stops::Taken(TaskKey task) {
  Stop& stop = stops_[task];
  stop.in_flight = false;
  stop.taken = true;
}

void Stops::NotTaken(TaskKey task) { stops_[task].in_flight = false; }

void Stops::Later(TaskKey task, absl::Time when) { Plan(task, stops_[task], when); }

void Stops::Rest(TaskKey task) { Plan(task, stops_[task], absl::InfiniteFuture()); }

void Stops::NewRun(TaskKey task) {
  const auto found = stops_.find(task);
  if (found == stops_.end()) return;
  found->second.taken = false;
  Hurry(task);
}

void Stops::Forget(TaskKey task) {
  const auto found = stops_.find(task);
  if (found == stops_.end()) return;
  Plan(task, found->second, absl::InfiniteFuture());
  stops_.erase(found);
}

bool Stops::in_flight(TaskKey task) const {
  const auto found = stops_.find(task);
  return found != stops_.end() && found->second.in_flight;
}

bool Stops::taken(TaskKey task) const {
  const auto found = stops_.find(task);
  return found != stops_.end() && found->second.taken;
}

Stops::Step Stops::NextStep(TaskKey task, const NodeEntry* node, bool has_stream, bool has_end) const {
  if (in_flight(task)) return Step::kWait;
  if (node == nullptr || node->state == NodeState::kLost) return has_stream ? Step::kWait : Step::kGone;
  if (node->addresses.empty()) return Step::kWait;
  if (!taken(task) || has_stream || node->state != NodeState::kUp) return Step::kSend;
  return has_end ? Step::kWait : Step::kAttach;
}

std::vector<TaskKey> Stops::Due(absl::Time now) const {
  std::vector<TaskKey> tasks;
  for (auto it = due_.begin(); it != due_.end() && it->first <= now; ++it) tasks.push_back(it->second);
  return tasks;
}

absl::Time Stops::wake() const { return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first; }

}  // namespace cowherd
