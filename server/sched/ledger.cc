#include "server/sched/ledger.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/reasons.h"

namespace cowherd {
namespace {

constexpr absl::Duration kNoticeEvery = absl::Milliseconds(200);
// To show a job costs time for each of its tasks.
constexpr absl::Duration kNoticePerTask = absl::Microseconds(50);
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

Ledger::Ledger(JobStore& store, const Clock& clock, ControllerMetrics& metrics, size_t max_watches,
               Listeners listeners)
    : store_(store),
      clock_(clock),
      metrics_(metrics),
      max_watches_(max_watches),
      listeners_(std::move(listeners)) {}

absl::Status Ledger::CountJobs() {
  ASSIGN_OR_RETURN(counts_, store_.CountByState());
  return absl::OkStatus();
}

absl::StatusOr<const ActiveJob*> Ledger::Create(JobRecord record, JobPlan plan) {
  ASSIGN_OR_RETURN(JobStore::Created created, store_.Create(std::move(record)));
  ++counts_[created.record.job.state];
  moved_ = true;
  return &TakeUp(std::move(created.record), std::move(plan));
}

absl::Status Ledger::Save(std::vector<JobChange> changes) {
  const absl::Time wall = Wall();
  for (JobChange& change : changes) {
    if (absl::Status status = table_.Complete(change, wall); !status.ok()) {
      LogFew(LogLevel::kError, "illegal change of a job; repeating",
             {{"job", change.job.id}, {"error", status}});
      retry_ = Now() + kRetryAfter;
      return status;
    }
  }
  if (absl::Status status = store_.Write(changes); !status.ok()) {
    Log(LogLevel::kError, "store write failed", {{"error", status}});
    retry_ = Now() + kRetryAfter;
    return status;
  }
  for (JobChange& change : changes) {
    const ActiveJob& active = *table_.Find(change.job.sequence);
    const Job& job = active.job;
    const JobState before = job.state;
    metrics_.CountProgress(job.totals, change.job.totals);
    table_.Apply(std::move(change));
    listeners_.saved(active);
    if (watches_.Watched(job.sequence)) {
      watches_.Changed(job.sequence, std::max(kNoticeEvery, kNoticePerTask * active.tasks.size()));
    }
    if (job.state != before) Moved(job, before);
  }
  return absl::OkStatus();
}

void Ledger::Moved(const Job& job, JobState before) {
  --counts_[before];
  ++counts_[job.state];
  moved_ = true;
  if (!Ended(job.state)) return;
  recount_ = true;
  watches_.Ended(job.sequence);
  metrics_.JobFinished(job.state, job.ended - job.created);
  listeners_.ended(job);
  Log(LogLevel::kInfo, "job ended",
      {{"job", job.id},
       {"state", JobStateName(job.state)},
       {"bytes_scanned", job.totals.bytes_scanned},
       {"bytes_accepted", job.totals.bytes_accepted},
       {"bytes_won", job.totals.bytes_won}});
}

absl::StatusOr<JobView> Ledger::View(const ActiveJob& active) {
  JobView view{active.Record(), absl::nullopt, absl::OkStatus()};
  if (Ended(active.job.state)) {
    // They may be large: not for each step of a job that runs.
    ASSIGN_OR_RETURN(view.results, store_.Results(view.job.id));
  } else {
    listeners_.explain(active, view);
  }
  return view;
}

absl::StatusOr<JobView> Ledger::Get(const std::string& id) {
  const ActiveJob* active = table_.Find(id);
  if (active != nullptr) return View(*active);
  ASSIGN_OR_RETURN(JobRecord record, store_.Get(id));
  return JobView{std::move(record), absl::nullopt, absl::OkStatus()};
}

absl::Status Ledger::Delete(const std::string& id) {
  ASSIGN_OR_RETURN(const JobView view, Get(id));
  if (!Ended(view.job.state)) return JobActive();
  RETURN_IF_ERROR(store_.Delete(id));
  --counts_[view.job.state];
  moved_ = true;
  Log(LogLevel::kInfo, "job deleted", {{"job", id}});
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Ledger::Watch(const std::string& id, Watcher watcher) {
  if (watches_.size() >= max_watches_) return TooManyWatches(watches_.size());
  ASSIGN_OR_RETURN(JobView view, Get(id));
  const uint64_t sequence = view.job.sequence;
  const uint64_t revision = view.job.revision;
  const bool ended = Ended(view.job.state);
  watcher(std::make_shared<const JobView>(std::move(view)));
  return ended ? 0 : watches_.Add(sequence, std::move(watcher), revision);
}

std::vector<uint64_t> Ledger::Tell() {
  const absl::Time now = Now();
  std::vector<uint64_t> over;
  for (const uint64_t sequence : watches_.Due(now)) {
    watches_.Done(sequence);
    const ActiveJob* active = table_.Find(sequence);
    if (active == nullptr) continue;
    const bool ended = Ended(active->job.state);
    if (watches_.Watched(sequence)) {
      absl::StatusOr<JobView> view = View(*active);
      if (view.ok()) {
        watches_.Tell(sequence, std::make_shared<const JobView>(*std::move(view)), now);
      } else {
        Log(LogLevel::kError, "store read failed", {{"error", view.status()}});
        // Without the results the end cannot be told: the watch breaks off.
        if (ended) watches_.Tell(sequence, nullptr, now);
      }
    }
    if (!ended) continue;
    watches_.Drop(sequence);
    over.push_back(sequence);
  }
  return over;
}

void Ledger::Publish() {
  const absl::Time now = Now();
  if (std::exchange(recount_, false)) {
    if (absl::Status status = CountJobs(); !status.ok()) {
      Log(LogLevel::kError, "store read failed", {{"error", status}});
      recount_ = true;
    }
  }
  metrics_.SetJobs(counts_);
  metrics_.SetTasks(table_.CountTasks());
  metrics_.SetOldestTaskAge(now - std::min(now, table_.oldest_waiting()));
}

}  // namespace cowherd
