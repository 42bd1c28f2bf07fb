#include "server/sched/schedules.h"

#include <algorithm>
#include <utility>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/reasons.h"

namespace cowherd {
namespace {

constexpr absl::string_view kKind = "schedule";
constexpr absl::Duration kStartAgain = absl::Seconds(10);
// Where it waits for nodes to be known, which takes a moment.
constexpr absl::Duration kAskAgain = absl::Seconds(1);
constexpr absl::Duration kStoreRetry = absl::Seconds(1);
// Schedules that one step carries out at most. Each takes some three writes of the store, one after the
// other: what else the loop has to do, calls, stops and reports, is not to wait for a thousand of them.
constexpr size_t kMaxActs = 8;

RunState StateOf(const Job& job) {
  if (!Ended(job.state)) return RunState::kActive;
  return job.state == JobState::kSucceeded ? RunState::kSucceeded : RunState::kFailed;
}

void SetJob(ScheduledRun& run, const Job& job) {
  run.job = job.id;
  run.state = StateOf(job);
}

absl::Status Unknown(const std::string& name) {
  return MakeError(
      absl::StatusCode::kNotFound, "SCHEDULE_UNKNOWN",
      absl::StrCat("no schedule is called \"", name, "\"; list the schedules to see their names"));
}

// A run that was due before this is not missed, as far as the store can tell: the schedule was made, changed
// or resumed since.
absl::Time AwaitedFrom(const Schedule& schedule) {
  const bool changed_since = schedule.runs.empty() || schedule.decided_to > schedule.runs.back().time;
  const bool keeps_none = schedule.spec.rules.keep_succeeded == 0;
  return changed_since || keeps_none ? schedule.decided_to : schedule.created;
}

void DropStarting(Schedule& schedule) {
  std::vector<ScheduledRun>& runs = schedule.runs;
  runs.erase(std::remove_if(runs.begin(), runs.end(),
                            [](const ScheduledRun& run) { return run.state == RunState::kStarting; }),
             runs.end());
}

}  // namespace

Schedules::Schedules(JobStore& store, Loop& loop, const Clock& clock, ScheduleCodec codec,
                     ControllerMetrics& metrics, absl::BitGenRef random)
    : store_(store),
      loop_(loop),
      clock_(clock),
      codec_(std::move(codec)),
      metrics_(metrics),
      random_(random) {
  loop_.OnJobEnded([this](const Job& job) { JobEnded(job); });
}

// As exact as the store keeps it.
absl::Time Schedules::Now() const { return absl::FromUnixMicros(absl::ToUnixMicros(clock_.Wall())); }

absl::Status Schedules::Recover() {
  entries_.clear();
  wake_ = absl::InfinitePast();
  ASSIGN_OR_RETURN(const auto records, store_.LoadRecords(kKind));
  for (const auto& [name, bytes] : records) {
    ASSIGN_OR_RETURN(Schedule schedule, codec_.read(bytes));
    std::vector<ScheduledRun> runs;
    for (ScheduledRun& run : schedule.runs) {
      if (run.state == RunState::kActive) {
        const absl::StatusOr<JobRecord> record = loop_.GetJob(run.job);
        if (absl::IsNotFound(record.status())) continue;
        if (!record.ok()) return record.status();
        run.state = StateOf(record->job);
      }
      runs.push_back(std::move(run));
    }
    schedule.runs = std::move(runs);
    Entry entry{std::move(schedule), bytes};
    entry.awaited_from = AwaitedFrom(entry.schedule);
    TellMetrics(entries_.emplace(name, std::move(entry)).first->second);
  }
  return absl::OkStatus();
}

void Schedules::Step() {
  TakeEnded();
  const absl::Time now = Now();
  // What was planned means nothing to a clock that went back.
  if (now < last_step_) {
    for (auto& [name, entry] : entries_) LookSoon(entry);
  }
  last_step_ = now;
  if (now < wake_) return;
  wake_ = absl::InfiniteFuture();
  // A store that does not work fails them all alike.
  bool told = false;
  size_t acts = 0;
  auto next = entries_.upper_bound(last_act_);
  for (size_t i = 0; i < entries_.size(); ++i, ++next) {
    if (next == entries_.end()) next = entries_.begin();
    auto& [name, entry] = *next;
    if (entry.look_again <= now && acts < kMaxActs) {
      ++acts;
      last_act_ = name;
      if (const absl::Status status = Act(entry); !status.ok()) {
        if (!told)
          Log(LogLevel::kError, "schedule not carried out; repeating",
              {{"schedule", name}, {"error", status}});
        told = true;
        entry.look_again = now + kStoreRetry;
      }
    }
    wake_ = std::min(wake_, entry.look_again);
  }
}

absl::Status Schedules::Write(Entry& entry, Schedule next) {
  std::string bytes = codec_.write(next);
  if (bytes != entry.stored) RETURN_IF_ERROR(store_.PutRecord(kKind, next.name, bytes));
  entry.stored = std::move(bytes);
  entry.schedule = std::move(next);
  TellMetrics(entry);
  return absl::OkStatus();
}

void Schedules::TellMetrics(Entry& entry) {
  const Schedule& schedule = entry.schedule;
  for (const ScheduledRun& run : schedule.runs) {
    if (run.state == RunState::kSucceeded) entry.succeeded = std::max(entry.succeeded, run.time);
  }
  metrics_.SetSchedule(schedule.name,
                       {entry.succeeded, NextRunOf(schedule),
                        OverdueFrom(schedule.spec.rules, std::max(entry.succeeded, entry.awaited_from))});
}

absl::Status Schedules::Adopt(Schedule& schedule) {
  for (ScheduledRun& run : schedule.runs) {
    if (run.state != RunState::kStarting) continue;
    const absl::StatusOr<JobRecord> record =
        store_.FindRequest(RunRequestId(schedule.name, schedule.uid, run), schedule.spec.job);
    if (record.ok()) {
      SetJob(run, record->job);
      schedule.start_error = absl::OkStatus();
    } else if (!absl::IsNotFound(record.status())) {
      return record.status();
    }
  }
  return absl::OkStatus();
}

absl::Status Schedules::Cancel(const std::vector<std::string>& jobs) {
  for (const std::string& job : jobs) {
    absl::Status status = loop_.CancelJob(job).status();
    if (!status.ok() && !absl::IsNotFound(status)) return status;
  }
  return absl::OkStatus();
}

absl::Status Schedules::Act(Entry& entry) {
  Schedule next = entry.schedule;
  RETURN_IF_ERROR(Adopt(next));
  const ScheduleDecision decision = Decide(next.spec.rules, next.decided_to, next.runs, Now());
  if (decision.start && loop_.MayMissNodes(next.spec.plan)) {
    // The job that it may replace goes on meanwhile.
    LookAgain(entry, Now() + kAskAgain);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(Cancel(decision.cancel));
  for (size_t i = decision.forget.size(); i-- > 0;) {
    const auto run = next.runs.begin() + static_cast<std::ptrdiff_t>(decision.forget[i]);
    if (!run->job.empty()) {
      absl::Status status = loop_.DeleteJob(run->job);
      if (!status.ok() && !absl::IsNotFound(status)) return status;
    }
    next.runs.erase(run);
  }
  next.decided_to = decision.decided_to;
  if (decision.skipped) next.skipped = decision.skipped;
  if (decision.start) next.runs.push_back({*decision.start, RunState::kStarting, "", ""});
  RETURN_IF_ERROR(Write(entry, std::move(next)));
  if (decision.skipped) {
    metrics_.ScheduleRun(SkipReasonName(decision.skipped->reason));
    Log(LogLevel::kWarning, "run of a schedule skipped",
        {{"schedule", entry.schedule.name},
         {"time", absl::FormatTime(decision.skipped->time, absl::UTCTimeZone())},
         {"reason", SkipReasonName(decision.skipped->reason)},
         {"error", entry.schedule.start_error}});
  }
  LookAgain(entry, decision.look_again);
  return Start(entry);
}

absl::Status Schedules::Start(Entry& entry) {
  Schedule next = entry.schedule;
  for (ScheduledRun& run : next.runs) {
    if (run.state != RunState::kStarting) continue;
    const absl::StatusOr<JobRecord> record =
        loop_.CreateJob(next.spec.job, next.spec.plan, RunRequestId(next.name, next.uid, run));
    next.start_error = record.status();
    if (record.ok()) {
      SetJob(run, record->job);
      metrics_.ScheduleRun("STARTED");
      Log(LogLevel::kInfo, "run of a schedule started",
          {{"schedule", next.name},
           {"time", absl::FormatTime(run.time, absl::UTCTimeZone())},
           {"job", run.job}});
    } else {
      const bool soon = loop_.MayMissNodes(next.spec.plan);
      LookAgain(entry, std::min(entry.look_again, Now() + (soon ? kAskAgain : kStartAgain)));
      Log(LogLevel::kWarning, "run of a schedule cannot start",
          {{"schedule", next.name}, {"error", record.status()}});
    }
  }
  return Write(entry, std::move(next));
}

// Called while a schedule may be acted on: kept for later.
void Schedules::JobEnded(const Job& job) {
  if (!OriginOf(job.request_id)) return;
  ended_.push_back(job);
  wake_ = absl::InfinitePast();
}

void Schedules::TakeEnded() {
  for (const Job& job : std::exchange(ended_, {})) {
    const auto found = entries_.find(OriginOf(job.request_id)->name);
    if (found == entries_.end()) continue;
    for (ScheduledRun& run : found->second.schedule.runs) {
      if (run.job != job.id) continue;
      run.state = StateOf(job);
      // Before the run is forgotten.
      TellMetrics(found->second);
      LookSoon(found->second);
    }
  }
}

void Schedules::LookAgain(Entry& entry, absl::Time when) {
  entry.look_again = when;
  wake_ = std::min(wake_, when);
}

void Schedules::LookSoon(Entry& entry) { LookAgain(entry, absl::InfinitePast()); }

// Calls.

absl::StatusOr<Schedules::Entry*> Schedules::Find(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return Unknown(name);
  return &found->second;
}

absl::StatusOr<Schedule> Schedules::Create(const std::string& name, ScheduleSpec spec) {
  const auto found = entries_.find(name);
  if (found != entries_.end()) {
    if (found->second.schedule.spec.bytes == spec.bytes) return found->second.schedule;
    return MakeError(
        absl::StatusCode::kAlreadyExists, "SCHEDULE_EXISTS",
        absl::StrCat("another schedule is called \"", name, "\"; update it, or take another name"));
  }
  if (entries_.size() >= kMaxSchedules) {
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_SCHEDULES",
                     absl::StrCat("there are ", entries_.size(), " schedules; delete some"));
  }
  const absl::Time now = Now();
  Schedule schedule{name,
                    absl::StrFormat("%016x", absl::Uniform<uint64_t>(random_)),
                    1,
                    now,
                    std::move(spec),
                    now,
                    {},
                    absl::nullopt,
                    absl::OkStatus()};
  Entry entry{schedule, ""};
  entry.awaited_from = now;
  RETURN_IF_ERROR(Write(entry, std::move(schedule)));
  Entry& kept = entries_.emplace(name, std::move(entry)).first->second;
  LookSoon(kept);
  Log(LogLevel::kInfo, "schedule made", {{"schedule", name}});
  return kept.schedule;
}

absl::StatusOr<Schedule> Schedules::Get(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return Unknown(name);
  return found->second.schedule;
}

std::vector<Schedule> Schedules::List(const std::string& after, size_t limit) const {
  std::vector<Schedule> list;
  size_t bytes = 0;
  for (auto it = entries_.upper_bound(after); it != entries_.end() && list.size() < limit; ++it) {
    bytes += it->second.stored.size();
    if (!list.empty() && bytes > kListBytes) break;
    list.push_back(it->second.schedule);
  }
  return list;
}

absl::StatusOr<Schedule> Schedules::Update(const std::string& name, ScheduleSpec spec, uint64_t revision) {
  ASSIGN_OR_RETURN(Entry* const entry, Find(name));
  if (entry->schedule.spec.bytes == spec.bytes) return entry->schedule;
  if (revision != 0 && revision != entry->schedule.revision) {
    return MakeError(absl::StatusCode::kAborted, "SCHEDULE_CHANGED",
                     absl::StrCat("the schedule has revision ", entry->schedule.revision, ", not ", revision,
                                  "; get it and make the change again"));
  }
  // What is due already follows the old spec.
  TakeEnded();
  RETURN_IF_ERROR(Act(*entry));
  Schedule next = entry->schedule;
  DropStarting(next);
  next.spec = std::move(spec);
  next.start_error = absl::OkStatus();
  ++next.revision;
  next.decided_to = Now();
  const absl::Time before = std::exchange(entry->awaited_from, next.decided_to);
  if (absl::Status status = Write(*entry, std::move(next)); !status.ok()) {
    entry->awaited_from = before;
    return status;
  }
  LookSoon(*entry);
  Log(LogLevel::kInfo, "schedule changed", {{"schedule", name}, {"revision", entry->schedule.revision}});
  return entry->schedule;
}

absl::Status Schedules::Delete(const std::string& name) {
  RETURN_IF_ERROR(Find(name).status());
  RETURN_IF_ERROR(store_.DeleteRecord(kKind, name));
  entries_.erase(name);
  metrics_.ForgetSchedule(name);
  Log(LogLevel::kInfo, "schedule deleted", {{"schedule", name}});
  return absl::OkStatus();
}

absl::StatusOr<JobView> Schedules::RunNow(const std::string& name, std::string request) {
  ASSIGN_OR_RETURN(Entry* const entry, Find(name));
  if (request.empty()) request = absl::StrFormat("%016x", absl::Uniform<uint64_t>(random_));
  const auto find = [&request](std::vector<ScheduledRun>& runs) {
    return std::find_if(runs.begin(), runs.end(),
                        [&request](const ScheduledRun& run) { return run.request == request; });
  };
  // What is due already comes first.
  TakeEnded();
  RETURN_IF_ERROR(Act(*entry));
  const auto before = find(entry->schedule.runs);
  if (before != entry->schedule.runs.end() && !before->job.empty()) return loop_.GetJob(before->job);

  if (loop_.MayMissNodes(entry->schedule.spec.plan)) return NodesNotKnownYet();
  const std::vector<std::string> active = ActiveJobs(entry->schedule.runs);
  switch (entry->schedule.spec.rules.overlap) {
    case Overlap::kForbid:
      if (active.empty()) break;
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "SCHEDULE_BUSY",
          absl::StrCat("job ", active.back(), " of this schedule has not ended; wait for it or cancel it"));
    case Overlap::kReplace:
      RETURN_IF_ERROR(Cancel(active));
      break;
    case Overlap::kAllow:
      if (active.size() < kMaxActiveRuns) break;
      return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_RUNS",
                       absl::StrCat(active.size(), " jobs of this schedule have not ended"));
  }
  if (before == entry->schedule.runs.end()) {
    Schedule next = entry->schedule;
    next.runs.push_back({Now(), RunState::kStarting, "", request});
    RETURN_IF_ERROR(Write(*entry, std::move(next)));
  }
  RETURN_IF_ERROR(Start(*entry));
  const auto run = find(entry->schedule.runs);
  if (!run->job.empty()) return loop_.GetJob(run->job);

  // Whoever asked is told, and nothing is left behind.
  const absl::Status error = entry->schedule.start_error;
  Schedule next = entry->schedule;
  RETURN_IF_ERROR(Adopt(next));
  const auto left = find(next.runs);
  if (left->job.empty()) {
    next.runs.erase(left);
    next.start_error = absl::OkStatus();
  }
  RETURN_IF_ERROR(Write(*entry, std::move(next)));
  const auto adopted = find(entry->schedule.runs);
  return adopted == entry->schedule.runs.end() ? error : loop_.GetJob(adopted->job);
}

absl::Time Schedules::NextRunOf(const Schedule& schedule) const {
  return NextRun(schedule.spec.rules, schedule.decided_to, Now());
}

}  // namespace cowherd
