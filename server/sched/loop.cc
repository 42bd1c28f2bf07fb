#include "server/sched/loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/backoff.h"
#include "server/sched/batch.h"
#include "server/sched/canary.h"
#include "server/sched/expansion.h"
#include "server/sched/reasons.h"

namespace cowherd {
namespace {

constexpr absl::Duration kPublishEvery = absl::Seconds(1);
// By less, a clock is only set right.
constexpr absl::Duration kJump = absl::Seconds(3);

}  // namespace

Loop::Loop(JobStore& store, NodeLink& link, const Clock& clock, std::shared_ptr<Mailbox> mailbox,
           ControllerMetrics& metrics, PlanReader read_plan, absl::BitGenRef random, Options options)
    : store_(store),
      mailbox_(std::move(mailbox)),
      metrics_(metrics),
      read_plan_(std::move(read_plan)),
      random_(random),
      options_(options),
      ledger_(
          store, clock, metrics, options_.max_watches,
          {[this](const ActiveJob& active, JobView& view) { Explain(active, view); },
           [this](const ActiveJob& active) { Saved(active); }, [this](const Job& job) { job_ended_(job); }}),
      table_(ledger_.table()),
      rests_(store),
      nodes_(
          link, clock, mailbox_, {options_.probe_interval, options_.lost_after},
          [this](const std::string& node) { NodeChanged(node); },
          [this](const std::string& node) { tries_.NodeAnswered(node); }),
      tries_(ledger_, nodes_, rests_, link, mailbox_, metrics, random,
             {options_.limits, options_.max_failures}) {}

void Loop::WakeBy(absl::Time when) { wake_ = std::min(wake_, when); }

bool Loop::StoreRests() {
  if (ledger_.retry() <= ledger_.Now()) return false;
  WakeBy(ledger_.retry());
  return true;
}

absl::Status Loop::Recover() {
  const absl::Time now = ledger_.Now();
  ahead_ = ledger_.Ahead();
  ASSIGN_OR_RETURN(const uint64_t epoch,
                   store_.RaiseEpoch(static_cast<uint64_t>(absl::ToUnixSeconds(ledger_.Wall()))));
  tries_.Begin(epoch);
  RETURN_IF_ERROR(ledger_.CountJobs());
  RETURN_IF_ERROR(rests_.Load());
  ASSIGN_OR_RETURN(std::vector<JobRecord> records, store_.LoadActive());
  for (JobRecord& record : records) {
    ASSIGN_OR_RETURN(JobPlan plan, read_plan_(record.spec));
    for (Task& task : record.tasks) {
      if (!Ended(task.state)) nodes_.Expect(task.node, now);
      // By the clock of another process.
      task.next_attempt = std::min(task.next_attempt, now + kBackoffCeiling);
      task.waiting_since = std::min(task.waiting_since, now);
    }
    TakeUp(ledger_.TakeUp(std::move(record), std::move(plan)));
    record = JobRecord();
  }
  const std::map<std::string, Hold> holds = rests_.holds().all();
  for (const auto& [name, hold] : holds) {
    const absl::string_view id = absl::StripPrefix(name, Holds::Job(""));
    if (id == name) continue;
    const ActiveJob* active = table_.Find(std::string(id));
    if (active == nullptr || active->job.wanted != Wanted::kPause) RETURN_IF_ERROR(rests_.Lift(name));
  }
  metrics_.TermBegins(epoch);
  Log(LogLevel::kInfo, "store opened", {{"epoch", epoch}, {"active_jobs", uint64_t{records.size()}}});
  return absl::OkStatus();
}

void Loop::RunPosted() {
  for (Mailbox::Work& work : mailbox_->Take()) work();
}

absl::Time Loop::Step() {
  RunPosted();
  const absl::Time now = ledger_.Now();
  wake_ = now + options_.probe_interval;
  nodes_.Probe(now);
  WakeBy(nodes_.wake());
  ExpireNodes();
  LookAtTheClock();
  FollowWindows();
  tries_.StoreNews();
  tries_.CountCrashes();
  ExpandJobs();
  if (!sweeps_.empty()) Sweep(sweeps_.begin()->first);
  tries_.GiveUpLost();
  tries_.SendStops();
  tries_.CloseGone();
  tries_.Dispatch();
  WakeBy(tries_.TakeWake());
  Notify();
  Publish();
  return wake_;
}

void Loop::Stop() {
  RunPosted();
  tries_.Stop();
  ledger_.Close();
}

void Loop::TakeUp(const ActiveJob& active) {
  const uint64_t sequence = active.job.sequence;
  rests_.jobs().Set(sequence, active.plan.windows, ledger_.Wall());
  if (active.plan.canary.nodes > 0) canaries_.insert(sequence);
  tries_.AddJob(active);
  if (!active.unexpanded.empty()) to_expand_[sequence] = active.unexpanded;
  if (active.job.wanted == Wanted::kCancel) sweeps_[sequence] = 0;
  Saved(active);
}

void Loop::Saved(const ActiveJob& active) {
  const uint64_t sequence = active.job.sequence;
  if (active.unexpanded.empty()) most_tasks_.erase(sequence);
  // Whether the canary nodes have said what becomes of the others.
  if (canaries_.count(sequence) == 0) return;
  const CanaryVerdict verdict = JudgeCanary(active.plan.canary, active.canary);
  if (verdict == CanaryVerdict::kWait) return;
  canaries_.erase(sequence);
  if (verdict == CanaryVerdict::kStop) {
    sweeps_.emplace(sequence, 0);
    return;
  }
  for (const TaskRow& row : active.tasks) {
    if (active.canary_nodes.count(*row.node) == 0) tries_.Schedule({sequence, row.number});
  }
}

void Loop::Explain(const ActiveJob& active, JobView& view) const {
  const Hold* hold = rests_.holds().Find(Holds::Job(active.job.id));
  if (hold != nullptr && active.job.wanted == Wanted::kPause) view.hold = *hold;
  if (active.job.wanted == Wanted::kRun) view.waits = rests_.WhyJob(active.job.sequence);
  for (size_t i = 0; i < view.tasks.size(); ++i) {
    Task& task = view.tasks[i];
    if (task.next_attempt != absl::InfinitePast()) task.next_attempt += ahead_;
    if (task.state == TaskState::kWaiting && task.error.ok())
      task.error = WhyWaiting(active, active.tasks[i]);
  }
}

absl::Status Loop::WhyWaiting(const ActiveJob& active, const TaskRow& row) const {
  const NodeEntry* node = nodes().Find(*row.node);
  if (node == nullptr) return NodeUnknown(absl::StatusCode::kUnavailable, *row.node);
  RETURN_IF_ERROR(node->error);
  RETURN_IF_ERROR(rests_.WhyNode(*row.node));
  if (active.Follows(*row.node)) return CanaryFirst();
  RETURN_IF_ERROR(rests_.WhyJob(active.job.sequence));
  const Place place = tries_.PlaceOf(row);
  const FilesystemPauses::Pause* pause =
      paused_filesystems().Find({place.node, place.filesystem}, ledger_.Now());
  return pause == nullptr ? absl::OkStatus() : FilesystemPaused(pause->until + ahead_, pause->why);
}

// Nodes.

absl::Status Loop::SetTargets(const std::string& source, const std::vector<Target>& targets) {
  return nodes_.SetTargets(source, targets, ledger_.Now());
}

void Loop::NodeChanged(const std::string& name) {
  next_publish_ = absl::InfinitePast();
  tries_.NodeChanged(name);
  for (const TaskKey& key : table_.OnNode(name).unexpanded) to_expand_[key.job].insert(key.number);
  if (nodes().Find(name)->state == NodeState::kUp) tries_.HurryStops(name);
}

void Loop::SetNodeWindows(const std::string& node, const std::vector<Window>& windows) {
  rests_.nodes().Set(node, windows, ledger_.Wall());
  RestChanged(node);
}

void Loop::RestChanged(const std::string& node) {
  tries_.NodeChanged(node);
  tries_.HurryStops(node);
}

void Loop::RestsChanged() {
  for (const auto& [name, node] : nodes().nodes()) tries_.NodeChanged(name);
  for (const auto& [sequence, active] : table_.jobs()) tries_.HurryStops(active);
}

// Opens and closes what is due. Tasks that run there are told to stop, those that wait may start.
void Loop::FollowWindows() {
  const absl::Time wall = ledger_.Wall();
  for (const uint64_t sequence : rests_.jobs().Update(wall)) {
    const ActiveJob& active = *table_.Find(sequence);
    tries_.JobChanged(active);
    Log(LogLevel::kInfo, "window of a job changed",
        {{"job", active.job.id}, {"open", rests_.JobIsOpen(sequence) ? "yes" : "no"}});
  }
  for (const std::string& name : rests_.nodes().Update(wall)) {
    RestChanged(name);
    Log(LogLevel::kInfo, "window of a node changed",
        {{"node", name}, {"open", rests_.nodes().IsOpen(name) ? "yes" : "no"}});
  }
  WakeBy(ledger_.Now() + (rests_.wake() - wall));
}

void Loop::LookAtTheClock() {
  const absl::Duration before = ahead_;
  const absl::Duration ahead = ledger_.Ahead();
  if (absl::AbsDuration(ahead - before) < kJump) return;
  ahead_ = ahead;
  Log(LogLevel::kWarning, "the machine's clock was set: windows and schedules follow it",
      {{"by_seconds",
        absl::ToInt64Seconds(absl::Floor(ahead - before + absl::Milliseconds(500), absl::Seconds(1)))}});
}

void Loop::ExpireNodes() {
  const std::vector<std::string> expired = nodes_.Expire(ledger_.Now());
  WakeBy(nodes_.next_expiry());
  if (expired.empty()) return;
  for (size_t i = 0; i < expired.size(); ++i) metrics_.NodeLost();
  const std::set<std::string> lost(expired.begin(), expired.end());
  for (const auto& [sequence, active] : table_.jobs()) {
    if (!active.plan.give_up_lost) continue;
    for (const TaskRow& row : active.tasks) {
      if (lost.count(*row.node) > 0) tries_.MayBeLost({sequence, row.number});
    }
  }
}

// From jobs to tasks.

bool Loop::MayMissNodes(const JobPlan& plan) const {
  return nodes_.Discovers(ledger_.Now()) && !(plan.NamesNodes() && SelectNodes(plan, nodes()).ok());
}

absl::StatusOr<JobView> Loop::CreateJob(std::string spec, JobPlan plan, std::string request_id) {
  absl::StatusOr<JobRecord> before = store_.FindRequest(request_id, spec);
  if (before.ok()) return GetJob(before->job.id);
  if (!absl::IsNotFound(before.status())) return before.status();
  if (MayMissNodes(plan)) return NodesNotKnownYet();
  ASSIGN_OR_RETURN(const std::vector<std::string> names, SelectNodes(plan, nodes()));
  uint64_t most_tasks = 0;
  for (const std::string& name : names) {
    const NodeEntry& node = *nodes().Find(name);
    most_tasks += node.facts ? MostTasks(plan, *node.facts) : 1;
  }
  RETURN_IF_ERROR(CheckRoom(most_tasks, spec.size()));
  JobRecord record =
      NewJob(std::move(spec), plan, names, std::move(request_id), ledger_.Wall(), ledger_.Now(), random_);
  ASSIGN_OR_RETURN(const ActiveJob* active, ledger_.Create(std::move(record), std::move(plan)));
  TakeUp(*active);
  if (!active->unexpanded.empty()) most_tasks_[active->job.sequence] = most_tasks;
  Log(LogLevel::kInfo, "job accepted", {{"job", active->job.id}, {"nodes", uint64_t{active->tasks.size()}}});
  return ledger_.View(*active);
}

absl::Status Loop::CheckRoom(uint64_t most_tasks, uint64_t spec_bytes) const {
  if (table_.jobs().size() >= options_.max_active_jobs) return TooManyJobs(table_.jobs().size());
  uint64_t tasks = table_.tasks();
  for (const auto& [sequence, most] : most_tasks_) {
    tasks += most - std::min<uint64_t>(most, table_.Find(sequence)->tasks.size());
  }
  if (tasks + most_tasks > options_.max_active_tasks) {
    return TooManyTasks(most_tasks, tasks, options_.max_active_tasks);
  }
  if (table_.spec_bytes() + spec_bytes > options_.max_active_spec_bytes) {
    return TooManySpecBytes(spec_bytes, table_.spec_bytes(), options_.max_active_spec_bytes);
  }
  return absl::OkStatus();
}

void Loop::ExpandJobs() {
  if (to_expand_.empty() || StoreRests()) return;
  // By job, as one job's tasks decide together which of them go; of each job some, so that a small one need
  // not wait for a large one.
  std::map<uint64_t, std::vector<Task>> by_job;
  std::vector<TaskKey> keys;
  const size_t share = std::max<size_t>(kMaxBatch / to_expand_.size(), 1);
  for (const auto& [sequence, numbers] : to_expand_) {
    if (keys.size() >= kMaxBatch) break;
    const ActiveJob* active = table_.Find(sequence);
    size_t taken = 0;
    for (auto number = numbers.begin(); number != numbers.end() && taken < share; ++number, ++taken) {
      const TaskKey key{sequence, *number};
      keys.push_back(key);
      const TaskRow* row = table_.Find(key);
      // Of a job that is held, tasks wait until it goes on.
      if (row == nullptr || row->expanded || Ended(row->state)) continue;
      if (active->job.wanted == Wanted::kRun) by_job[sequence].push_back(row->ToTask());
    }
  }
  Batch batch;
  std::vector<TaskKey> changed;
  std::map<uint64_t, std::set<std::string>> canaries_before;
  for (const auto& [sequence, tasks] : by_job) {
    const ActiveJob& active = *table_.Find(sequence);
    Expansion expansion =
        ExpandTasks(active.plan, tasks, active.tasks.size(), active.job.tasks_made, nodes());
    if (expansion.put.empty() && expansion.removed.empty()) continue;
    JobChange& change = batch.Of(active.job);
    change.job.tasks_made = expansion.tasks_made;
    change.put = std::move(expansion.put);
    change.removed = std::move(expansion.removed);
    for (const Task& task : change.put) changed.push_back({sequence, task.number});
    if (!change.removed.empty()) canaries_before[sequence] = active.canary_nodes;
  }
  if (!batch.empty() && !ledger_.Save(batch.Take()).ok()) return WakeBy(ledger_.retry());
  for (const TaskKey& key : keys) {
    const auto left = to_expand_.find(key.job);
    left->second.erase(key.number);
    if (left->second.empty()) to_expand_.erase(left);
  }
  for (const TaskKey& key : changed) tries_.Schedule(key);
  // Where a canary node had nothing to do, another one goes first now, whose tasks were held back so far.
  for (const auto& [sequence, before] : canaries_before) {
    const ActiveJob& active = *table_.Find(sequence);
    if (active.canary_nodes == before) continue;
    for (const TaskRow& row : active.tasks) tries_.Schedule({sequence, row.number});
  }
  if (!to_expand_.empty()) WakeBy(ledger_.Now());
}

// Ends tasks that are not open: of a job that is cancelled, or those that were to follow a canary.
void Loop::Sweep(uint64_t sequence) {
  if (StoreRests()) return;
  const uint32_t from = sweeps_.at(sequence);
  const ActiveJob* active = table_.Find(sequence);
  const bool cancelled = active->job.wanted == Wanted::kCancel;
  Batch batch;
  std::vector<TaskKey> changed;
  uint32_t next = from;
  for (auto row = active->From(from); row != active->tasks.end() && changed.size() < kMaxBatch; ++row) {
    next = row->number + 1;
    if (Ended(row->state) || row->open) continue;
    if (!cancelled && active->canary_nodes.count(*row->node) > 0) continue;
    Task task = row->ToTask();
    task.state = cancelled ? TaskState::kCancelled : TaskState::kFailed;
    if (!cancelled) task.error = CanaryFailed(active->canary.in(TaskState::kFailed));
    task.next_attempt = absl::InfinitePast();
    batch.Of(active->job).put.push_back(std::move(task));
    changed.push_back({sequence, row->number});
  }
  if (!batch.empty() && !ledger_.Save(batch.Take()).ok()) return WakeBy(ledger_.retry());
  for (const TaskKey& key : changed) tries_.Schedule(key);
  if (changed.size() == kMaxBatch) {
    sweeps_[sequence] = next;
  } else {
    sweeps_.erase(sequence);
  }
  if (!sweeps_.empty()) WakeBy(ledger_.Now());
}

// Calls.

absl::StatusOr<JobView> Loop::GetJob(const std::string& id) { return ledger_.Get(id); }

absl::StatusOr<std::vector<JobRecord>> Loop::ListJobs(const std::vector<JobState>& states, uint64_t before,
                                                      size_t limit) {
  return store_.List(states, before, limit);
}

absl::StatusOr<JobView> Loop::SetWanted(const std::string& id, Wanted wanted) {
  const ActiveJob* active = table_.Find(id);
  if (active == nullptr || Ended(active->job.state)) {
    ASSIGN_OR_RETURN(JobView view, GetJob(id));
    if (wanted != Wanted::kCancel) return JobEnded();
    return view;
  }
  const Wanted before = active->job.wanted;
  if (before == wanted) return ledger_.View(*active);
  if (before == Wanted::kCancel) return JobEnded();
  JobChange change;
  change.job = active->job;
  change.job.wanted = wanted;
  RETURN_IF_ERROR(ledger_.Save({std::move(change)}));
  const uint64_t sequence = active->job.sequence;
  tries_.JobChanged(*active);
  if (!active->unexpanded.empty()) to_expand_[sequence] = active->unexpanded;
  Log(LogLevel::kInfo, "job changed", {{"job", id}, {"wanted", WantedName(wanted)}});
  if (wanted == Wanted::kCancel) {
    // What is left of it follows; from here on the cancel cannot be lost.
    sweeps_[sequence] = 0;
    Sweep(sequence);
  }
  return ledger_.View(*active);
}

absl::StatusOr<JobView> Loop::CancelJob(const std::string& id) { return SetWanted(id, Wanted::kCancel); }

absl::StatusOr<JobView> Loop::PauseJob(const std::string& id, Hold hold) {
  const ActiveJob* active = table_.Find(id);
  // Who paused it first did.
  if (active == nullptr || active->job.wanted != Wanted::kRun) return SetWanted(id, Wanted::kPause);
  hold.kind = Hold::Kind::kPause;
  RETURN_IF_ERROR(rests_.Hold(Holds::Job(id), std::move(hold), ledger_.Wall()));
  absl::StatusOr<JobView> paused = SetWanted(id, Wanted::kPause);
  if (!paused.ok()) LiftJobHold(id);
  return paused;
}

absl::StatusOr<JobView> Loop::ResumeJob(const std::string& id) {
  ASSIGN_OR_RETURN(JobView resumed, SetWanted(id, Wanted::kRun));
  LiftJobHold(id);
  resumed.hold.reset();
  return resumed;
}

// The job says by itself whether it is paused: what stays behind does no harm, and goes when the controller
// starts.
void Loop::LiftJobHold(const std::string& id) {
  if (absl::Status status = rests_.Lift(Holds::Job(id)); !status.ok()) {
    Log(LogLevel::kWarning, "hold of a job that is not paused", {{"job", id}, {"error", status}});
  }
}

absl::Status Loop::HoldNode(const std::string& name, Hold hold) {
  if (nodes().Find(name) == nullptr) return NodeUnknown(absl::StatusCode::kNotFound, name);
  RETURN_IF_ERROR(rests_.Hold(Holds::Node(name), std::move(hold), ledger_.Wall()));
  RestChanged(name);
  return absl::OkStatus();
}

absl::Status Loop::ResumeNode(const std::string& name) {
  RETURN_IF_ERROR(rests_.Lift(Holds::Node(name)));
  RestChanged(name);
  return absl::OkStatus();
}

absl::Status Loop::HoldCluster(Hold hold) {
  RETURN_IF_ERROR(rests_.Hold(Holds::Cluster(), std::move(hold), ledger_.Wall()));
  RestsChanged();
  return absl::OkStatus();
}

absl::Status Loop::ResumeCluster() {
  RETURN_IF_ERROR(rests_.Lift(Holds::Cluster()));
  RestsChanged();
  return absl::OkStatus();
}

absl::Status Loop::DeleteJob(const std::string& id) {
  // Its watchers see the end first.
  Notify();
  return ledger_.Delete(id);
}

absl::StatusOr<uint64_t> Loop::WatchJob(const std::string& id, Watcher watcher) {
  return ledger_.Watch(id, std::move(watcher));
}

void Loop::Notify() {
  for (const uint64_t sequence : ledger_.Tell()) {
    LiftJobHold(table_.Find(sequence)->job.id);
    tries_.RemoveJob(sequence);
    rests_.jobs().Remove(sequence);
    canaries_.erase(sequence);
    sweeps_.erase(sequence);
    ledger_.LetGo(sequence);
  }
  WakeBy(ledger_.wake());
}

void Loop::Publish() {
  const absl::Time now = ledger_.Now();
  if (ledger_.TakeMoved()) next_publish_ = absl::InfinitePast();
  if (next_publish_ > now) return table_.jobs().empty() ? void() : WakeBy(next_publish_);
  next_publish_ = now + kPublishEvery;
  if (!table_.jobs().empty()) WakeBy(next_publish_);
  ledger_.Publish();
  metrics_.SetPausedFilesystems(paused_filesystems().count(now));
  std::map<std::pair<std::string, std::string>, uint64_t> holds;
  for (const auto& [name, hold] : rests_.holds().all()) {
    ++holds[{name.substr(0, name.find('/')), std::string(HoldName(hold.kind))}];
  }
  metrics_.SetHolds(holds);
  if (const auto counts = nodes_.TakeCounts()) {
    metrics_.SetNodes(*counts);
    metrics_.SetFencedNodes(nodes_.CountAside());
  }
}

}  // namespace cowherd
