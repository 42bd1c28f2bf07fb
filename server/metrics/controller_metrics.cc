#include "server/metrics/controller_metrics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "server/metrics/scrape.h"

namespace cowherd {
namespace {

constexpr JobState kJobStates[] = {JobState::kPending,   JobState::kRunning, JobState::kPaused,
                                   JobState::kSucceeded, JobState::kFailed,  JobState::kCancelled};
constexpr TaskState kTaskStates[] = {TaskState::kWaiting, TaskState::kRunning, TaskState::kSucceeded,
                                     TaskState::kFailed, TaskState::kCancelled};

const prometheus::Histogram::BucketBoundaries kJobSeconds = {1,    3,    10,   30,    60,    180,   600,
                                                             1800, 3600, 7200, 14400, 28800, 57600, 86400};

constexpr const char* kScheduleOutcomes[] = {"STARTED", "MISSED", "STILL_RUNNING", "TOO_MANY_RUNS",
                                             "NOT_STARTED"};

prometheus::Family<prometheus::Gauge>& Gauges(prometheus::Registry& registry, const char* name,
                                              const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Counter>& Counters(prometheus::Registry& registry, const char* name,
                                                  const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

template <typename State>
void SetAll(const std::map<State, prometheus::Gauge*>& gauges, const std::map<State, uint64_t>& counts) {
  for (const auto& [state, gauge] : gauges) {
    const auto found = counts.find(state);
    gauge->Set(found == counts.end() ? 0 : static_cast<double>(found->second));
  }
}

}  // namespace

ControllerMetrics::ControllerMetrics(prometheus::Registry& registry, absl::string_view version,
                                     const std::vector<std::string>& retry_reasons,
                                     const std::vector<std::string>& store_operations) {
  Gauges(registry, "cowherd_build_info", "1; the labels tell the version.")
      .Add({{"version", std::string(version)}, {"component", "controller"}})
      .Set(1);
  auto& jobs =
      Gauges(registry, "cowherd_controller_jobs", "Jobs in the store by state. Deleted jobs do not count.");
  auto& finished = Counters(registry, "cowherd_controller_jobs_finished_total",
                            "Jobs that ended since this process began, by outcome.");
  auto& durations = prometheus::BuildHistogram()
                        .Name("cowherd_controller_job_duration_seconds")
                        .Help("Time from the making of a job to its end, pauses and closed windows included.")
                        .Register(registry);
  for (JobState state : kJobStates) {
    const std::string name(JobStateName(state));
    jobs_[state] = &jobs.Add({{"state", name}});
    if (!Ended(state)) continue;
    jobs_finished_[state] = &finished.Add({{"outcome", name}});
    job_durations_[state] = &durations.Add({{"outcome", name}}, kJobSeconds);
  }
  auto& tasks = Gauges(registry, "cowherd_controller_tasks",
                       "Tasks by state. Tasks of jobs that have ended do not count.");
  for (TaskState state : kTaskStates)
    tasks_[state] = &tasks.Add({{"state", std::string(TaskStateName(state))}});
  leads_ =
      &Gauges(registry, "cowherd_controller_leads", "1 if this controller leads, 0 if another does.").Add({});
  epoch_ = &Gauges(registry, "cowherd_controller_epoch",
                   "This controller's term of office with the nodes: higher than any before. 0: it has none.")
                .Add({});
  fenced_ = &Gauges(registry, "cowherd_controller_fenced",
                    "Nodes that obey a controller of a higher epoch: this one gives them no orders.")
                 .Add({});
  terms_ = &Counters(registry, "cowherd_controller_terms_total",
                     "How often this controller began to lead, since this process began.")
                .Add({});
  auto& nodes =
      Gauges(registry, "cowherd_controller_nodes",
             "Nodes known by state, as last probed. refused: different nodes have one name. lost: not up for "
             "--lost_after. vanished: no source names it any more, for a day at the most.");
  for (const char* state : {"unknown", "up", "down", "refused", "lost", "vanished"}) {
    nodes_[state] = &nodes.Add({{"state", state}});
  }
  nodes_lost_ = &Counters(registry, "cowherd_controller_nodes_lost_total",
                          "How often a node was lost since this process began.")
                     .Add({});
  tasks_given_up_ = &Counters(registry, "cowherd_controller_tasks_given_up_total",
                              "Tasks that failed because their nodes were lost, since this process began.")
                         .Add({});
  oldest_task_age_ = &Gauges(registry, "cowherd_controller_oldest_task_age_seconds",
                             "How long the task that waits longest has waited. 0: none waits.")
                          .Add({});
  paused_filesystems_ =
      &Gauges(registry, "cowherd_controller_paused_filesystems",
              "Filesystems that tasks found full, over quota, read-only or broken, and that are left alone "
              "for a while.")
           .Add({});
  auto& holds = Gauges(registry, "cowherd_controller_holds",
                       "What rests because somebody said so: the cluster, nodes and jobs.");
  for (const char* what : {"cluster", "node", "job"}) {
    for (const char* kind : {"pause", "drain"}) {
      holds_[{what, kind}] = &holds.Add({{"what", what}, {"kind", kind}});
    }
  }
  auto& runs =
      Counters(registry, "cowherd_controller_schedule_runs_total",
               "Runs of schedules that were due or asked for since this process began, by what became of "
               "them: started, or why they were skipped.");
  for (const char* outcome : kScheduleOutcomes) {
    schedule_runs_[outcome] = &runs.Add({{"outcome", absl::AsciiStrToLower(outcome)}});
  }
  auto& retries = Counters(registry, "cowherd_controller_task_retries_total",
                           "Tries of a task that ended and are followed by another, by reason.");
  for (const std::string& reason : retry_reasons) retries_[reason] = &retries.Add({{"reason", reason}});
  retries_["other"] = &retries.Add({{"reason", "other"}});
  scanned_ = &Counters(registry, "cowherd_controller_bytes_scanned_total",
                       "Bytes of data that tasks looked at, as reported since this process began.")
                  .Add({});
  requested_ = &Counters(registry, "cowherd_controller_bytes_requested_total",
                         "Bytes that tasks asked the kernel to share, as reported since this process began.")
                    .Add({});
  freeable_ =
      &Counters(registry, "cowherd_controller_bytes_freeable_total",
                "Space that tasks plan to free, dry runs included, as reported since this process began.")
           .Add({});
  moved_ = &Counters(registry, "cowherd_controller_bytes_moved_total",
                     "Unique data that tasks plan to copy so that the storage around it goes free, dry runs "
                     "included, as reported since this process began.")
                .Add({});
  accepted_ =
      &Counters(registry, "cowherd_controller_bytes_accepted_total",
                "Bytes that the kernel answered \"same\" for; not a saving. As reported since this process "
                "began.")
           .Add({});
  won_ = &Counters(registry, "cowherd_controller_bytes_won_total",
                   "Free space that came while tasks ran, as reported since this process began.")
              .Add({});
  lost_ = &Counters(registry, "cowherd_controller_bytes_lost_total",
                    "Free space that went while tasks ran, since others write too, as reported since this "
                    "process began. What came less what went is won.")
               .Add({});
  auto& operations = prometheus::BuildHistogram()
                         .Name("cowherd_store_operation_duration_seconds")
                         .Help("Time of one operation of the job store, the commit to disk included.")
                         .Register(registry);
  const prometheus::Histogram::BucketBoundaries bounds = {0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05,
                                                          0.1,    0.5,    1,     5,     10};
  for (const std::string& operation : store_operations) {
    for (const bool ok : {true, false}) {
      store_operations_[{operation, ok}] =
          &operations.Add({{"operation", operation}, {"outcome", ok ? "ok" : "error"}}, bounds);
    }
  }
}

void ControllerMetrics::SetJobs(const std::map<JobState, uint64_t>& counts) { SetAll(jobs_, counts); }

void ControllerMetrics::SetTasks(const std::map<TaskState, uint64_t>& counts) { SetAll(tasks_, counts); }

void ControllerMetrics::SetNodes(const std::map<std::string, uint64_t>& counts) { SetAll(nodes_, counts); }

void ControllerMetrics::SetLeads(bool leads) {
  leads_->Set(leads ? 1 : 0);
  if (!leads) TermEnds();
}

void ControllerMetrics::TermBegins(uint64_t epoch) {
  epoch_->Set(static_cast<double>(epoch));
  fenced_->Set(0);
  terms_->Increment();
}

void ControllerMetrics::SetFencedNodes(uint64_t nodes) { fenced_->Set(static_cast<double>(nodes)); }

void ControllerMetrics::TermEnds() {
  epoch_->Set(0);
  fenced_->Set(0);
  SetJobs({});
  SetTasks({});
  SetNodes({});
  SetHolds({});
  SetOldestTaskAge(absl::ZeroDuration());
  SetPausedFilesystems(0);
  std::lock_guard<std::mutex> lock(asked_for_->mutex);
  asked_for_->schedules.clear();
}

void ControllerMetrics::NodeLost() { nodes_lost_->Increment(); }

void ControllerMetrics::TaskGivenUp() { tasks_given_up_->Increment(); }

void ControllerMetrics::SetPausedFilesystems(uint64_t count) {
  paused_filesystems_->Set(static_cast<double>(count));
}

void ControllerMetrics::SetOldestTaskAge(absl::Duration age) {
  oldest_task_age_->Set(absl::ToDoubleSeconds(age));
}

void ControllerMetrics::SetHolds(const std::map<std::pair<std::string, std::string>, uint64_t>& counts) {
  SetAll(holds_, counts);
}

void ControllerMetrics::SetSchedule(const std::string& name, const ScheduleTimes& times) {
  std::lock_guard<std::mutex> lock(asked_for_->mutex);
  asked_for_->schedules[name] = times;
}

void ControllerMetrics::ForgetSchedule(const std::string& name) {
  std::lock_guard<std::mutex> lock(asked_for_->mutex);
  asked_for_->schedules.erase(name);
}

void ControllerMetrics::ScheduleRun(absl::string_view outcome) {
  schedule_runs_.at(std::string(outcome))->Increment();
}

void ControllerMetrics::JobFinished(JobState outcome, absl::Duration took) {
  jobs_finished_.at(outcome)->Increment();
  job_durations_.at(outcome)->Observe(absl::ToDoubleSeconds(took));
}

void ControllerMetrics::TaskRetried(absl::string_view reason) {
  const auto found = retries_.find(std::string(reason));
  (found != retries_.end() ? found->second : retries_["other"])->Increment();
}

void ControllerMetrics::CountProgress(const Totals& before, const Totals& after) {
  const auto count = [](prometheus::Counter* counter, uint64_t from, uint64_t to) {
    if (to > from) counter->Increment(static_cast<double>(to - from));
  };
  count(scanned_, before.bytes_scanned, after.bytes_scanned);
  count(requested_, before.bytes_requested, after.bytes_requested);
  count(freeable_, before.bytes_freeable, after.bytes_freeable);
  count(moved_, before.bytes_moved, after.bytes_moved);
  count(accepted_, before.bytes_accepted, after.bytes_accepted);
  const int64_t won = after.bytes_won - before.bytes_won;
  (won > 0 ? won_ : lost_)->Increment(std::abs(static_cast<double>(won)));
}

ControllerMetrics::StoreOperation::StoreOperation(ControllerMetrics& metrics, const char* name)
    : metrics_(metrics), name_(name) {
  std::lock_guard<std::mutex> lock(metrics_.asked_for_->mutex);
  metrics_.asked_for_->store_operations.insert(begin_);
}

ControllerMetrics::StoreOperation::~StoreOperation() {
  std::lock_guard<std::mutex> lock(metrics_.asked_for_->mutex);
  auto& running = metrics_.asked_for_->store_operations;
  running.erase(running.find(begin_));
}

void ControllerMetrics::StoreOperation::Ended(bool ok) {
  const auto found = metrics_.store_operations_.find({name_, ok});
  if (found == metrics_.store_operations_.end()) return;
  found->second->Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count());
}

std::vector<prometheus::MetricFamily> ControllerMetrics::AskedFor::Collect() const {
  Scrape scrape;
  std::unique_lock<std::mutex> lock(mutex);
  std::vector<std::pair<std::string, ScheduleTimes>> told(schedules.begin(), schedules.end());
  double oldest = 0;
  if (!store_operations.empty()) {
    oldest =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - *store_operations.begin()).count();
  }
  lock.unlock();

  scrape.Gauge("cowherd_store_oldest_operation_seconds",
               "How long the operation of the job store that has run longest has not ended. 0: none runs.",
               {}, oldest);
  scrape.Gauge("cowherd_controller_schedules", "Schedules, suspended ones too.", {},
               static_cast<double>(told.size()));
  const size_t left_out = told.size() - std::min(told.size(), kMaxScheduleSeries);
  scrape.Gauge("cowherd_controller_schedules_left_out",
               "Schedules that have no series of their own: beyond 200, those that are overdue last.", {},
               static_cast<double>(left_out));
  std::stable_sort(told.begin(), told.end(), [](const auto& a, const auto& b) {
    return a.second.overdue_from < b.second.overdue_from;
  });
  told.resize(told.size() - left_out);
  const auto add = [&scrape](const char* name, const char* help, const std::string& schedule,
                             absl::Time time) {
    if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return;
    scrape.Gauge(name, help, {{"schedule", schedule}}, absl::ToDoubleSeconds(time - absl::UnixEpoch()));
  };
  for (const auto& [name, times] : told) {
    add("cowherd_controller_schedule_last_success_timestamp_seconds",
        "When the last run of the schedule that succeeded was due.", name, times.last_success);
    add("cowherd_controller_schedule_next_run_timestamp_seconds",
        "When the next run of the schedule is due. None: it is suspended.", name, times.next_run);
    add("cowherd_controller_schedule_overdue_timestamp_seconds",
        "From when on two runs of the schedule that were due have not succeeded. None: it is suspended.",
        name, times.overdue_from);
  }
  return scrape.Take();
}

}  // namespace cowherd
