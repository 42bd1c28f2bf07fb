#include "server/sched/tries.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/batch.h"
#include "server/sched/reasons.h"

namespace cowherd {
namespace {

constexpr absl::Duration kStopEvery = absl::Seconds(2);
// The order to run is still on its way to the node.
constexpr absl::Duration kStopAgain = absl::Milliseconds(200);
constexpr size_t kMaxJobsNotActive = 10'000;

std::vector<TaskKey> FirstOf(const std::set<TaskKey>& keys) {
  const size_t count = std::min(keys.size(), kMaxBatch);
  return {keys.begin(), std::next(keys.begin(), static_cast<ptrdiff_t>(count))};
}

}  // namespace

Tries::Tries(Ledger& ledger, NodeWatch& nodes, const Rests& rests, NodeLink& link,
             std::shared_ptr<Mailbox> mailbox, ControllerMetrics& metrics, absl::BitGenRef random,
             Options options)
    : ledger_(ledger),
      table_(ledger.table()),
      nodes_(nodes),
      rests_(rests),
      link_(link),
      mailbox_(std::move(mailbox)),
      metrics_(metrics),
      random_(random),
      options_(options),
      scheduler_(options.limits),
      runs_(link, mailbox_, [this](TaskKey key) { stops_.NewRun(key); }) {}

void Tries::WakeBy(absl::Time when) { wake_ = std::min(wake_, when); }

absl::Time Tries::TakeWake() { return std::exchange(wake_, absl::InfiniteFuture()); }

bool Tries::StoreRests() {
  if (ledger_.retry() <= ledger_.Now()) return false;
  WakeBy(ledger_.retry());
  return true;
}

// What the scheduler knows.

void Tries::AddJob(const ActiveJob& active) {
  const uint64_t job = active.job.sequence;
  scheduler_.AddJob(job, active.plan.priority);
  scheduler_.SetHeld(job, Held(active));
  for (const TaskRow& row : active.tasks) {
    const TaskKey key{job, row.number};
    Schedule(key);
    if (active.plan.give_up_lost) MayBeLost(key);
  }
  HurryStops(active);
}

void Tries::JobChanged(const ActiveJob& active) {
  scheduler_.SetHeld(active.job.sequence, Held(active));
  HurryStops(active);
}

bool Tries::Held(const ActiveJob& active) const {
  return active.job.wanted != Wanted::kRun || !rests_.JobIsOpen(active.job.sequence);
}

Place Tries::PlaceOf(const TaskRow& row) const {
  Place place;
  place.node = *row.node;
  const NodeEntry* node = nodes_.nodes().Find(*row.node);
  if (node == nullptr || !node->facts || row.root->empty()) return place;
  for (const RootFacts& root : node->facts->roots) {
    if (root.name == *row.root) place.filesystem = root.uuid;
  }
  return place;
}

void Tries::Schedule(TaskKey key) {
  const ActiveJob& active = *table_.Find(key.job);
  const TaskRow* row = table_.Find(key);
  if (row != nullptr && row->open && runs_.HasStream(key)) return;
  if (row == nullptr || Ended(row->state) || !row->expanded || (!row->open && active.Follows(*row->node))) {
    return scheduler_.Remove(key);
  }
  const NodeEntry* node = nodes_.nodes().Find(*row->node);
  if (node == nullptr || !node->facts) unplaced_[*row->node].insert(key);
  if (row->open) {
    scheduler_.Attach(key, PlaceOf(*row), row->next_attempt);
  } else {
    scheduler_.Queue(key, PlaceOf(*row), row->next_attempt);
  }
}

void Tries::NodeChanged(const std::string& name) {
  const NodeEntry* node = nodes_.nodes().Find(name);
  scheduler_.SetGate(name, rests_.GateOf(name, node));
  const auto unplaced = unplaced_.find(name);
  if (unplaced == unplaced_.end() || node == nullptr || !node->facts) return;
  const std::set<TaskKey> keys = std::move(unplaced->second);
  unplaced_.erase(unplaced);
  for (const TaskKey& key : keys) {
    if (table_.Find(key.job) != nullptr) Schedule(key);
  }
}

// From tasks to nodes.

void Tries::Dispatch() {
  const absl::Time now = ledger_.Now();
  if (!MayOrder() || StoreRests()) return;
  const std::vector<Scheduler::Start> starts = scheduler_.Next(now, kMaxBatch);
  Batch batch;
  std::set<TaskKey> first;
  for (const Scheduler::Start& start : starts) {
    const TaskRow& row = *table_.Find(start.task);
    // Found running at the start: as stored.
    if (row.state == TaskState::kRunning) continue;
    Task task = row.ToTask();
    if (!task.open) {
      ++task.attempt;
      const NodeEntry& node = *nodes_.nodes().Find(task.node);
      task.node_started = node.facts ? node.facts->started : absl::InfinitePast();
      first.insert(start.task);
    }
    task.open = true;
    task.state = TaskState::kRunning;
    task.next_attempt = absl::InfinitePast();
    task.error = absl::OkStatus();
    batch.Of(table_.Find(start.task.job)->job).put.push_back(std::move(task));
  }
  if (!batch.empty() && !ledger_.Save(batch.Take()).ok()) {
    for (const Scheduler::Start& start : starts) Schedule(start.task);
    return WakeBy(ledger_.retry());
  }
  for (const Scheduler::Start& start : starts) {
    StartStream(start.task, start.bytes_per_second, first.count(start.task) > 0);
  }
  WakeBy(starts.size() == kMaxBatch ? now : scheduler_.wake());
}

void Tries::StartStream(TaskKey key, uint64_t bytes_per_second, bool first) {
  const ActiveJob& active = *table_.Find(key.job);
  const TaskRow& row = *table_.Find(key);
  RunOrder order;
  order.task_id = TaskId(active.job, row.number);
  order.job_id = active.job.id;
  order.attempt = row.attempt;
  order.epoch = epoch_;
  order.spec = active.spec;
  order.node = *row.node;
  order.root = *row.root;
  if (row.paths != nullptr) order.paths = *row.paths;
  order.bytes_per_second = bytes_per_second;
  order.work_for = rests_.OpenFor(key.job, *row.node, ledger_.Wall());
  Log(LogLevel::kInfo, "task dispatched",
      {{"job", active.job.id},
       {"task", order.task_id},
       {"node", order.node},
       {"root", order.root},
       {"attempt", order.attempt}});
  runs_.Start(key, nodes_.nodes().Find(order.node)->endpoint, order,
              row.counted != nullptr ? row.counted->run_id : std::string(), first, ledger_.Now());
}

// What comes of them.

void Tries::StoreNews() {
  if (StoreRests()) return;
  std::vector<TaskKey> keys = runs_.Ended(kMaxBatch);
  const std::vector<TaskKey> due = runs_.Due(ledger_.Now(), kMaxBatch);
  keys.insert(keys.end(), due.begin(), due.end());
  Store(keys);
}

void Tries::Stop() { Store(runs_.WithNews()); }

void Tries::Store(const std::vector<TaskKey>& keys) {
  const absl::Time now = ledger_.Now();
  Batch batch;
  std::vector<std::pair<TaskKey, Ending>> endings;
  for (const TaskKey& key : keys) {
    const ActiveJob& active = *table_.Find(key.job);
    Task task = active.Row(key.number).ToTask();
    Outcome outcome =
        TakeNews(task, runs_.NewsOf(key), active.plan.StartsOver(), ContextOf(active, key), random_);
    JobChange& change = batch.Of(active.job);
    change.put.push_back(std::move(task));
    if (!outcome.results.empty()) change.results[key.number] = std::move(outcome.results);
    if (outcome.ending) endings.emplace_back(key, *std::move(outcome.ending));
  }
  if (!batch.empty() && !ledger_.Save(batch.Take()).ok()) return WakeBy(ledger_.retry());
  for (const TaskKey& key : keys) runs_.Stored(key, now);
  for (const auto& [key, ending] : endings) EndTry(key, ending);
  WakeBy(runs_.wake());
}

TryContext Tries::ContextOf(const ActiveJob& active, TaskKey key) const {
  TryContext context;
  context.now = ledger_.Now();
  context.cancelled = active.job.wanted == Wanted::kCancel;
  context.asked = stops_.in_flight(key) || stops_.taken(key) || MustStop(active, active.Row(key.number));
  context.losses = runs_.Losses(key) + 1;
  context.max_failures = options_.max_failures;
  return context;
}

// The end of a try is stored.
void Tries::EndTry(TaskKey key, const Ending& ending) {
  const ActiveJob& active = *table_.Find(key.job);
  const TaskRow& row = *table_.Find(key);
  Log(row.error.ok() ? LogLevel::kInfo : LogLevel::kWarning, "task ended its try",
      {{"job", active.job.id},
       {"task", TaskId(active.job, key.number)},
       {"node", *row.node},
       {"state", TaskStateName(row.state)},
       {"attempt", row.attempt},
       {"error", row.error}});
  if (row.state == TaskState::kWaiting && !ending.asked) {
    metrics_.TaskRetried(RetryReason(*ending.verdict, ending.why));
  }
  const Place place = PlaceOf(row);
  if (!ending.verdict && pauses_.Worked({place.node, place.filesystem})) {
    scheduler_.PauseFilesystem(place.node, place.filesystem, absl::InfinitePast());
  }
  if (ending.verdict == Verdict::kFenced) SetAside(*row.node, ending.why);
  if (ending.verdict == Verdict::kLost) nodes_.Hurry(*row.node);
  if (ending.verdict == Verdict::kFilesystem && !place.filesystem.empty()) {
    const absl::Time until =
        pauses_.Failed({place.node, place.filesystem}, ending.why, ledger_.Now(), random_);
    scheduler_.PauseFilesystem(place.node, place.filesystem, until);
    Log(LogLevel::kWarning, "filesystem paused",
        {{"node", place.node},
         {"root", *row.root},
         {"filesystem", place.filesystem},
         {"until", absl::FormatTime(until + ledger_.Ahead(), absl::UTCTimeZone())},
         {"error", ending.why}});
  }
  if (row.open) {
    runs_.CountLoss(key);
    if (active.plan.give_up_lost) MayBeLost(key);
  } else {
    ForgetRun(key);
  }
  Schedule(key);
}

void Tries::ForgetRun(TaskKey key) {
  runs_.Close(key);
  stops_.Forget(key);
  gone_.erase(key);
  crashed_.erase(key);
}

void Tries::WorkOff(std::set<TaskKey>& keys, absl::FunctionRef<bool(TaskKey, const ActiveJob&, Task&)> change,
                    absl::FunctionRef<void(const ActiveJob&, const TaskRow&)> stored) {
  if (keys.empty() || StoreRests()) return;
  Batch batch;
  std::vector<TaskKey> changed;
  const std::vector<TaskKey> looked_at = FirstOf(keys);
  for (const TaskKey& key : looked_at) {
    const TaskRow* row = table_.Find(key);
    if (row == nullptr || Ended(row->state) || runs_.HasStream(key) || runs_.HasEnd(key)) continue;
    const ActiveJob& active = *table_.Find(key.job);
    Task task = row->ToTask();
    if (!change(key, active, task)) continue;
    batch.Of(active.job).put.push_back(std::move(task));
    changed.push_back(key);
  }
  if (!batch.empty() && !ledger_.Save(batch.Take()).ok()) return WakeBy(ledger_.retry());
  for (const TaskKey& key : looked_at) keys.erase(key);
  for (const TaskKey& key : changed) {
    const TaskRow& row = *table_.Find(key);
    stored(*table_.Find(key.job), row);
    if (!row.open) ForgetRun(key);
    Schedule(key);
  }
  if (!keys.empty()) WakeBy(ledger_.Now());
}

// The run may be of the node as it is now while there is a stream: if it is not, the stream will end, and the
// node is asked anew.
RestartVerdict Tries::RestartOf(const TaskRow& row, TaskKey key) const {
  const NodeEntry* node = nodes_.nodes().Find(*row.node);
  if (node == nullptr || node->state != NodeState::kUp || !node->facts) return RestartVerdict::kSame;
  if (!row.open || runs_.HasStream(key)) return RestartVerdict::kSame;
  const absl::Time heard = runs_.NodeStarted(key);
  const LastHeard last{heard != absl::InfinitePast() ? heard : row.node_started, runs_.Unheard(key),
                       runs_.Excused(key)};
  return JudgeRestart(last, node->facts->started);
}

void Tries::NodeAnswered(const std::string& node) {
  for (const TaskKey& key : table_.OnNode(node).open) {
    if (RestartOf(*table_.Find(key), key) != RestartVerdict::kSame) crashed_.insert(key);
  }
  StopStrays(*nodes_.nodes().Find(node));
}

// A task that waits and may run is none: when its turn comes it is given to the node, which goes on with the
// run. So no stop can meet the next try of a task, unless the job is resumed in the same moment.
bool Tries::IsStray(const std::string& task_id) {
  const size_t dash = task_id.rfind('-');
  uint32_t number = 0;
  // Made by nobody who makes jobs.
  if (dash == std::string::npos || !absl::SimpleAtoi(task_id.substr(dash + 1), &number)) return false;
  const std::string job = task_id.substr(0, dash);
  const ActiveJob* active = table_.Find(job);
  if (active == nullptr) return HasEnded(job);
  const TaskRow* row = table_.Find(TaskKey{active->job.sequence, number});
  return row == nullptr || Ended(row->state) || (!row->open && MustStop(*active, *row));
}

// What another controller began, or this one with another store, is not ours to stop.
bool Tries::HasEnded(const std::string& job) {
  if (const auto known = not_active_.find(job); known != not_active_.end()) return known->second;
  const absl::StatusOr<JobView> found = ledger_.Get(job);
  const bool unknown = absl::IsNotFound(found.status());
  if (unknown) {
    Log(LogLevel::kWarning, "a node runs a task of a job that the store does not have; it goes on",
        {{"job", job}});
  } else if (!found.ok()) {
    LogFew(LogLevel::kWarning, "cannot read the job of a task that a node runs; asked again when it answers",
           {{"job", job}, {"error", found.status()}});
  }
  const bool ended = found.ok() && Ended(found->job.state);
  if (unknown || ended) {
    if (not_active_.size() >= kMaxJobsNotActive) not_active_.clear();
    not_active_.emplace(job, ended);
  }
  return ended;
}

void Tries::StopStrays(const NodeEntry& node) {
  if (node.state != NodeState::kUp || !MayOrder()) return;
  size_t stops = 0;
  for (const std::string& task_id : node.facts->controlled_tasks) {
    if (!IsStray(task_id)) continue;
    if (++stops > kMaxBatch) return;
    Log(LogLevel::kWarning, "node runs a task that is over; stopping it",
        {{"task", task_id}, {"node", node.name}});
    link_.CancelTask(
        node.endpoint, task_id, epoch_, [this, mailbox = mailbox_, name = node.name](absl::Status status) {
          if (ReasonOf(status) != "STALE_EPOCH") return;
          mailbox->PostNews([this, name, status = std::move(status)] { SetAside(name, status); });
        });
  }
}

void Tries::CountCrashes() {
  const auto change = [this](TaskKey key, const ActiveJob& active, Task& task) {
    switch (RestartOf(*table_.Find(key), key)) {
      case RestartVerdict::kSame:
        return false;
      case RestartVerdict::kExcused:
        task.node_started = nodes_.nodes().Find(task.node)->facts->started;
        return true;
      case RestartVerdict::kCrashed:
        break;
    }
    CountProgress(task, runs_.NewsOf(key), active.plan.StartsOver());
    CrashTry(task, ContextOf(active, key), random_);
    return true;
  };
  WorkOff(crashed_, change, [this](const ActiveJob& active, const TaskRow& row) {
    if (row.open) return runs_.Excuse({active.job.sequence, row.number});
    Log(LogLevel::kWarning, "node came down under a task",
        {{"task", TaskId(active.job, row.number)},
         {"node", *row.node},
         {"state", TaskStateName(row.state)},
         {"times", row.crashes}});
  });
}

// A task with a stream is heard of all the same.
void Tries::GiveUpLost() {
  const auto change = [this](TaskKey, const ActiveJob& active, Task& task) {
    const NodeEntry* node = nodes_.nodes().Find(task.node);
    if (active.job.wanted == Wanted::kCancel || (node != nullptr && node->state != NodeState::kLost)) {
      return false;
    }
    GiveUpTask(task, node != nullptr ? node->error : NodeUnknown(absl::StatusCode::kUnavailable, task.node));
    return true;
  };
  WorkOff(perhaps_lost_, change, [this](const ActiveJob&, const TaskRow&) { metrics_.TaskGivenUp(); });
}

// Stopping.

bool Tries::MustStop(const ActiveJob& active, const TaskRow& row) const {
  return Held(active) || !rests_.MayRun(*row.node);
}

void Tries::HurryStops(const ActiveJob& active) {
  for (uint32_t number : active.open) stops_.Hurry({active.job.sequence, number});
}

void Tries::HurryStops(const std::string& node) {
  for (const TaskKey& key : table_.OnNode(node).open) stops_.Hurry(key);
}

void Tries::SendStops() {
  const absl::Time now = ledger_.Now();
  if (!MayOrder()) return;
  Batch batch;
  std::vector<TaskKey> attached;
  for (const TaskKey& key : stops_.Due(now)) {
    const TaskRow* row = table_.Find(key);
    if (row == nullptr || !row->open || !MustStop(*table_.Find(key.job), *row)) {
      stops_.Rest(key);
      continue;
    }
    stops_.Later(key, now + kStopEvery);
    const NodeEntry* node = nodes_.nodes().Find(*row->node);
    switch (stops_.NextStep(key, node, runs_.HasStream(key), runs_.HasEnd(key))) {
      case Stops::Step::kWait:
        break;
      case Stops::Step::kGone:
        gone_.insert(key);
        break;
      case Stops::Step::kAttach: {
        Task task = row->ToTask();
        task.state = TaskState::kRunning;
        batch.Of(table_.Find(key.job)->job).put.push_back(std::move(task));
        attached.push_back(key);
        break;
      }
      case Stops::Step::kSend:
        SendStop(key, *node);
        break;
    }
  }
  if (!batch.empty() && ledger_.Save(batch.Take()).ok()) {
    for (const TaskKey& key : attached) {
      scheduler_.Run(key);
      StartStream(key, 0, /*first=*/false);
    }
  }
  WakeBy(stops_.wake());
}

void Tries::SendStop(TaskKey key, const NodeEntry& node) {
  stops_.Sent(key, ledger_.Now() + kStopEvery);
  link_.CancelTask(
      node.endpoint, TaskId(table_.Find(key.job)->job, key.number), epoch_,
      [this, mailbox = mailbox_, key](absl::Status status) {
        mailbox->PostNews([this, key, status = std::move(status)] { StopAnswered(key, status); });
      });
}

void Tries::StopAnswered(TaskKey key, const absl::Status& status) {
  // Else the task ended meanwhile.
  if (!stops_.in_flight(key)) return;
  if (status.ok()) {
    stops_.Taken(key);
    // Without a stream the last figures are asked for at once.
    if (!runs_.HasStream(key)) stops_.Hurry(key);
    return;
  }
  stops_.NotTaken(key);
  const TaskRow& row = *table_.Find(key);
  if (ReasonOf(status) == "STALE_EPOCH") {
    // Whoever leads the node now has the run.
    SetAside(*row.node, status);
    gone_.insert(key);
    return;
  }
  if (!absl::IsNotFound(status)) {
    Log(LogLevel::kWarning, "cancel failed; repeating",
        {{"task", TaskId(table_.Find(key.job)->job, key.number)}, {"error", status}});
    return;
  }
  if (runs_.HasStream(key)) return stops_.Later(key, ledger_.Now() + kStopAgain);
  gone_.insert(key);
}

// Of tasks that are to stop, those that no node will tell more of.
void Tries::CloseGone() {
  const auto change = [this](TaskKey key, const ActiveJob& active, Task& task) {
    if (!task.open) return false;
    const NodeEntry* node = nodes_.nodes().Find(task.node);
    absl::Status why;
    if (node == nullptr) {
      why = NodeUnknown(absl::StatusCode::kUnavailable, task.node);
    } else if (node->state == NodeState::kLost || node->set_aside) {
      why = node->error;
    }
    CloseTry(task, why, ContextOf(active, key));
    return true;
  };
  WorkOff(gone_, change, [](const ActiveJob&, const TaskRow&) {});
}

// Only this node is given nothing more; the others go on. That is safe, as no controller can have followed
// this one while it holds what makes it the leader: the lock of the SQLite file, or its key in etcd, whose
// lease it believes in a second less than etcd does. Once it does not, no orders are given at all (MayOrder),
// and the store takes nothing more. Nor does it hang on that: each node refuses by itself those whom another
// followed. So the higher epoch is of another installation that has the node too, or of a store that was put
// back.
void Tries::SetAside(const std::string& node, const absl::Status& why) {
  if (!MayOrder()) return;
  Log(LogLevel::kError, "node obeys a controller of a higher epoch: it is set aside",
      {{"node", node}, {"epoch", epoch_}, {"error", why}});
  nodes_.SetAside(node, why);
}

}  // namespace cowherd
