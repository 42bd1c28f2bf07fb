#include "server/sched/scheduler.h"

#include <algorithm>

#include "server/sched/bandwidth.h"

namespace cowherd {

void Scheduler::AddJob(uint64_t job, int32_t priority) { jobs_[job].priority = priority; }

void Scheduler::SetHeld(uint64_t job, bool held) {
  JobQueue& queue = jobs_.at(job);
  queue.held = held;
  Rerank(job, queue);
  if (held) return;
  for (uint32_t number : queue.away) OfferAway({job, number}, entries_.at({job, number}));
}

void Scheduler::RemoveJob(uint64_t job) { jobs_.erase(job); }

void Scheduler::SetGate(const std::string& name, Gate gate) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() && gate == Gate::kShut) return;
  Node& node = NodeOf(name);
  const Gate before = std::exchange(node.gate, gate);
  if (before == gate) return;
  if (before == Gate::kShut) ++open_nodes_;
  if (gate == Gate::kShut) {
    --open_nodes_;
    return Forget(node);
  }
  if (before == Gate::kShut) {
    const std::set<TaskKey> away = node.away;
    for (const TaskKey& task : away) Due(task, entries_.at(task));
  }
  if (gate == Gate::kOpen) WakeAll(node);
}

void Scheduler::PauseFilesystem(const std::string& node, const std::string& filesystem, absl::Time until) {
  Filesystem& paused = FilesystemOf({node, filesystem});
  paused_.erase({paused.paused_until, &paused});
  paused.paused_until = until;
  if (until != absl::InfinitePast()) {
    paused_.emplace(until, &paused);
  } else {
    Wake(paused);
  }
  Leave(paused);
}

Scheduler::Node& Scheduler::NodeOf(const std::string& name) {
  Node& node = nodes_[name];
  if (node.name.empty()) node.name = name;
  return node;
}

// Unless something is known of it.
void Scheduler::Forget(Node& node) {
  if (node.gate == Gate::kShut && node.filesystems.empty()) nodes_.erase(std::string(node.name));
}

// One more user of it.
Scheduler::Filesystem& Scheduler::FilesystemOf(const Place& place) {
  Node& node = NodeOf(place.node);
  Filesystem& filesystem = node.filesystems[place.filesystem];
  if (filesystem.node == nullptr) {
    filesystem.node = &node;
    filesystem.uuid = place.filesystem;
    filesystem.id = ++last_filesystem_;
  }
  ++filesystem.tasks;
  return filesystem;
}

void Scheduler::Leave(Filesystem& filesystem) {
  if (--filesystem.tasks > 0 || filesystem.paused_until != absl::InfinitePast()) return;
  Node& node = *filesystem.node;
  node.filesystems.erase(std::string(filesystem.uuid));
  Forget(node);
}

void Scheduler::Rerank(uint64_t id, JobQueue& job) {
  if (job.rank) order_.erase(*job.rank);
  job.rank.reset();
  if (job.held || job.startable.empty()) return;
  job.rank = Rank(-int64_t{job.priority}, job.running, job.served, id);
  order_.insert(*job.rank);
}

void Scheduler::Enqueue(TaskKey task, Filesystem& filesystem) {
  JobQueue& job = jobs_.at(task.job);
  job.queued.emplace(filesystem.id, task.number);
  if (filesystem.parked.count(task.job) > 0) return;
  if (job.startable.insert(filesystem.id).second && job.startable.size() == 1) Rerank(task.job, job);
}

void Scheduler::Dequeue(TaskKey task, Filesystem& filesystem) {
  JobQueue& job = jobs_.at(task.job);
  job.queued.erase({filesystem.id, task.number});
  const auto next = job.queued.lower_bound({filesystem.id, 0});
  if (next != job.queued.end() && next->first == filesystem.id) return;
  filesystem.parked.erase(task.job);
  if (job.startable.erase(filesystem.id) > 0 && job.startable.empty()) Rerank(task.job, job);
}

void Scheduler::Wake(Filesystem& filesystem) {
  for (uint64_t id : std::exchange(filesystem.parked, {})) {
    JobQueue& job = jobs_.at(id);
    if (job.startable.insert(filesystem.id).second && job.startable.size() == 1) Rerank(id, job);
  }
}

void Scheduler::WakeAll(Node& node) {
  for (auto& [uuid, filesystem] : node.filesystems) Wake(filesystem);
}

bool Scheduler::Free(const Filesystem& filesystem, absl::Time now) const {
  return filesystem.node->gate == Gate::kOpen && filesystem.node->open < limits_.per_node &&
         (filesystem.uuid.empty() || filesystem.open < limits_.per_filesystem) &&
         filesystem.paused_until <= now;
}

void Scheduler::Queue(TaskKey task, const Place& place, absl::Time not_before) {
  Remove(task);
  Entry& entry = entries_[task];
  entry.filesystem = &FilesystemOf(place);
  entry.not_before = not_before;
  if (not_before == absl::InfinitePast()) return Due(task, entry);
  timed_.emplace(not_before, task);
}

void Scheduler::Attach(TaskKey task, const Place& place, absl::Time not_before) {
  Remove(task);
  Entry& entry = entries_[task];
  entry.filesystem = &FilesystemOf(place);
  entry.not_before = not_before;
  entry.stage = Stage::kAway;
  ++entry.filesystem->open;
  ++entry.filesystem->node->open;
  entry.filesystem->node->away.insert(task);
  jobs_.at(task.job).away.insert(task.number);
  timed_.emplace(not_before, task);
}

void Scheduler::Run(TaskKey task) {
  Entry& entry = entries_.at(task);
  if (entry.stage == Stage::kAway) BeginRun(task, entry, 0);
}

void Scheduler::Remove(TaskKey task) {
  const auto found = entries_.find(task);
  if (found == entries_.end()) return;
  const Entry entry = found->second;
  JobQueue& job = jobs_.at(task.job);
  Filesystem& filesystem = *entry.filesystem;
  Node& node = *filesystem.node;
  switch (entry.stage) {
    case Stage::kTimed:
      timed_.erase({entry.not_before, task});
      break;
    case Stage::kQueued:
      Dequeue(task, filesystem);
      break;
    case Stage::kAway:
      timed_.erase({entry.not_before, task});
      node.away.erase(task);
      job.away.erase(task.number);
      attachable_.erase(task);
      break;
    case Stage::kRunning:
      --running_;
      --job.running;
      given_bytes_per_second_ -= entry.bytes_per_second;
      Rerank(task.job, job);
      break;
  }
  if (entry.stage == Stage::kAway || entry.stage == Stage::kRunning) {
    --filesystem.open;
    --node.open;
    WakeAll(node);
  }
  entries_.erase(found);
  Leave(filesystem);
}

// The time of a task has come.
void Scheduler::Due(TaskKey task, Entry& entry) {
  timed_.erase({entry.not_before, task});
  if (entry.stage == Stage::kAway) {
    entry.due = true;
    return OfferAway(task, entry);
  }
  entry.stage = Stage::kQueued;
  Enqueue(task, *entry.filesystem);
}

void Scheduler::OfferAway(TaskKey task, const Entry& entry) {
  if (!entry.due || entry.filesystem->node->gate == Gate::kShut || jobs_.at(task.job).held) return;
  attachable_.insert(task);
}

void Scheduler::BeginRun(TaskKey task, Entry& entry, uint64_t bytes_per_second) {
  JobQueue& job = jobs_.at(task.job);
  Filesystem& filesystem = *entry.filesystem;
  if (entry.stage == Stage::kAway) {
    timed_.erase({entry.not_before, task});
    attachable_.erase(task);
    filesystem.node->away.erase(task);
    job.away.erase(task.number);
  } else {
    Dequeue(task, filesystem);
    ++filesystem.open;
    ++filesystem.node->open;
    job.served = ++turns_;
  }
  entry.stage = Stage::kRunning;
  entry.bytes_per_second = bytes_per_second;
  given_bytes_per_second_ += bytes_per_second;
  ++running_;
  ++job.running;
  Rerank(task.job, job);
}

size_t Scheduler::slots() const {
  return std::min(limits_.in_all, std::max<size_t>(open_nodes_, 1) * limits_.per_node);
}

std::vector<Scheduler::Start> Scheduler::Next(absl::Time now, size_t most) {
  while (!timed_.empty() && timed_.begin()->first <= now) {
    const TaskKey task = timed_.begin()->second;
    Due(task, entries_.at(task));
  }
  while (!paused_.empty() && paused_.begin()->first <= now) {
    Filesystem& filesystem = *paused_.begin()->second;
    paused_.erase(paused_.begin());
    filesystem.paused_until = absl::InfinitePast();
    Wake(filesystem);
    ++filesystem.tasks;
    Leave(filesystem);
  }
  std::vector<Start> starts;
  while (starts.size() < most && !attachable_.empty()) {
    const TaskKey task = *attachable_.begin();
    attachable_.erase(attachable_.begin());
    Entry& entry = entries_.at(task);
    if (entry.filesystem->node->gate == Gate::kShut || jobs_.at(task.job).held) continue;
    uint64_t share = 0;
    if (limits_.bytes_per_second > 0) {
      // It was given about so much before, and goes on with that.
      share = ShareOf(limits_.bytes_per_second, slots(), 0).value_or(0);
    }
    BeginRun(task, entry, share);
    starts.push_back({task, /*attach=*/true, share});
  }
  while (starts.size() < most && running_ < limits_.in_all && !order_.empty()) {
    absl::optional<uint64_t> share = 0;
    if (limits_.bytes_per_second > 0) {
      share = ShareOf(limits_.bytes_per_second, slots(), given_bytes_per_second_);
    }
    if (!share) break;
    const uint64_t id = std::get<3>(*order_.begin());
    JobQueue& job = jobs_.at(id);
    const TaskKey task{id, job.queued.lower_bound({*job.startable.begin(), 0})->second};
    Entry& entry = entries_.at(task);
    if (!Free(*entry.filesystem, now)) {
      entry.filesystem->parked.insert(id);
      job.startable.erase(job.startable.begin());
      if (job.startable.empty()) Rerank(id, job);
      continue;
    }
    BeginRun(task, entry, *share);
    starts.push_back({task, /*attach=*/false, *share});
  }
  return starts;
}

absl::Time Scheduler::wake() const {
  absl::Time wake = absl::InfiniteFuture();
  if (!timed_.empty()) wake = timed_.begin()->first;
  if (!paused_.empty()) wake = std::min(wake, paused_.begin()->first);
  return wake;
}

}  // namespace cowherd
