#include "server/sched/loop.h"

#include <algorithm>
#include <utility>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/backoff.h"

namespace cowherd {
namespace {

constexpr absl::Duration kStoreEvery = absl::Seconds(1);
constexpr absl::Duration kNoticeEvery = absl::Milliseconds(200);
constexpr absl::Duration kPublishEvery = absl::Seconds(1);
constexpr absl::Duration kCancelEvery = absl::Seconds(2);
// The order to run is still on its way to the node.
constexpr absl::Duration kCancelAgain = absl::Milliseconds(200);
constexpr absl::Duration kStoreRetry = absl::Seconds(1);

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
      nodes_(options.lost_after) {}

// As exact as the store keeps it.
absl::Time Loop::Now() const { return absl::FromUnixMicros(absl::ToUnixMicros(clock_.Now())); }

void Loop::WakeBy(absl::Time when) { wake_ = std::min(wake_, when); }

absl::Status Loop::Recover() {
  ASSIGN_OR_RETURN(epoch_, store_.RaiseEpoch(static_cast<uint64_t>(absl::ToUnixSeconds(Now()))));
  ASSIGN_OR_RETURN(counts_, store_.CountByState());
  ASSIGN_OR_RETURN(std::vector<JobRecord> records, store_.LoadActive());
  for (JobRecord& record : records) {
    const uint64_t sequence = record.job.sequence;
    Active active;
    ASSIGN_OR_RETURN(active.plan, read_plan_(record.spec));
    sequence_of_[record.job.id] = sequence;
    for (const Task& task : record.tasks) {
      if (!Ended(task.state)) nodes_.Expect(task.node, Now());
    }
    active.record = std::move(record);
    active_.emplace(sequence, std::move(active));
  }
  Log(LogLevel::kInfo, "store opened", {{"epoch", epoch_}, {"active_jobs", uint64_t{active_.size()}}});
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
  ExpandJobs();
  StoreProgress(/*all=*/false);
  SendCancels();
  Dispatch();
  Notify();
  Publish();
  return wake_;
}

void Loop::Stop() {
  RunPosted();
  StoreProgress(/*all=*/true);
  for (auto& [sequence, active] : active_) {
    for (auto& [number, watch] : active.watchers) watch.watcher(nullptr);
    active.watchers.clear();
    active.live.clear();
  }
  watches_.clear();
  closing_.clear();
  streams_.clear();
}

absl::Status Loop::SetTargets(const std::string& source, const std::vector<Target>& targets) {
  RETURN_IF_ERROR(nodes_.SetTargets(source, targets, Now()));
  for (auto it = probes_.begin(); it != probes_.end();) {
    if (nodes_.addresses().count(it->first) > 0) {
      ++it;
      continue;
    }
    Log(LogLevel::kInfo, "address gone", {{"address", it->first}});
    link_.Forget(it->first);
    it = probes_.erase(it);
  }
  for (const auto& [address, entry] : nodes_.addresses()) probes_[address];
  return absl::OkStatus();
}

Loop::Active* Loop::FindActive(const std::string& id) {
  const auto found = sequence_of_.find(id);
  return found == sequence_of_.end() ? nullptr : &active_.at(found->second);
}

Task* Loop::FindTask(Active& active, uint32_t number) {
  for (Task& task : active.record.tasks) {
    if (task.number == number) return &task;
  }
  return nullptr;
}

absl::StatusOr<JobRecord> Loop::View(const Active& active) {
  JobRecord view = active.record;
  // They may be large: not for each step of a job that runs.
  if (Ended(active.record.job.state)) {
    ASSIGN_OR_RETURN(view.results, store_.Results(view.job.id));
  }
  for (Task& task : view.tasks) {
    if (task.state != TaskState::kWaiting || !task.error.ok()) continue;
    const NodeEntry* node = nodes_.Find(task.node);
    if (node == nullptr) {
      task.error = NodeUnknown(task.node);
    } else {
      task.error = node->error;
    }
  }
  return view;
}

absl::Status Loop::Save(std::vector<JobChange> changes) {
  std::vector<std::vector<Task>> next;
  for (JobChange& change : changes) {
    const Active& active = *FindActive(change.job.id);
    const Job& before = active.record.job;
    std::map<uint32_t, Task> tasks;
    for (const Task& task : active.record.tasks) tasks[task.number] = task;
    for (const Task& task : change.put) {
      const auto old = tasks.find(task.number);
      if (old != tasks.end() && !LegalMove(old->second.state, task.state)) {
        return absl::InternalError(absl::StrCat("task ", TaskId(before, task.number), " cannot go from ",
                                                TaskStateName(old->second.state), " to ",
                                                TaskStateName(task.state)));
      }
      tasks[task.number] = task;
    }
    for (uint32_t number : change.removed) tasks.erase(number);
    std::vector<Task>& list = next.emplace_back();
    bool started = false;
    for (auto& [number, task] : tasks) {
      started = started || task.attempt > 0;
      list.push_back(std::move(task));
    }
    Job& job = change.job;
    job.state = JobStateOf(job.wanted, list);
    if (!LegalMove(before.state, job.state)) {
      return absl::InternalError(absl::StrCat("job ", job.id, " cannot go from ", JobStateName(before.state),
                                              " to ", JobStateName(job.state)));
    }
    job.totals = SumOf(list);
    job.revision = before.revision + 1;
    if (started && job.started == absl::InfinitePast()) job.started = Now();
    if (Ended(job.state)) job.ended = Now();
  }
  if (absl::Status status = store_.Write(changes); !status.ok()) {
    Log(LogLevel::kError, "store write failed", {{"error", status}});
    store_retry_ = Now() + kStoreRetry;
    return status;
  }
  for (size_t i = 0; i < changes.size(); ++i) {
    Active& active = *FindActive(changes[i].job.id);
    const Job before = std::exchange(active.record.job, std::move(changes[i].job));
    const Job& job = active.record.job;
    active.record.tasks = std::move(next[i]);
    active.changed = true;
    metrics_.CountProgress(before.totals, job.totals);
    if (before.state == job.state) continue;
    --counts_[before.state];
    ++counts_[job.state];
    next_publish_ = absl::InfinitePast();
    if (!Ended(job.state)) continue;
    metrics_.JobFinished(job.state);
    Log(LogLevel::kInfo, "job ended",
        {{"job", job.id},
         {"state", JobStateName(job.state)},
         {"bytes_scanned", job.totals.bytes_scanned},
         {"bytes_accepted", job.totals.bytes_accepted},
         {"bytes_won", job.totals.bytes_won}});
  }
  return absl::OkStatus();
}

// Nodes.

void Loop::Probe() {
  const absl::Time now = Now();
  for (auto& [address, probe] : probes_) {
    if (probe.in_flight) continue;
    if (probe.next > now) {
      WakeBy(probe.next);
      continue;
    }
    probe.in_flight = true;
    probe.next = now + options_.probe_interval;
    link_.Probe(nodes_.addresses().at(address).endpoint, [this, mailbox = mailbox_, address = address](
                                                             absl::StatusOr<NodeFacts> answer) {
      mailbox->PostNews([this, address, answer = std::move(answer)] { ProbeDone(address, answer); });
    });
  }
}

void Loop::ProbeDone(const std::string& address, const absl::StatusOr<NodeFacts>& answer) {
  const auto probe = probes_.find(address);
  if (probe == probes_.end()) return;
  probe->second.in_flight = false;
  for (const std::string& name : nodes_.Heard(address, answer, Now())) NodeChanged(name);
}

void Loop::NodeChanged(const std::string& name) {
  next_publish_ = absl::InfinitePast();
  const NodeEntry& node = *nodes_.Find(name);
  Log(node.error.ok() ? LogLevel::kInfo : LogLevel::kWarning, "node changed",
      {{"node", name},
       {"state", NodeStateName(node.state)},
       {"address", node.endpoint.address},
       {"error", node.error}});
  if (node.state == NodeState::kUnknown || node.state == NodeState::kRefused) ProbeSoon(name);
  if (node.state != NodeState::kUp) return;
  for (auto& [sequence, active] : active_) {
    for (auto& [number, live] : active.live) {
      if (FindTask(active, number)->node != name) continue;
      live.at_once = true;
      live.next_cancel = absl::InfinitePast();
    }
  }
}

void Loop::ProbeSoon(const std::string& node) {
  const NodeEntry* entry = nodes_.Find(node);
  if (entry == nullptr) return;
  for (const std::string& address : entry->addresses) probes_.at(address).next = absl::InfinitePast();
}

void Loop::ExpireNodes() {
  for (const std::string& name : nodes_.Expire(Now())) {
    metrics_.NodeLost();
    NodeChanged(name);
    look_for_lost_ = true;
  }
  WakeBy(nodes_.next_expiry());
  if (look_for_lost_) GiveUpLost();
}

// Fails the tasks of lost nodes, where their jobs do not wait. A task with a stream is heard of all the same.
void Loop::GiveUpLost() {
  if (fenced_ || store_retry_ > Now()) return;
  std::vector<JobChange> changes;
  for (auto& [sequence, active] : active_) {
    // Those of a cancelled job are closed as such.
    if (!active.plan.give_up_lost || active.record.job.wanted == Wanted::kCancel) continue;
    JobChange change;
    change.job = active.record.job;
    for (const Task& task : active.record.tasks) {
      if (Ended(task.state)) continue;
      const auto live = active.live.find(task.number);
      if (live != active.live.end() && live->second.run != nullptr) continue;
      const NodeEntry* node = nodes_.Find(task.node);
      if (node != nullptr && node->state != NodeState::kLost) continue;
      Task given_up = task;
      given_up.state = TaskState::kFailed;
      given_up.open = false;
      given_up.next_attempt = absl::InfinitePast();
      given_up.error = node != nullptr ? node->error : NodeUnknown(task.node);
      change.put.push_back(std::move(given_up));
    }
    if (!change.put.empty()) changes.push_back(std::move(change));
  }
  std::vector<std::pair<std::string, uint32_t>> given_up;
  for (const JobChange& change : changes) {
    for (const Task& task : change.put) given_up.emplace_back(change.job.id, task.number);
  }
  if (!changes.empty() && !Save(std::move(changes)).ok()) return WakeBy(store_retry_);
  for (const auto& [id, number] : given_up) {
    FindActive(id)->live.erase(number);
    metrics_.TaskGivenUp();
  }
  look_for_lost_ = false;
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
  if (active_.size() >= options_.max_active_jobs) {
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_JOBS",
                     absl::StrCat(active_.size(), " jobs have not ended; wait for some or cancel them"));
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
  Active& active = active_[sequence];
  active.record = std::move(created.record);
  active.plan = std::move(plan);
  sequence_of_[active.record.job.id] = sequence;
  ++counts_[JobState::kPending];
  next_publish_ = absl::InfinitePast();
  look_for_lost_ = true;
  Log(LogLevel::kInfo, "job accepted",
      {{"job", active.record.job.id}, {"nodes", uint64_t{active.record.tasks.size()}}});
  return View(active);
}

void Loop::ExpandJobs() {
  const absl::Time now = Now();
  if (fenced_ || store_retry_ > now) return;
  std::vector<JobChange> changes;
  for (auto& [sequence, active] : active_) {
    if (active.record.job.wanted != Wanted::kRun) continue;
    JobChange change;
    change.job = active.record.job;
    size_t left = active.record.tasks.size();
    std::vector<Task> unmatched;
    for (const Task& task : active.record.tasks) {
      if (task.expanded || Ended(task.state)) continue;
      const NodeEntry* node = nodes_.Find(task.node);
      if (node == nullptr || !node->facts) continue;
      const std::vector<RootTask> roots = Expand(active.plan, *node->facts);
      if (node->state != NodeState::kUp) {
        // Roots may change while a node is away; its labels hardly do, and nothing else matters where they
        // differ.
        if (active.plan.select == JobPlan::Select::kLabels && roots.empty()) unmatched.push_back(task);
        continue;
      }
      if (roots.empty()) unmatched.push_back(task);
      for (size_t i = 0; i < roots.size(); ++i) {
        Task made = task;
        if (i > 0) {
          made.number = change.job.tasks_made++;
          ++left;
        }
        made.expanded = true;
        made.root = roots[i].root;
        made.paths = roots[i].paths;
        change.put.push_back(std::move(made));
      }
    }
    for (Task& task : unmatched) {
      if (!MustMatch(active.plan) && left > 1) {
        change.removed.push_back(task.number);
        --left;
        continue;
      }
      task.state = TaskState::kFailed;
      task.error =
          MakeError(absl::StatusCode::kFailedPrecondition, "NO_MATCHING_ROOT",
                    absl::StrCat("no root of node \"", task.node,
                                 "\" matches the job and can share ranges; look at the node's roots"));
      change.put.push_back(task);
    }
    if (!change.put.empty() || !change.removed.empty()) changes.push_back(std::move(change));
  }
  // A failed write was logged; the tasks stay as they are and this is done again.
  if (!changes.empty() && !Save(std::move(changes)).ok()) WakeBy(store_retry_);
}

// From tasks to nodes.

void Loop::Dispatch() {
  const absl::Time now = Now();
  if (fenced_) return;
  if (store_retry_ > now) return WakeBy(store_retry_);
  std::vector<Candidate> candidates;
  std::vector<Place> places;
  const std::set<std::string> up = nodes_.UpNames();
  for (auto& [sequence, active] : active_) {
    if (active.record.job.wanted != Wanted::kRun) continue;
    for (const Task& task : active.record.tasks) {
      if (!task.expanded || Ended(task.state) || up.count(task.node) == 0) continue;
      Candidate candidate{task.node, task.open, task.next_attempt};
      const auto live = active.live.find(task.number);
      if (live != active.live.end()) {
        if (live->second.run != nullptr) continue;
        if (live->second.at_once) candidate.not_before = absl::InfinitePast();
        candidate.not_before = std::max(candidate.not_before, live->second.not_before);
      }
      if (candidate.not_before > now) {
        WakeBy(candidate.not_before);
        continue;
      }
      candidates.push_back(std::move(candidate));
      places.push_back({sequence, task.number});
    }
  }
  std::map<uint64_t, JobChange> changes;
  std::vector<Place> picked;
  for (size_t index : Pick(candidates, up, running_, options_.limits, now)) {
    const Place place = places[index];
    picked.push_back(place);
    Active& active = active_.at(place.sequence);
    Task task = *FindTask(active, place.number);
    // Found running at the start: as stored.
    if (task.state == TaskState::kRunning) continue;
    if (!task.open) ++task.attempt;
    task.open = true;
    task.state = TaskState::kRunning;
    task.next_attempt = absl::InfinitePast();
    task.error = absl::OkStatus();
    JobChange& change = changes[place.sequence];
    change.job = active.record.job;
    change.put.push_back(std::move(task));
  }
  if (!changes.empty()) {
    std::vector<JobChange> list;
    list.reserve(changes.size());
    for (auto& [sequence, change] : changes) list.push_back(std::move(change));
    if (!Save(std::move(list)).ok()) return WakeBy(store_retry_);
  }
  for (const Place& place : picked) {
    Active& active = active_.at(place.sequence);
    StartStream(active, *FindTask(active, place.number));
  }
}

void Loop::StartStream(Active& active, const Task& task) {
  const Job& job = active.record.job;
  const NodeEntry* node = nodes_.Find(task.node);
  Live& live = active.live[task.number];
  live.stream = ++last_stream_;
  live.at_once = false;
  streams_[live.stream] = {job.sequence, task.number};
  ++running_[task.node];
  RunOrder order;
  order.task_id = TaskId(job, task.number);
  order.job_id = job.id;
  order.attempt = task.attempt;
  order.epoch = epoch_;
  order.spec = active.record.spec;
  order.node = task.node;
  order.root = task.root;
  order.paths = task.paths;
  Log(LogLevel::kInfo, "task dispatched",
      {{"job", job.id},
       {"task", order.task_id},
       {"node", task.node},
       {"root", task.root},
       {"attempt", task.attempt}});
  NodeLink::RunEvents events;
  const uint64_t stream = live.stream;
  events.on_event = [this, mailbox = mailbox_, stream](RunEvent event) {
    mailbox->PostNews(
        [this, stream, event = std::move(event)]() mutable { OnEvent(stream, std::move(event)); });
  };
  events.on_end = [this, mailbox = mailbox_, stream](absl::Status status) {
    mailbox->PostNews([this, stream, status = std::move(status)] { OnEnd(stream, status); });
  };
  live.run = link_.RunTask(node->endpoint, order, std::move(events));
}

void Loop::ReleaseStream(const Task& task, Live& live) {
  streams_.erase(live.stream);
  const auto running = running_.find(task.node);
  if (--running->second == 0) running_.erase(running);
  live.stream = 0;
  live.run.reset();
}

void Loop::OnEvent(uint64_t stream, RunEvent event) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) {
    const auto closing = closing_.find(stream);
    if (closing != closing_.end()) closing->second->Next();
    return;
  }
  const Place place = found->second;
  Active& active = active_.at(place.sequence);
  Live& live = active.live.at(place.number);
  const Task& task = *FindTask(active, place.number);
  live.lost = 0;
  const std::string& known_run = live.pending ? live.pending->run_id : task.run_id;
  if (known_run != event.run_id && !event.over) {
    // A new run knows nothing of a stop that an older one was told.
    live.cancel_taken = false;
    live.next_cancel = absl::InfinitePast();
  }
  if (live.pending && live.pending->run_id != event.run_id) {
    Task counted = task;
    CountRun(counted, live.pending->run_id, live.pending->totals, active.plan.StartsOver());
    JobChange change;
    change.job = active.record.job;
    change.put.push_back(std::move(counted));
    if (!Save({std::move(change)}).ok()) {
      // Attach again later: the node tells where its run stands, and only the figures of the older one are
      // lost if the store stays broken.
      ReleaseStream(task, live);
      live.not_before = store_retry_;
      return;
    }
    live.pending.reset();
  }
  if (!event.over) {
    live.pending = std::move(event);
    live.run->Next();
    return;
  }
  EndTry(active, place.number, &event, absl::OkStatus());
}

void Loop::OnEnd(uint64_t stream, const absl::Status& status) {
  closing_.erase(stream);
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  const Place place = found->second;
  EndTry(active_.at(place.sequence), place.number, nullptr, status);
}

void Loop::EndTry(Active& active, uint32_t number, const RunEvent* last, const absl::Status& stream_status) {
  const absl::Time now = Now();
  Live& live = active.live.at(number);
  const Job& job = active.record.job;
  Task task = *FindTask(active, number);
  const Task before = task;
  if (live.pending) CountRun(task, live.pending->run_id, live.pending->totals, active.plan.StartsOver());
  JobChange change;
  change.job = job;

  const absl::Status status = last != nullptr ? last->error : stream_status;
  absl::string_view retry;
  bool lost = false;
  if (last != nullptr) {
    CountRun(task, last->run_id, last->totals, active.plan.StartsOver());
    if (!last->results.empty()) change.results[number] = last->results;
  }
  if (last != nullptr && status.ok()) {
    task.state = TaskState::kSucceeded;
    task.open = false;
    task.error = absl::OkStatus();
  } else {
    const Verdict verdict = last != nullptr ? JudgeRun(status) : JudgeStream(status);
    const bool asked = verdict == Verdict::kStopped &&
                       (live.cancel_in_flight || live.cancel_taken || job.wanted != Wanted::kRun);
    task.state = TaskState::kWaiting;
    task.waiting_since = now;
    task.error = status.ok() ? MakeError(absl::StatusCode::kUnavailable, "STREAM_BROKEN",
                                         "the node ended the stream without a summary")
                             : status;
    switch (verdict) {
      case Verdict::kFenced:
        Fence(task.node);
        break;
      case Verdict::kLost:
      case Verdict::kBusy:
        lost = true;
        task.next_attempt = now + Backoff(live.lost + 1, random_);
        look_for_lost_ = true;
        if (verdict == Verdict::kLost) ProbeSoon(task.node);
        break;
      case Verdict::kStopped:
      case Verdict::kRetry:
        task.open = false;
        if (job.wanted == Wanted::kCancel) {
          task.state = TaskState::kCancelled;
        } else if (asked) {
          task.error = absl::OkStatus();
        } else if (++task.failures >= options_.max_failures) {
          task.state = TaskState::kFailed;
        } else {
          task.next_attempt = now + Backoff(task.failures, random_);
        }
        break;
      case Verdict::kFinal:
        task.open = false;
        task.state = TaskState::kFailed;
        break;
    }
    if (task.state == TaskState::kWaiting && !asked) retry = RetryReason(verdict, status);
  }
  const std::string task_id = TaskId(job, number);
  change.put.push_back(task);
  // The stream may still carry its end.
  if (last != nullptr) {
    live.run->Next();
    closing_[live.stream] = std::move(live.run);
  }
  ReleaseStream(before, live);
  if (!Save({std::move(change)}).ok()) {
    // It is still stored as running: the same attempt is sent again and answered with the same end.
    live.not_before = store_retry_;
    return;
  }
  if (!retry.empty()) metrics_.TaskRetried(retry);
  Log(task.error.ok() ? LogLevel::kInfo : LogLevel::kWarning, "task ended its try",
      {{"job", active.record.job.id},
       {"task", task_id},
       {"node", task.node},
       {"state", TaskStateName(task.state)},
       {"attempt", task.attempt},
       {"error", task.error}});
  if (!task.open) {
    active.live.erase(number);
    return;
  }
  live.pending.reset();
  if (lost) ++live.lost;
}

void Loop::StoreProgress(bool all) {
  const absl::Time now = Now();
  if (!all && store_retry_ > now) return WakeBy(store_retry_);
  std::vector<JobChange> changes;
  std::vector<Live*> stored;
  for (auto& [sequence, active] : active_) {
    JobChange change;
    for (auto& [number, live] : active.live) {
      if (!live.pending) continue;
      if (!all && live.stored + kStoreEvery > now) {
        WakeBy(live.stored + kStoreEvery);
        continue;
      }
      Task task = *FindTask(active, number);
      CountRun(task, live.pending->run_id, live.pending->totals, active.plan.StartsOver());
      change.put.push_back(std::move(task));
      stored.push_back(&live);
    }
    if (change.put.empty()) continue;
    change.job = active.record.job;
    changes.push_back(std::move(change));
  }
  if (changes.empty()) return;
  if (!Save(std::move(changes)).ok()) return WakeBy(store_retry_);
  for (Live* live : stored) {
    live->pending.reset();
    live->stored = now;
  }
}

// Stopping.

void Loop::SendCancels() {
  const absl::Time now = Now();
  if (fenced_) return;
  for (auto& [sequence, active] : active_) {
    const Job& job = active.record.job;
    if (job.wanted == Wanted::kRun) continue;
    std::vector<uint32_t> open;
    for (const Task& task : active.record.tasks) {
      if (task.open && !Ended(task.state)) open.push_back(task.number);
    }
    for (uint32_t number : open) {
      const Task& task = *FindTask(active, number);
      Live& live = active.live[number];
      if (live.cancel_in_flight) continue;
      if (live.next_cancel > now) {
        WakeBy(live.next_cancel);
        continue;
      }
      live.next_cancel = now + kCancelEvery;
      WakeBy(live.next_cancel);
      const NodeEntry* node = nodes_.Find(task.node);
      if (node == nullptr || node->state == NodeState::kLost) {
        // It will not come back to tell of the task, which may go on there.
        if (live.run == nullptr) CloseTask(active, number, node ? node->error : NodeUnknown(task.node));
        continue;
      }
      if (node->addresses.empty()) continue;
      if (live.cancel_taken && live.run == nullptr && node->state == NodeState::kUp) {
        // Ask for the last figures.
        Task attached = task;
        attached.state = TaskState::kRunning;
        JobChange change;
        change.job = job;
        change.put.push_back(std::move(attached));
        if (Save({std::move(change)}).ok()) StartStream(active, *FindTask(active, number));
        continue;
      }
      live.cancel_in_flight = true;
      const Place place{sequence, number};
      link_.CancelTask(
          node->endpoint, TaskId(job, number), epoch_, [this, mailbox = mailbox_, place](absl::Status s) {
            mailbox->PostNews([this, place, status = std::move(s)] { CancelDone(place, status); });
          });
    }
  }
}

void Loop::CancelDone(Place place, const absl::Status& status) {
  const auto found = active_.find(place.sequence);
  if (found == active_.end()) return;
  Active& active = found->second;
  const auto live = active.live.find(place.number);
  // Else the task ended meanwhile.
  if (live == active.live.end() || !live->second.cancel_in_flight) return;
  live->second.cancel_in_flight = false;
  if (status.ok()) {
    live->second.cancel_taken = true;
    // Without a stream the last figures are asked for at once.
    if (live->second.run == nullptr) live->second.next_cancel = absl::InfinitePast();
    return;
  }
  if (ReasonOf(status) == "STALE_EPOCH") return Fence(FindTask(active, place.number)->node);
  if (!absl::IsNotFound(status)) {
    Log(LogLevel::kWarning, "cancel failed; repeating",
        {{"task", TaskId(active.record.job, place.number)}, {"error", status}});
    return;
  }
  if (live->second.run != nullptr) {
    live->second.next_cancel = Now() + kCancelAgain;
    return;
  }
  CloseTask(active, place.number, absl::OkStatus());
}

// No run of the task exists any more, or none will be heard of.
void Loop::CloseTask(Active& active, uint32_t number, const absl::Status& why) {
  Task task = *FindTask(active, number);
  task.open = false;
  task.error = why;
  task.next_attempt = absl::InfinitePast();
  task.waiting_since = Now();
  task.state = active.record.job.wanted == Wanted::kCancel ? TaskState::kCancelled : TaskState::kWaiting;
  JobChange change;
  change.job = active.record.job;
  change.put.push_back(std::move(task));
  if (Save({std::move(change)}).ok()) active.live.erase(number);
}

void Loop::Fence(const std::string& node) {
  if (fenced_) return;
  fenced_ = true;
  Log(LogLevel::kError, "another controller rules the nodes: this one dispatches nothing more",
      {{"node", node}, {"epoch", epoch_}});
}

// Calls.

absl::StatusOr<JobRecord> Loop::GetJob(const std::string& id) {
  const Active* active = FindActive(id);
  if (active != nullptr) return View(*active);
  return store_.Get(id);
}

absl::StatusOr<std::vector<JobRecord>> Loop::ListJobs(const std::vector<JobState>& states, uint64_t before,
                                                      size_t limit) {
  return store_.List(states, before, limit);
}

absl::StatusOr<JobRecord> Loop::SetWanted(const std::string& id, Wanted wanted) {
  Active* active = FindActive(id);
  if (active == nullptr || Ended(active->record.job.state)) {
    ASSIGN_OR_RETURN(JobRecord record, GetJob(id));
    if (wanted != Wanted::kCancel) return JobEnded();
    return record;
  }
  const Wanted before = active->record.job.wanted;
  if (before == wanted) return View(*active);
  if (before == Wanted::kCancel) return JobEnded();
  JobChange change;
  change.job = active->record.job;
  change.job.wanted = wanted;
  if (wanted == Wanted::kCancel) {
    for (Task task : active->record.tasks) {
      if (Ended(task.state) || task.open) continue;
      task.state = TaskState::kCancelled;
      task.next_attempt = absl::InfinitePast();
      change.put.push_back(std::move(task));
    }
  }
  RETURN_IF_ERROR(Save({std::move(change)}));
  for (auto& [number, live] : active->live) live.next_cancel = absl::InfinitePast();
  Log(LogLevel::kInfo, "job changed", {{"job", id}, {"wanted", WantedName(wanted)}});
  return View(*active);
}

absl::StatusOr<JobRecord> Loop::CancelJob(const std::string& id) { return SetWanted(id, Wanted::kCancel); }
absl::StatusOr<JobRecord> Loop::PauseJob(const std::string& id) { return SetWanted(id, Wanted::kPause); }
absl::StatusOr<JobRecord> Loop::ResumeJob(const std::string& id) { return SetWanted(id, Wanted::kRun); }

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
  const uint64_t watch = ++last_watch_;
  const uint64_t sequence = record.job.sequence;
  const uint64_t revision = record.job.revision;
  const bool ended = Ended(record.job.state);
  watcher(std::make_shared<const JobRecord>(std::move(record)));
  if (!ended) {
    active_.at(sequence).watchers[watch] = {std::move(watcher), revision};
    watches_[watch] = sequence;
  }
  return watch;
}

void Loop::Unwatch(uint64_t watch) {
  const auto found = watches_.find(watch);
  if (found == watches_.end()) return;
  active_.at(found->second).watchers.erase(watch);
  watches_.erase(found);
}

void Loop::Notify() {
  const absl::Time now = Now();
  for (auto it = active_.begin(); it != active_.end();) {
    Active& active = it->second;
    const bool ended = Ended(active.record.job.state);
    if (!ended && (!active.changed || active.next_notice > now)) {
      if (active.changed) WakeBy(active.next_notice);
      ++it;
      continue;
    }
    if (!active.watchers.empty()) {
      absl::StatusOr<JobRecord> view = View(active);
      std::shared_ptr<const JobRecord> shared;
      if (view.ok()) {
        shared = std::make_shared<const JobRecord>(*std::move(view));
      } else {
        Log(LogLevel::kError, "store read failed", {{"error", view.status()}});
      }
      // Without the results the end cannot be told: the watch breaks off.
      if (shared != nullptr || ended) {
        for (auto& [number, watch] : active.watchers) {
          if (shared != nullptr && watch.told == shared->job.revision) continue;
          watch.told = active.record.job.revision;
          watch.watcher(shared);
        }
      }
    }
    active.changed = false;
    active.next_notice = now + kNoticeEvery;
    if (!ended) {
      ++it;
      continue;
    }
    for (const auto& [number, watch] : active.watchers) watches_.erase(number);
    sequence_of_.erase(active.record.job.id);
    it = active_.erase(it);
  }
}

void Loop::Publish() {
  const absl::Time now = Now();
  if (next_publish_ > now) return active_.empty() ? void() : WakeBy(next_publish_);
  next_publish_ = now + kPublishEvery;
  if (!active_.empty()) WakeBy(next_publish_);
  metrics_.SetJobs(counts_);
  std::map<TaskState, uint64_t> tasks;
  absl::Time oldest = now;
  for (const auto& [sequence, active] : active_) {
    for (const Task& task : active.record.tasks) {
      ++tasks[task.state];
      if (task.state == TaskState::kWaiting) oldest = std::min(oldest, task.waiting_since);
    }
  }
  metrics_.SetTasks(tasks);
  metrics_.SetOldestTaskAge(now - oldest);
  std::map<std::string, uint64_t> nodes;
  for (const auto& [name, node] : nodes_.nodes()) ++nodes[std::string(NodeStateName(node.state))];
  for (const auto& [address, entry] : nodes_.addresses()) {
    if (entry.name.empty()) ++nodes[std::string(NodeStateName(entry.state))];
  }
  metrics_.SetNodes(nodes);
}

}  // namespace cowherd
