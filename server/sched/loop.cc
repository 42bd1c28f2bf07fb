#include "server/sched/loop.h"

#include <algorithm>
#include <utility>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/backoff.h"
#include "server/sched/canary.h"
#include "server/sched/expansion.h"

namespace cowherd {
namespace {

constexpr absl::Duration kNoticeEvery = absl::Milliseconds(200);
// To show a job costs time for each of its tasks.
constexpr absl::Duration kNoticePerTask = absl::Microseconds(50);
constexpr absl::Duration kPublishEvery = absl::Seconds(1);
constexpr absl::Duration kCancelEvery = absl::Seconds(2);
// The order to run is still on its way to the node.
constexpr absl::Duration kCancelAgain = absl::Milliseconds(200);
constexpr absl::Duration kStoreRetry = absl::Seconds(1);
// Tasks that one write of the store changes at most: with SQLite some 10 ms.
constexpr size_t kMaxBatch = 256;
// Of records of the store.
constexpr char kHoldKind[] = "hold";

absl::Status StaleEpoch() {
  return MakeError(absl::StatusCode::kFailedPrecondition, "STALE_EPOCH",
                   "another controller rules the nodes; stop one of the two");
}

absl::Status NodeUnknown(const std::string& name) {
  return MakeError(absl::StatusCode::kUnavailable, "NODE_UNKNOWN",
                   absl::StrCat("the node \"", name, "\" is not known now"));
}

absl::Status JobEnded() {
  return MakeError(absl::StatusCode::kFailedPrecondition, "JOB_ENDED",
                   "the job has ended or is being cancelled; make a new one");
}

absl::Status WindowClosed(const WindowState& state) {
  return MakeError(absl::StatusCode::kUnavailable, "WINDOW_CLOSED",
                   absl::StrCat("waits for a maintenance window, which opens at ",
                                absl::FormatTime(absl::RFC3339_sec, state.until, absl::UTCTimeZone())));
}

absl::Status CanaryFailed(const ActiveJob& active) {
  return MakeError(absl::StatusCode::kAborted, "CANARY_FAILED",
                   absl::StrCat("not started: ", active.canary.in(TaskState::kFailed),
                                " tasks of the nodes that went first have failed; look at them"));
}

std::vector<TaskKey> FirstOf(const std::set<TaskKey>& keys) {
  const size_t count = std::min(keys.size(), kMaxBatch);
  return {keys.begin(), std::next(keys.begin(), static_cast<ptrdiff_t>(count))};
}

}  // namespace

Loop::Loop(JobStore& store, NodeLink& link, const Clock& clock, std::shared_ptr<Mailbox> mailbox,
           ControllerMetrics& metrics, PlanReader read_plan, absl::BitGenRef random, Options options)
    : store_(store),
      link_(link),
      clock_(clock),
      mailbox_(std::move(mailbox)),
      metrics_(metrics),
      read_plan_(std::move(read_plan)),
      random_(random),
      options_(options),
      nodes_(options.lost_after),
      scheduler_(options.limits),
      runs_(link, mailbox_, [this](TaskKey key) { stops_.NewRun(key); }) {}

// As exact as the store keeps it.
absl::Time Loop::Now() const { return absl::FromUnixMicros(absl::ToUnixMicros(clock_.Now())); }

void Loop::WakeBy(absl::Time when) { wake_ = std::min(wake_, when); }

bool Loop::StoreRests(absl::Time now) {
  if (store_retry_ <= now) return false;
  WakeBy(store_retry_);
  return true;
}

absl::Status Loop::Recover() {
  ASSIGN_OR_RETURN(epoch_, store_.RaiseEpoch(static_cast<uint64_t>(absl::ToUnixSeconds(Now()))));
  ASSIGN_OR_RETURN(counts_, store_.CountByState());
  ASSIGN_OR_RETURN(const auto holds, store_.LoadRecords(kHoldKind));
  for (const auto& [name, value] : holds) {
    ASSIGN_OR_RETURN(Hold hold, ParseHold(name, value));
    holds_.Set(name, std::move(hold));
  }
  ASSIGN_OR_RETURN(std::vector<JobRecord> records, store_.LoadActive());
  for (JobRecord& record : records) {
    ASSIGN_OR_RETURN(JobPlan plan, read_plan_(record.spec));
    for (Task& task : record.tasks) {
      if (!Ended(task.state)) nodes_.Expect(task.node, Now());
      // The machine's clock may have been set back since.
      task.next_attempt = std::min(task.next_attempt, Now() + kBackoffCeiling);
    }
    TakeUp(std::move(record), std::move(plan));
    record = JobRecord();
  }
  for (const auto& [name, value] : holds) {
    const absl::string_view id = absl::StripPrefix(name, Holds::Job(""));
    if (id == name) continue;
    const ActiveJob* active = table_.Find(std::string(id));
    if (active == nullptr || active->job.wanted != Wanted::kPause) RETURN_IF_ERROR(LiftHold(name));
  }
  Log(LogLevel::kInfo, "store opened", {{"epoch", epoch_}, {"active_jobs", uint64_t{records.size()}}});
  return absl::OkStatus();
}

void Loop::RunPosted() {
  for (Mailbox::Work& work : mailbox_->Take()) work();
}

absl::Time Loop::Step() {
  RunPosted();
  wake_ = Now() + options_.probe_interval;
  Probe();
  ExpireNodes();
  FollowWindows();
  StoreNews(/*all=*/false);
  CountCrashes();
  ExpandJobs();
  if (!sweeps_.empty()) Sweep(sweeps_.begin()->first);
  GiveUpLost();
  SendCancels();
  CloseGone();
  Dispatch();
  Notify();
  Publish();
  return wake_;
}

void Loop::Stop() {
  RunPosted();
  StoreNews(/*all=*/true);
  watches_.Close();
  runs_.DropAll();
}

absl::StatusOr<JobRecord> Loop::View(const ActiveJob& active) {
  JobRecord view = active.Record();
  // They may be large: not for each step of a job that runs.
  if (Ended(active.job.state)) {
    ASSIGN_OR_RETURN(view.results, store_.Results(view.job.id));
    return view;
  }
  for (size_t i = 0; i < view.tasks.size(); ++i) {
    Task& task = view.tasks[i];
    if (task.state != TaskState::kWaiting) continue;
    absl::Status why = WhyWaiting(active, active.tasks[i]);
    if (!why.ok()) task.error = std::move(why);
  }
  return view;
}

absl::Status Loop::WhyWaiting(const ActiveJob& active, const TaskRow& row) const {
  const NodeEntry* node = nodes_.Find(*row.node);
  if (!row.error.ok()) return absl::OkStatus();
  if (node == nullptr) return NodeUnknown(*row.node);
  if (!node->error.ok()) return node->error;
  if (const Hold* hold = holds_.OfNode(*row.node); hold != nullptr) {
    return MakeError(absl::StatusCode::kUnavailable, "HELD",
                     absl::StrCat(holds_.Find(Holds::Node(*row.node)) == hold ? "its node" : "the cluster",
                                  hold->kind == Hold::Kind::kPause ? " is paused" : " is drained",
                                  hold->by.empty() ? "" : " by ", hold->by, hold->reason.empty() ? "" : ": ",
                                  hold->reason));
  }
  if (canaries_.count(active.job.sequence) > 0 && active.canary_nodes.count(*row.node) == 0) {
    return MakeError(absl::StatusCode::kUnavailable, "CANARY_FIRST", "waits for the nodes that go first");
  }
  for (const WindowState& state :
       {job_openings_.StateOf(active.job.sequence), node_openings_.StateOf(*row.node)}) {
    if (!state.open) return WindowClosed(state);
  }
  const Place place = PlaceOf(active, row);
  const FilesystemPauses::Pause* pause = pauses_.Find({place.node, place.filesystem}, Now());
  if (pause == nullptr) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kUnavailable, "FILESYSTEM_PAUSED",
      absl::StrCat("the filesystem is left alone until ", absl::FormatTime(pause->until, absl::UTCTimeZone()),
                   ": ", pause->why.message()));
}

absl::Status Loop::Save(std::vector<JobChange> changes) {
  const absl::Time now = Now();
  for (JobChange& change : changes) RETURN_IF_ERROR(table_.Complete(change, now));
  if (absl::Status status = store_.Write(changes); !status.ok()) {
    Log(LogLevel::kError, "store write failed", {{"error", status}});
    store_retry_ = now + kStoreRetry;
    return status;
  }
  for (JobChange& change : changes) {
    const ActiveJob& active = *table_.Find(change.job.sequence);
    const JobState before = active.job.state;
    metrics_.CountProgress(active.job.totals, change.job.totals);
    table_.Apply(std::move(change));
    const Job& job = active.job;
    FollowCanary(active);
    if (watches_.Watched(job.sequence))
      watches_.Changed(job.sequence, std::max(kNoticeEvery, kNoticePerTask * active.tasks.size()));
    if (before == job.state) continue;
    --counts_[before];
    ++counts_[job.state];
    next_publish_ = absl::InfinitePast();
    if (!Ended(job.state)) continue;
    watches_.Ended(job.sequence);
    metrics_.JobFinished(job.state, job.ended - job.created);
    job_ended_(job);
    Log(LogLevel::kInfo, "job ended",
        {{"job", job.id},
         {"state", JobStateName(job.state)},
         {"bytes_scanned", job.totals.bytes_scanned},
         {"bytes_accepted", job.totals.bytes_accepted},
         {"bytes_won", job.totals.bytes_won}});
  }
  return absl::OkStatus();
}

void Loop::TakeUp(JobRecord record, JobPlan plan) {
  const ActiveJob& active = table_.Add(std::move(record), std::move(plan));
  const uint64_t sequence = active.job.sequence;
  scheduler_.AddJob(sequence, active.plan.priority);
  job_openings_.Set(sequence, active.plan.windows, Now());
  scheduler_.SetHeld(sequence, Held(active));
  if (active.plan.canary.nodes > 0) canaries_.insert(sequence);
  for (const TaskRow& row : active.tasks) {
    const TaskKey key{sequence, row.number};
    Schedule(key);
    if (!row.expanded) to_expand_[sequence].insert(row.number);
    if (active.plan.give_up_lost) perhaps_lost_.insert(key);
    if (row.open) stops_.Hurry(key);
  }
  if (active.job.wanted == Wanted::kCancel) sweeps_[sequence] = 0;
  FollowCanary(active);
}

void Loop::FollowCanary(const ActiveJob& active) {
  const uint64_t sequence = active.job.sequence;
  if (canaries_.count(sequence) == 0) return;
  const CanaryVerdict verdict = JudgeCanary(active.plan.canary, active.canary);
  if (verdict == CanaryVerdict::kWait) return;
  canaries_.erase(sequence);
  if (verdict == CanaryVerdict::kStop) {
    sweeps_.emplace(sequence, 0);
    return;
  }
  for (const TaskRow& row : active.tasks) {
    if (active.canary_nodes.count(*row.node) == 0) Schedule({sequence, row.number});
  }
}

Place Loop::PlaceOf(const ActiveJob& active, const TaskRow& row) const {
  Place place;
  place.node = *row.node;
  // A list of ranges has no rate of its own, and may be about any filesystem.
  place.metered = !active.plan.ranges;
  const NodeEntry* node = nodes_.Find(*row.node);
  if (node == nullptr || !node->facts || row.root->empty()) return place;
  for (const RootFacts& root : node->facts->roots) {
    if (root.name == *row.root) place.filesystem = root.uuid;
  }
  return place;
}

void Loop::Schedule(TaskKey key) {
  const ActiveJob& active = *table_.Find(key.job);
  const TaskRow* row = table_.Find(key);
  if (row != nullptr && row->open && runs_.HasStream(key)) return;
  const bool follows =
      canaries_.count(key.job) > 0 && row != nullptr && active.canary_nodes.count(*row->node) == 0;
  if (row == nullptr || Ended(row->state) || !row->expanded || (follows && !row->open)) {
    return scheduler_.Remove(key);
  }
  const NodeEntry* node = nodes_.Find(*row->node);
  if (node == nullptr || !node->facts) unplaced_[*row->node].insert(key);
  if (row->open) {
    scheduler_.Attach(key, PlaceOf(active, *row), row->next_attempt);
  } else {
    scheduler_.Queue(key, PlaceOf(active, *row), row->next_attempt);
  }
}

TryContext Loop::ContextOf(const ActiveJob& active, TaskKey key) const {
  TryContext context;
  context.now = Now();
  context.cancelled = active.job.wanted == Wanted::kCancel;
  context.asked = stops_.in_flight(key) || stops_.taken(key) || MustStop(active, active.Row(key.number));
  context.losses = runs_.Losses(key) + 1;
  context.max_failures = options_.max_failures;
  return context;
}

void Loop::ForgetRun(TaskKey key) {
  runs_.Close(key);
  stops_.Forget(key);
  gone_.erase(key);
  crashed_.erase(key);
}

// Nodes.

absl::Status Loop::SetTargets(const std::string& source, const std::vector<Target>& targets) {
  std::map<std::string, NodeState> before;
  for (const auto& [name, node] : nodes_.nodes()) before[name] = node.state;
  RETURN_IF_ERROR(nodes_.SetTargets(source, targets, Now()));
  for (const std::string& address : probes_.Retain(nodes_.addresses())) {
    Log(LogLevel::kInfo, "address gone", {{"address", address}});
    link_.Forget(address);
  }
  for (const auto& [address, entry] : nodes_.addresses()) probes_.Add(address);
  nodes_changed_ = true;
  for (const auto& [name, node] : nodes_.nodes()) {
    const auto known = before.find(name);
    if (known != before.end() && known->second != node.state) NodeChanged(name);
  }
  return absl::OkStatus();
}

void Loop::Probe() {
  const absl::Time now = Now();
  for (const std::string& address : probes_.Due(now)) {
    probes_.Sent(address, now + options_.probe_interval);
    link_.Probe(nodes_.addresses().at(address).endpoint, [this, mailbox = mailbox_,
                                                          address](absl::StatusOr<NodeFacts> answer) {
      mailbox->PostNews([this, address, answer = std::move(answer)] { ProbeDone(address, answer); });
    });
  }
  WakeBy(probes_.wake());
}

void Loop::ProbeDone(const std::string& address, const absl::StatusOr<NodeFacts>& answer) {
  if (!probes_.Known(address)) return;
  probes_.Done(address);
  for (const std::string& name : nodes_.Heard(address, answer, Now())) NodeChanged(name);
  const std::string& name = nodes_.addresses().at(address).name;
  if (name.empty()) nodes_changed_ = true;
  if (!answer.ok() || name.empty()) return;
  for (const TaskKey& key : table_.OnNode(name).open) {
    if (Crashed(*table_.Find(key), key)) crashed_.insert(key);
  }
}

void Loop::ProbeSoon(const std::string& node) {
  const NodeEntry* entry = nodes_.Find(node);
  if (entry == nullptr) return;
  for (const std::string& address : entry->addresses) probes_.Hurry(address);
}

void Loop::NodeChanged(const std::string& name) {
  next_publish_ = absl::InfinitePast();
  nodes_changed_ = true;
  const NodeEntry& node = *nodes_.Find(name);
  Log(node.error.ok() ? LogLevel::kInfo : LogLevel::kWarning, "node changed",
      {{"node", name},
       {"state", NodeStateName(node.state)},
       {"address", node.endpoint.address},
       {"error", node.error}});
  SetGate(name);
  if (node.state == NodeState::kUnknown || node.state == NodeState::kRefused) ProbeSoon(name);
  const JobTable::NodeTasks& tasks = table_.OnNode(name);
  for (const TaskKey& key : tasks.unexpanded) to_expand_[key.job].insert(key.number);
  if (const auto unplaced = unplaced_.find(name); unplaced != unplaced_.end() && node.facts) {
    const std::set<TaskKey> keys = std::move(unplaced->second);
    unplaced_.erase(unplaced);
    for (const TaskKey& key : keys) {
      if (table_.Find(key.job) != nullptr) Schedule(key);
    }
  }
  if (node.state != NodeState::kUp) return;
  for (const TaskKey& key : tasks.open) stops_.Hurry(key);
}

// Whatever keeps it from being given tasks: its state, its windows, its own hold or the cluster's.
void Loop::SetGate(const std::string& name) {
  const NodeEntry* node = nodes_.Find(name);
  const Hold* hold = holds_.OfNode(name);
  Gate gate = Gate::kOpen;
  if (node == nullptr || node->state != NodeState::kUp || !MayRun(name)) {
    gate = Gate::kShut;
  } else if (hold != nullptr) {
    gate = Gate::kDrained;
  }
  scheduler_.SetGate(name, gate);
}

bool Loop::MayRun(const std::string& node) const {
  const Hold* hold = holds_.OfNode(node);
  return node_openings_.IsOpen(node) && (hold == nullptr || hold->kind != Hold::Kind::kPause);
}

void Loop::SetNodeWindows(const std::string& node, std::vector<Window> windows) {
  node_openings_.Set(node, std::move(windows), Now());
  GateChanged(node);
}

void Loop::GateChanged(const std::string& name) {
  SetGate(name);
  for (const TaskKey& key : table_.OnNode(name).open) stops_.Hurry(key);
}

// Opens and closes what is due. Tasks that run there are told to stop, those that wait may start.
void Loop::FollowWindows() {
  const absl::Time now = Now();
  for (const uint64_t sequence : job_openings_.Update(now)) {
    const ActiveJob& active = *table_.Find(sequence);
    scheduler_.SetHeld(sequence, Held(active));
    HurryStops(active);
    Log(LogLevel::kInfo, "window of a job changed",
        {{"job", active.job.id}, {"open", job_openings_.IsOpen(sequence) ? "yes" : "no"}});
  }
  for (const std::string& name : node_openings_.Update(now)) {
    GateChanged(name);
    Log(LogLevel::kInfo, "window of a node changed",
        {{"node", name}, {"open", node_openings_.IsOpen(name) ? "yes" : "no"}});
  }
  WakeBy(job_openings_.wake());
  WakeBy(node_openings_.wake());
}

void Loop::ExpireNodes() {
  std::set<std::string> lost;
  const size_t known = nodes_.nodes().size();
  const std::vector<std::string> expired = nodes_.Expire(Now());
  if (nodes_.nodes().size() != known) nodes_changed_ = true;
  for (const std::string& name : expired) {
    metrics_.NodeLost();
    NodeChanged(name);
    lost.insert(name);
  }
  WakeBy(nodes_.next_expiry());
  if (lost.empty()) return;
  for (const auto& [sequence, active] : table_.jobs()) {
    if (!active.plan.give_up_lost) continue;
    for (const TaskRow& row : active.tasks) {
      if (lost.count(*row.node) > 0) perhaps_lost_.insert({sequence, row.number});
    }
  }
}

// From jobs to tasks.

absl::StatusOr<std::vector<std::string>> Loop::SelectNodes(const JobPlan& plan) const {
  std::vector<std::string> names;
  if (plan.ranges || plan.select == JobPlan::Select::kNames) {
    for (size_t i = 0; i < plan.nodes.size(); ++i) {
      const NodeEntry* node = nodes_.Find(plan.nodes[i]);
      if (node == nullptr || node->addresses.empty()) {
        return FieldError(plan.node_fields[i], absl::StrCat("no node is called \"", plan.nodes[i],
                                                            "\"; list the nodes to see their names"));
      }
    }
    names = plan.nodes;
  } else {
    for (const auto& [name, node] : nodes_.nodes()) {
      if (!node.addresses.empty()) names.push_back(name);
    }
    if (names.empty()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "NO_NODES",
                       "no node is known yet; check --node and --node_dns of the controller");
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<JobRecord> Loop::CreateJob(std::string spec, JobPlan plan, std::string request_id) {
  absl::StatusOr<JobRecord> before = store_.FindRequest(request_id, spec);
  if (before.ok()) return GetJob(before->job.id);
  if (!absl::IsNotFound(before.status())) return before.status();
  if (fenced_) return StaleEpoch();
  if (table_.jobs().size() >= options_.max_active_jobs) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_JOBS",
        absl::StrCat(table_.jobs().size(), " jobs have not ended; wait for some or cancel them"));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> names, SelectNodes(plan));
  const absl::Time now = Now();
  JobRecord record;
  record.job.id = absl::StrFormat("%016x", absl::Uniform<uint64_t>(random_));
  record.job.request_id = std::move(request_id);
  record.job.created = now;
  record.spec = std::move(spec);
  for (const std::string& name : names) {
    Task task;
    task.number = record.job.tasks_made++;
    task.node = name;
    task.expanded = plan.ranges;
    task.waiting_since = now;
    record.tasks.push_back(std::move(task));
  }
  ASSIGN_OR_RETURN(JobStore::Created created, store_.Create(std::move(record)));
  const uint64_t sequence = created.record.job.sequence;
  TakeUp(std::move(created.record), std::move(plan));
  const ActiveJob& active = *table_.Find(sequence);
  ++counts_[JobState::kPending];
  next_publish_ = absl::InfinitePast();
  Log(LogLevel::kInfo, "job accepted", {{"job", active.job.id}, {"nodes", uint64_t{active.tasks.size()}}});
  return View(active);
}

void Loop::ExpandJobs() {
  if (fenced_ || to_expand_.empty() || StoreRests(Now())) return;
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
  for (const auto& [sequence, tasks] : by_job) {
    const ActiveJob& active = *table_.Find(sequence);
    Expansion expansion = ExpandTasks(active.plan, tasks, active.tasks.size(), active.job.tasks_made, nodes_);
    if (expansion.put.empty() && expansion.removed.empty()) continue;
    JobChange& change = batch.Of(active.job);
    change.job.tasks_made = expansion.tasks_made;
    change.put = std::move(expansion.put);
    change.removed = std::move(expansion.removed);
    for (const Task& task : change.put) changed.push_back({sequence, task.number});
  }
  if (!batch.empty() && !Save(batch.Take()).ok()) return WakeBy(store_retry_);
  for (const TaskKey& key : keys) {
    const auto left = to_expand_.find(key.job);
    left->second.erase(key.number);
    if (left->second.empty()) to_expand_.erase(left);
  }
  for (const TaskKey& key : changed) Schedule(key);
  if (!to_expand_.empty()) WakeBy(Now());
}

// Ends tasks that are not open: of jobs that are cancelled, and those that were to follow a canary.
void Loop::Sweep(uint64_t sequence) {
  if (StoreRests(Now())) return;
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
    if (!cancelled) task.error = CanaryFailed(*active);
    task.next_attempt = absl::InfinitePast();
    batch.Of(active->job).put.push_back(std::move(task));
    changed.push_back({sequence, row->number});
  }
  if (!batch.empty() && !Save(batch.Take()).ok()) return WakeBy(store_retry_);
  for (const TaskKey& key : changed) Schedule(key);
  if (changed.size() == kMaxBatch) {
    sweeps_[sequence] = next;
    return WakeBy(Now());
  }
  sweeps_.erase(sequence);
}

// Fails the tasks of lost nodes, where their jobs do not wait. A task with a stream is heard of all the same.
void Loop::GiveUpLost() {
  if (fenced_ || perhaps_lost_.empty() || StoreRests(Now())) return;
  Batch batch;
  std::vector<TaskKey> changed;
  const std::vector<TaskKey> keys = FirstOf(perhaps_lost_);
  for (const TaskKey& key : keys) {
    const TaskRow* row = table_.Find(key);
    if (row == nullptr || Ended(row->state) || runs_.HasStream(key) || runs_.HasEnd(key)) continue;
    if (table_.Find(key.job)->job.wanted == Wanted::kCancel) continue;
    const NodeEntry* node = nodes_.Find(*row->node);
    if (node != nullptr && node->state != NodeState::kLost) continue;
    Task task = row->ToTask();
    task.state = TaskState::kFailed;
    task.open = false;
    task.next_attempt = absl::InfinitePast();
    task.error = node != nullptr ? node->error : NodeUnknown(task.node);
    batch.Of(table_.Find(key.job)->job).put.push_back(std::move(task));
    changed.push_back(key);
  }
  if (!batch.empty() && !Save(batch.Take()).ok()) return WakeBy(store_retry_);
  for (const TaskKey& key : keys) perhaps_lost_.erase(key);
  for (const TaskKey& key : changed) {
    ForgetRun(key);
    Schedule(key);
    metrics_.TaskGivenUp();
  }
  if (!perhaps_lost_.empty()) WakeBy(Now());
}

// From tasks to nodes.

void Loop::Dispatch() {
  const absl::Time now = Now();
  if (fenced_ || StoreRests(now)) return;
  const std::vector<Scheduler::Start> starts = scheduler_.Next(now, kMaxBatch);
  Batch batch;
  for (const Scheduler::Start& start : starts) {
    const TaskRow& row = *table_.Find(start.task);
    // Found running at the start: as stored.
    if (row.state == TaskState::kRunning) continue;
    Task task = row.ToTask();
    if (!task.open) {
      ++task.attempt;
      const NodeEntry& node = *nodes_.Find(task.node);
      task.node_started = node.facts ? node.facts->started : absl::InfinitePast();
    }
    task.open = true;
    task.state = TaskState::kRunning;
    task.next_attempt = absl::InfinitePast();
    task.error = absl::OkStatus();
    batch.Of(table_.Find(start.task.job)->job).put.push_back(std::move(task));
  }
  if (!batch.empty() && !Save(batch.Take()).ok()) {
    for (const Scheduler::Start& start : starts) Schedule(start.task);
    return WakeBy(store_retry_);
  }
  for (const Scheduler::Start& start : starts) StartStream(start.task, start.bytes_per_second);
  WakeBy(starts.size() == kMaxBatch ? now : scheduler_.wake());
}

absl::Duration Loop::WorkFor(const ActiveJob& active, const TaskRow& row) const {
  absl::Duration work_for = absl::InfiniteDuration();
  for (const WindowState& state :
       {job_openings_.StateOf(active.job.sequence), node_openings_.StateOf(*row.node)}) {
    // Where one is closed, only the last figures of a run are asked for.
    if (state.open && state.until > Now()) work_for = std::min(work_for, state.until - Now());
  }
  return work_for;
}

void Loop::StartStream(TaskKey key, uint64_t bytes_per_second) {
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
  order.work_for = WorkFor(active, row);
  Log(LogLevel::kInfo, "task dispatched",
      {{"job", active.job.id},
       {"task", order.task_id},
       {"node", order.node},
       {"root", order.root},
       {"attempt", order.attempt}});
  runs_.Start(key, nodes_.Find(order.node)->endpoint, order,
              row.counted != nullptr ? row.counted->run_id : std::string());
}

void Loop::StoreNews(bool all) {
  const absl::Time now = Now();
  if (!all && StoreRests(now)) return;
  std::vector<TaskKey> keys = all ? runs_.WithNews() : runs_.Ended(kMaxBatch);
  if (!all) {
    const std::vector<TaskKey> due = runs_.Due(now, kMaxBatch);
    keys.insert(keys.end(), due.begin(), due.end());
  }
  if (keys.empty()) return WakeBy(runs_.wake());
  struct Ending {
    TaskKey key;
    absl::optional<Verdict> verdict;
    absl::Status why;
    bool asked;
  };
  std::vector<Ending> endings;
  Batch batch;
  for (const TaskKey& key : keys) {
    const ActiveJob& active = *table_.Find(key.job);
    const News& news = runs_.NewsOf(key);
    Task task = active.Row(key.number).ToTask();
    const auto count = [&](const RunEvent& event) {
      CountRun(task, event.run_id, event.totals, active.plan.StartsOver());
      if (event.node_started != absl::InfinitePast()) task.node_started = event.node_started;
    };
    for (const RunEvent& event : news.progress) count(event);
    JobChange& change = batch.Of(active.job);
    if (news.end) {
      const absl::optional<RunEvent>& last = news.end->last;
      if (last) count(*last);
      if (last && !last->results.empty()) change.results[key.number] = last->results;
      Ending ending{key, absl::nullopt, last ? last->error : news.end->status, false};
      if (last && last->error.ok()) {
        FinishTask(task);
      } else {
        TryContext context = ContextOf(active, key);
        // As it was ordered, whatever the windows are now.
        if (ReasonOf(ending.why) == "DEADLINE_EXCEEDED") context.asked = true;
        ending.verdict = last ? JudgeRun(ending.why) : JudgeStream(ending.why);
        ending.asked = context.asked && *ending.verdict == Verdict::kStopped;
        if (ending.why.ok()) {
          ending.why = MakeError(absl::StatusCode::kUnavailable, "STREAM_BROKEN",
                                 "the node ended the stream without a summary");
        }
        FailTry(task, *ending.verdict, ending.why, context, random_);
      }
      endings.push_back(std::move(ending));
    }
    change.put.push_back(std::move(task));
  }
  if (!Save(batch.Take()).ok()) return WakeBy(store_retry_);
  for (const TaskKey& key : keys) runs_.Stored(key, now);
  for (const Ending& ending : endings) EndTry(ending.key, ending.verdict, ending.why, ending.asked);
  WakeBy(runs_.wake());
}

// The end of a try is stored.
void Loop::EndTry(TaskKey key, absl::optional<Verdict> verdict, const absl::Status& why, bool asked) {
  const ActiveJob& active = *table_.Find(key.job);
  const TaskRow& row = *table_.Find(key);
  Log(row.error.ok() ? LogLevel::kInfo : LogLevel::kWarning, "task ended its try",
      {{"job", active.job.id},
       {"task", TaskId(active.job, key.number)},
       {"node", *row.node},
       {"state", TaskStateName(row.state)},
       {"attempt", row.attempt},
       {"error", row.error}});
  if (row.state == TaskState::kWaiting && !asked) metrics_.TaskRetried(RetryReason(*verdict, why));
  const Place place = PlaceOf(active, row);
  if (!verdict && pauses_.Worked({place.node, place.filesystem})) {
    scheduler_.PauseFilesystem(place.node, place.filesystem, absl::InfinitePast());
  }
  if (verdict == Verdict::kFenced) Fence(*row.node);
  if (verdict == Verdict::kLost) ProbeSoon(*row.node);
  if (verdict == Verdict::kFilesystem && !place.filesystem.empty()) {
    const absl::Time until = pauses_.Failed({place.node, place.filesystem}, why, Now(), random_);
    scheduler_.PauseFilesystem(place.node, place.filesystem, until);
    Log(LogLevel::kWarning, "filesystem paused",
        {{"node", place.node},
         {"root", *row.root},
         {"filesystem", place.filesystem},
         {"until", absl::FormatTime(until, absl::UTCTimeZone())},
         {"error", why}});
  }
  if (row.open) {
    runs_.CountLoss(key);
    if (active.plan.give_up_lost) perhaps_lost_.insert(key);
  } else {
    ForgetRun(key);
  }
  Schedule(key);
}

bool Loop::Crashed(const TaskRow& row, TaskKey key) const {
  // The run may be of the node as it is now: if it is not, the stream will end, and the node is probed anew.
  if (runs_.HasStream(key)) return false;
  const NodeEntry* node = nodes_.Find(*row.node);
  if (node == nullptr || node->state != NodeState::kUp || !node->facts) return false;
  const absl::Time heard = runs_.NodeStarted(key);
  const absl::Time started = heard != absl::InfinitePast() ? heard : row.node_started;
  return row.open && started != absl::InfinitePast() && started < node->facts->started;
}

void Loop::CountCrashes() {
  if (crashed_.empty() || StoreRests(Now())) return;
  Batch batch;
  const std::vector<TaskKey> keys = FirstOf(crashed_);
  std::vector<TaskKey> changed;
  for (const TaskKey& key : keys) {
    const TaskRow* row = table_.Find(key);
    // What it has told is stored first.
    if (row == nullptr || runs_.HasEnd(key) || !Crashed(*row, key)) continue;
    const ActiveJob& active = *table_.Find(key.job);
    Task task = row->ToTask();
    for (const RunEvent& event : runs_.NewsOf(key).progress) {
      CountRun(task, event.run_id, event.totals, active.plan.StartsOver());
    }
    CrashTry(task, ContextOf(active, key), random_);
    batch.Of(active.job).put.push_back(std::move(task));
    changed.push_back(key);
  }
  if (!batch.empty() && !Save(batch.Take()).ok()) return WakeBy(store_retry_);
  for (const TaskKey& key : keys) crashed_.erase(key);
  for (const TaskKey& key : changed) {
    const TaskRow& row = *table_.Find(key);
    Log(LogLevel::kWarning, "node came down under a task",
        {{"task", TaskId(table_.Find(key.job)->job, key.number)},
         {"node", *row.node},
         {"state", TaskStateName(row.state)},
         {"times", row.crashes}});
    ForgetRun(key);
    Schedule(key);
  }
}

// Stopping.

bool Loop::Held(const ActiveJob& active) const {
  return active.job.wanted != Wanted::kRun || !job_openings_.IsOpen(active.job.sequence);
}

void Loop::HurryStops(const ActiveJob& active) {
  for (uint32_t number : active.open) stops_.Hurry({active.job.sequence, number});
}

bool Loop::MustStop(const ActiveJob& active, const TaskRow& row) const {
  return Held(active) || !MayRun(*row.node);
}

void Loop::SendCancels() {
  const absl::Time now = Now();
  if (fenced_) return;
  Batch batch;
  std::vector<TaskKey> attached;
  for (const TaskKey& key : stops_.Due(now)) {
    const TaskRow* row = table_.Find(key);
    if (row == nullptr || !row->open || !MustStop(*table_.Find(key.job), *row)) {
      stops_.Rest(key);
      continue;
    }
    stops_.Later(key, now + kCancelEvery);
    if (stops_.in_flight(key)) continue;
    const NodeEntry* node = nodes_.Find(*row->node);
    if (node == nullptr || node->state == NodeState::kLost) {
      // It will not come back to tell of the task, which may go on there.
      if (!runs_.HasStream(key)) gone_.insert(key);
    } else if (node->addresses.empty()) {
      continue;
    } else if (stops_.taken(key) && !runs_.HasStream(key) && node->state == NodeState::kUp) {
      // Ask for the last figures.
      if (runs_.HasEnd(key)) continue;
      Task task = row->ToTask();
      task.state = TaskState::kRunning;
      batch.Of(table_.Find(key.job)->job).put.push_back(std::move(task));
      attached.push_back(key);
    } else {
      SendCancel(key, *node);
    }
  }
  if (!batch.empty() && Save(batch.Take()).ok()) {
    for (const TaskKey& key : attached) {
      scheduler_.Run(key);
      StartStream(key, 0);
    }
  }
  WakeBy(stops_.wake());
}

void Loop::SendCancel(TaskKey key, const NodeEntry& node) {
  stops_.Sent(key, Now() + kCancelEvery);
  link_.CancelTask(node.endpoint, TaskId(table_.Find(key.job)->job, key.number), epoch_,
                   [this, mailbox = mailbox_, key](absl::Status status) {
                     mailbox->PostNews([this, key, status = std::move(status)] { CancelDone(key, status); });
                   });
}

void Loop::CancelDone(TaskKey key, const absl::Status& status) {
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
  if (ReasonOf(status) == "STALE_EPOCH") return Fence(*row.node);
  if (!absl::IsNotFound(status)) {
    Log(LogLevel::kWarning, "cancel failed; repeating",
        {{"task", TaskId(table_.Find(key.job)->job, key.number)}, {"error", status}});
    return;
  }
  if (runs_.HasStream(key)) return stops_.Later(key, Now() + kCancelAgain);
  gone_.insert(key);
}

// Of tasks that are to stop, those that no node will tell more of.
void Loop::CloseGone() {
  if (gone_.empty() || StoreRests(Now())) return;
  Batch batch;
  const std::vector<TaskKey> keys = FirstOf(gone_);
  std::vector<TaskKey> changed;
  for (const TaskKey& key : keys) {
    const TaskRow* row = table_.Find(key);
    if (row == nullptr || !row->open || runs_.HasStream(key) || runs_.HasEnd(key)) continue;
    const ActiveJob& active = *table_.Find(key.job);
    const NodeEntry* node = nodes_.Find(*row->node);
    absl::Status why;
    if (node == nullptr) {
      why = NodeUnknown(*row->node);
    } else if (node->state == NodeState::kLost) {
      why = node->error;
    }
    Task task = row->ToTask();
    CloseTry(task, why, ContextOf(active, key));
    batch.Of(active.job).put.push_back(std::move(task));
    changed.push_back(key);
  }
  if (!batch.empty() && !Save(batch.Take()).ok()) return WakeBy(store_retry_);
  for (const TaskKey& key : keys) gone_.erase(key);
  for (const TaskKey& key : changed) {
    ForgetRun(key);
    Schedule(key);
  }
  if (!gone_.empty()) WakeBy(Now());
}

void Loop::Fence(const std::string& node) {
  if (fenced_) return;
  fenced_ = true;
  Log(LogLevel::kError, "another controller rules the nodes: this one dispatches nothing more",
      {{"node", node}, {"epoch", epoch_}});
}

// Calls.

absl::StatusOr<JobRecord> Loop::GetJob(const std::string& id) {
  const ActiveJob* active = table_.Find(id);
  if (active != nullptr) return View(*active);
  return store_.Get(id);
}

absl::StatusOr<std::vector<JobRecord>> Loop::ListJobs(const std::vector<JobState>& states, uint64_t before,
                                                      size_t limit) {
  return store_.List(states, before, limit);
}

absl::StatusOr<JobRecord> Loop::SetWanted(const std::string& id, Wanted wanted) {
  const ActiveJob* active = table_.Find(id);
  if (active == nullptr || Ended(active->job.state)) {
    ASSIGN_OR_RETURN(JobRecord record, GetJob(id));
    if (wanted != Wanted::kCancel) return JobEnded();
    return record;
  }
  const Wanted before = active->job.wanted;
  if (before == wanted) return View(*active);
  if (before == Wanted::kCancel) return JobEnded();
  JobChange change;
  change.job = active->job;
  change.job.wanted = wanted;
  RETURN_IF_ERROR(Save({std::move(change)}));
  const uint64_t sequence = active->job.sequence;
  scheduler_.SetHeld(sequence, Held(*active));
  HurryStops(*active);
  if (!active->unexpanded.empty()) to_expand_[sequence] = active->unexpanded;
  Log(LogLevel::kInfo, "job changed", {{"job", id}, {"wanted", WantedName(wanted)}});
  if (wanted == Wanted::kCancel) {
    // What is left of it follows; from here on the cancel cannot be lost.
    sweeps_[sequence] = 0;
    Sweep(sequence);
  }
  return View(*active);
}

absl::StatusOr<JobRecord> Loop::CancelJob(const std::string& id) { return SetWanted(id, Wanted::kCancel); }

absl::StatusOr<JobRecord> Loop::PauseJob(const std::string& id, Hold hold) {
  const ActiveJob* active = table_.Find(id);
  // Who paused it first did.
  if (active == nullptr || active->job.wanted != Wanted::kRun) return SetWanted(id, Wanted::kPause);
  hold.kind = Hold::Kind::kPause;
  RETURN_IF_ERROR(SetHold(Holds::Job(id), std::move(hold)));
  absl::StatusOr<JobRecord> paused = SetWanted(id, Wanted::kPause);
  if (!paused.ok()) LiftJobHold(id);
  return paused;
}

absl::StatusOr<JobRecord> Loop::ResumeJob(const std::string& id) {
  ASSIGN_OR_RETURN(JobRecord resumed, SetWanted(id, Wanted::kRun));
  LiftJobHold(id);
  return resumed;
}

// The job says by itself whether it is paused: what stays behind does no harm, and goes when the controller
// starts.
void Loop::LiftJobHold(const std::string& id) {
  if (absl::Status status = LiftHold(Holds::Job(id)); !status.ok()) {
    Log(LogLevel::kWarning, "hold of a job that is not paused", {{"job", id}, {"error", status}});
  }
}

// Holds.

absl::Status Loop::SetHold(const std::string& name, Hold hold) {
  hold.since = Now();
  RETURN_IF_ERROR(store_.PutRecord(kHoldKind, name, SerializeHold(hold)));
  Log(LogLevel::kInfo, "held",
      {{"what", name}, {"kind", HoldName(hold.kind)}, {"by", hold.by}, {"reason", hold.reason}});
  holds_.Set(name, std::move(hold));
  return absl::OkStatus();
}

absl::Status Loop::LiftHold(const std::string& name) {
  if (holds_.Find(name) == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(store_.DeleteRecord(kHoldKind, name));
  Log(LogLevel::kInfo, "goes on", {{"what", name}});
  holds_.Lift(name);
  return absl::OkStatus();
}

absl::Status Loop::HoldNode(const std::string& name, Hold hold) {
  if (nodes_.Find(name) == nullptr) {
    return MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN",
                     absl::StrCat("no node is called \"", name, "\"; list the nodes to see their names"));
  }
  RETURN_IF_ERROR(SetHold(Holds::Node(name), std::move(hold)));
  GateChanged(name);
  return absl::OkStatus();
}

absl::Status Loop::ResumeNode(const std::string& name) {
  RETURN_IF_ERROR(LiftHold(Holds::Node(name)));
  SetGate(name);
  return absl::OkStatus();
}

absl::Status Loop::HoldCluster(Hold hold) {
  RETURN_IF_ERROR(SetHold(Holds::Cluster(), std::move(hold)));
  SetGates();
  for (const auto& [sequence, active] : table_.jobs()) HurryStops(active);
  return absl::OkStatus();
}

absl::Status Loop::ResumeCluster() {
  RETURN_IF_ERROR(LiftHold(Holds::Cluster()));
  SetGates();
  return absl::OkStatus();
}

void Loop::SetGates() {
  for (const auto& [name, node] : nodes_.nodes()) SetGate(name);
}

absl::Status Loop::DeleteJob(const std::string& id) {
  ASSIGN_OR_RETURN(const JobRecord record, GetJob(id));
  if (!Ended(record.job.state)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                     "the job has not ended; cancel it first and wait for its end");
  }
  // Its watchers see the end first.
  Notify();
  RETURN_IF_ERROR(store_.Delete(id));
  --counts_[record.job.state];
  next_publish_ = absl::InfinitePast();
  Log(LogLevel::kInfo, "job deleted", {{"job", id}});
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Loop::WatchJob(const std::string& id, Watcher watcher) {
  if (watches_.size() >= options_.max_watches) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHES",
        absl::StrCat(watches_.size(), " watches are open; end some, or ask for the job now and then"));
  }
  ASSIGN_OR_RETURN(JobRecord record, GetJob(id));
  const uint64_t sequence = record.job.sequence;
  const uint64_t revision = record.job.revision;
  const bool ended = Ended(record.job.state);
  watcher(std::make_shared<const JobRecord>(std::move(record)));
  return ended ? 0 : watches_.Add(sequence, std::move(watcher), revision);
}

void Loop::Notify() {
  const absl::Time now = Now();
  for (const uint64_t sequence : watches_.Due(now)) {
    watches_.Done(sequence);
    const ActiveJob* active = table_.Find(sequence);
    if (active == nullptr) continue;
    const bool ended = Ended(active->job.state);
    if (watches_.Watched(sequence)) {
      absl::StatusOr<JobRecord> view = View(*active);
      if (view.ok()) {
        watches_.Tell(sequence, std::make_shared<const JobRecord>(*std::move(view)), now);
      } else {
        Log(LogLevel::kError, "store read failed", {{"error", view.status()}});
        // Without the results the end cannot be told: the watch breaks off.
        if (ended) watches_.Tell(sequence, nullptr, now);
      }
    }
    if (!ended) continue;
    watches_.Drop(sequence);
    LiftJobHold(active->job.id);
    scheduler_.RemoveJob(sequence);
    job_openings_.Remove(sequence);
    canaries_.erase(sequence);
    sweeps_.erase(sequence);
    table_.Remove(sequence);
  }
  WakeBy(watches_.wake());
}

void Loop::Publish() {
  const absl::Time now = Now();
  if (next_publish_ > now) return table_.jobs().empty() ? void() : WakeBy(next_publish_);
  next_publish_ = now + kPublishEvery;
  if (!table_.jobs().empty()) WakeBy(next_publish_);
  metrics_.SetJobs(counts_);
  metrics_.SetTasks(table_.CountTasks());
  metrics_.SetOldestTaskAge(now - std::min(now, table_.oldest_waiting()));
  metrics_.SetPausedFilesystems(pauses_.count(now));
  if (!std::exchange(nodes_changed_, false)) return;
  std::map<std::string, uint64_t> nodes;
  for (const auto& [name, node] : nodes_.nodes()) {
    ++nodes[node.addresses.empty() ? "vanished" : std::string(NodeStateName(node.state))];
  }
  for (const auto& [address, entry] : nodes_.addresses()) {
    if (entry.name.empty()) ++nodes[std::string(NodeStateName(entry.state))];
  }
  metrics_.SetNodes(nodes);
}

}  // namespace cowherd
