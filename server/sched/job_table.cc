#include "server/sched/job_table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/sched/canary.h"

namespace cowherd {
namespace {

// Takes one summand out of a sum and puts another in its place.
void Replace(Totals& sum, const Totals& before, const Totals& after) {
  for (const TotalsCounter& counter : TotalsCounters()) {
    sum.*counter.value += after.*counter.value - before.*counter.value;
  }
  sum.bytes_won += after.bytes_won - before.bytes_won;
  sum.elapsed += after.elapsed - before.elapsed;
}

template <typename Rows>
auto LowerBound(Rows& rows, uint32_t number) {
  return std::lower_bound(rows.begin(), rows.end(), number,
                          [](const TaskRow& row, uint32_t wanted) { return row.number < wanted; });
}

const TaskRow* FindRow(const ActiveJob& active, uint32_t number) {
  const auto found = LowerBound(active.tasks, number);
  return found != active.tasks.end() && found->number == number ? &*found : nullptr;
}

}  // namespace

std::shared_ptr<const std::string> NamePool::Get(absl::string_view name) {
  std::weak_ptr<const std::string>& kept = names_[std::string(name)];
  std::shared_ptr<const std::string> found = kept.lock();
  if (found != nullptr) return found;
  // Not in one piece with its counts, so that the name goes when its last user does.
  found = std::shared_ptr<const std::string>(new std::string(name));
  kept = found;
  if (names_.size() >= purge_at_) {
    for (auto it = names_.begin(); it != names_.end();) {
      it = it->second.expired() ? names_.erase(it) : std::next(it);
    }
    purge_at_ = std::max<size_t>(1'024, 2 * names_.size());
  }
  return found;
}

TaskRow::TaskRow(const Task& task, NamePool& names)
    : number(task.number),
      state(task.state),
      expanded(task.expanded),
      open(task.open),
      attempt(task.attempt),
      failures(task.failures),
      crashes(task.crashes),
      node(names.Get(task.node)),
      root(names.Get(task.root)),
      node_started(task.node_started),
      next_attempt(task.next_attempt),
      waiting_since(task.waiting_since),
      error(task.error) {
  if (!task.paths.empty()) paths = std::make_unique<std::vector<std::string>>(task.paths);
  if (task.run_id.empty()) return;
  counted = std::make_unique<Counted>();
  counted->run_id = task.run_id;
  counted->current = task.current;
  if (task.carried != Totals()) counted->carried = std::make_unique<Totals>(task.carried);
}

Task TaskRow::ToTask() const {
  Task task;
  task.number = number;
  task.node = *node;
  task.root = *root;
  if (paths != nullptr) task.paths = *paths;
  task.expanded = expanded;
  task.state = state;
  task.open = open;
  task.attempt = attempt;
  task.failures = failures;
  task.crashes = crashes;
  task.node_started = node_started;
  task.next_attempt = next_attempt;
  task.waiting_since = waiting_since;
  task.error = error;
  if (counted == nullptr) return task;
  task.run_id = counted->run_id;
  task.current = counted->current;
  if (counted->carried != nullptr) task.carried = *counted->carried;
  return task;
}

Totals TaskRow::totals() const {
  if (counted == nullptr) return Totals();
  return OverRuns(counted->carried != nullptr ? *counted->carried : Totals(), counted->current);
}

const TaskRow& ActiveJob::Row(uint32_t number) const { return *FindRow(*this, number); }

std::vector<TaskRow>::const_iterator ActiveJob::From(uint32_t number) const {
  return LowerBound(tasks, number);
}

bool ActiveJob::Follows(const std::string& node) const {
  return !canary_nodes.empty() && canary_nodes.count(node) == 0 &&
         JudgeCanary(plan.canary, canary) != CanaryVerdict::kGoOn;
}

JobRecord ActiveJob::Record() const {
  JobRecord record;
  record.job = job;
  record.spec = spec;
  record.tasks.reserve(tasks.size());
  for (const TaskRow& row : tasks) record.tasks.push_back(row.ToTask());
  return record;
}

ActiveJob& JobTable::Add(JobRecord record, JobPlan plan) {
  const uint64_t sequence = record.job.sequence;
  ActiveJob& active = jobs_[sequence];
  active.job = std::move(record.job);
  active.spec = std::move(record.spec);
  spec_bytes_ += active.spec.size();
  active.plan = std::move(plan);
  active.tasks.reserve(record.tasks.size());
  for (const Task& task : record.tasks) active.tasks.emplace_back(task, names_);
  active.job.totals = Totals();
  for (const TaskRow& row : active.tasks) {
    Count(active, row);
    active.job.totals += row.totals();
  }
  ChooseCanaries(active);
  active.job.state = JobStateOf(active.job.wanted, active.counts);
  sequence_of_[active.job.id] = sequence;
  return active;
}

void JobTable::Remove(uint64_t sequence) {
  ActiveJob& active = jobs_.at(sequence);
  for (const TaskRow& row : active.tasks) Uncount(active, row);
  spec_bytes_ -= active.spec.size();
  sequence_of_.erase(active.job.id);
  jobs_.erase(sequence);
}

const ActiveJob* JobTable::Find(const std::string& id) const {
  const auto found = sequence_of_.find(id);
  return found == sequence_of_.end() ? nullptr : &jobs_.at(found->second);
}

const ActiveJob* JobTable::Find(uint64_t sequence) const {
  const auto found = jobs_.find(sequence);
  return found == jobs_.end() ? nullptr : &found->second;
}

const TaskRow* JobTable::Find(TaskKey key) const {
  const ActiveJob* active = Find(key.job);
  return active == nullptr ? nullptr : FindRow(*active, key.number);
}

const JobTable::NodeTasks& JobTable::OnNode(const std::string& node) const {
  static const NodeTasks* none = new NodeTasks();
  const auto found = on_node_.find(node);
  return found == on_node_.end() ? *none : found->second;
}

std::map<TaskState, uint64_t> JobTable::CountTasks() const {
  std::map<TaskState, uint64_t> counts;
  for (size_t state = 0; state < tasks_in_state_.size(); ++state) {
    counts[static_cast<TaskState>(state)] = tasks_in_state_[state];
  }
  return counts;
}

uint64_t JobTable::tasks() const {
  return std::accumulate(tasks_in_state_.begin(), tasks_in_state_.end(), uint64_t{0});
}

absl::Time JobTable::oldest_waiting() const {
  return waiting_since_.empty() ? absl::InfiniteFuture() : waiting_since_.begin()->first;
}

absl::Status JobTable::Complete(JobChange& change, absl::Time wall) const {
  const ActiveJob& active = *Find(change.job.id);
  Job& job = change.job;
  TaskCounts counts = active.counts;
  job.totals = active.job.totals;
  for (const Task& task : change.put) {
    const TaskRow* before = FindRow(active, task.number);
    if (before != nullptr) {
      if (!LegalMove(before->state, task.state)) {
        return absl::InternalError(absl::StrCat("task ", TaskId(job, task.number), " cannot go from ",
                                                TaskStateName(before->state), " to ",
                                                TaskStateName(task.state)));
      }
      counts.Remove(before->state, before->attempt);
    }
    counts.Add(task.state, task.attempt);
    Replace(job.totals, before != nullptr ? before->totals() : Totals(), task.totals());
  }
  for (uint32_t number : change.removed) {
    const TaskRow& before = active.Row(number);
    counts.Remove(before.state, before.attempt);
    Replace(job.totals, before.totals(), Totals());
  }
  job.state = JobStateOf(job.wanted, counts);
  if (!LegalMove(active.job.state, job.state)) {
    return absl::InternalError(absl::StrCat("job ", job.id, " cannot go from ",
                                            JobStateName(active.job.state), " to ", JobStateName(job.state)));
  }
  job.revision = active.job.revision + 1;
  // Nothing ends before it began, whatever was done to the machine's clock meanwhile.
  if (counts.started > 0 && job.started == absl::InfinitePast()) job.started = std::max(wall, job.created);
  if (Ended(job.state)) job.ended = std::max({wall, job.created, job.started});
  return absl::OkStatus();
}

void JobTable::Apply(JobChange change) {
  ActiveJob& active = jobs_.at(change.job.sequence);
  active.job = std::move(change.job);
  for (const Task& task : change.put) {
    const auto place = LowerBound(active.tasks, task.number);
    if (place != active.tasks.end() && place->number == task.number) {
      Uncount(active, *place);
      *place = TaskRow(task, names_);
      Count(active, *place);
    } else {
      Count(active, *active.tasks.insert(place, TaskRow(task, names_)));
    }
  }
  if (change.removed.empty()) return;
  const std::set<uint32_t> removed(change.removed.begin(), change.removed.end());
  for (uint32_t number : removed) Uncount(active, active.Row(number));
  active.tasks.erase(std::remove_if(active.tasks.begin(), active.tasks.end(),
                                    [&removed](const TaskRow& row) { return removed.count(row.number) > 0; }),
                     active.tasks.end());
  ChooseCanaries(active);
}

void JobTable::Count(ActiveJob& active, const TaskRow& row) {
  active.counts.Add(row.state, row.attempt);
  if (active.canary_nodes.count(*row.node) > 0) active.canary.Add(row.state, row.attempt);
  ++tasks_in_state_[static_cast<size_t>(row.state)];
  if (row.state == TaskState::kWaiting) ++waiting_since_[row.waiting_since];
  if (Ended(row.state)) return;
  if (!row.expanded) {
    active.unexpanded.insert(row.number);
    on_node_[*row.node].unexpanded.insert({active.job.sequence, row.number});
  }
  if (row.open) {
    active.open.insert(row.number);
    on_node_[*row.node].open.insert({active.job.sequence, row.number});
  }
}

void JobTable::Uncount(ActiveJob& active, const TaskRow& row) {
  active.counts.Remove(row.state, row.attempt);
  if (active.canary_nodes.count(*row.node) > 0) active.canary.Remove(row.state, row.attempt);
  --tasks_in_state_[static_cast<size_t>(row.state)];
  if (row.state == TaskState::kWaiting) {
    const auto since = waiting_since_.find(row.waiting_since);
    if (--since->second == 0) waiting_since_.erase(since);
  }
  if (Ended(row.state) || (row.expanded && !row.open)) return;
  const TaskKey key{active.job.sequence, row.number};
  const auto node = on_node_.find(*row.node);
  if (!row.expanded) {
    active.unexpanded.erase(row.number);
    node->second.unexpanded.erase(key);
  }
  if (row.open) {
    active.open.erase(row.number);
    node->second.open.erase(key);
  }
  if (node->second.unexpanded.empty() && node->second.open.empty()) on_node_.erase(node);
}

void JobTable::ChooseCanaries(ActiveJob& active) {
  if (active.plan.canary.nodes == 0) return;
  std::set<std::string> nodes;
  for (const TaskRow& row : active.tasks) nodes.insert(*row.node);
  active.canary_nodes = CanaryNodes(active.plan.canary, nodes);
  active.canary = TaskCounts();
  for (const TaskRow& row : active.tasks) {
    if (active.canary_nodes.count(*row.node) > 0) active.canary.Add(row.state, row.attempt);
  }
}

}  // namespace cowherd
