#ifndef COWHERD_SERVER_METRICS_CONTROLLER_METRICS_H_
#define COWHERD_SERVER_METRICS_CONTROLLER_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"

namespace cowherd {

// Every metric of the controller but those of gRPC. All series are there from the start. Any thread; counts
// are in memory, so a scrape never waits for the store.
class ControllerMetrics {
 public:
  // `retry_reasons` and `store_operations` bound those labels; others count as "other".
  ControllerMetrics(prometheus::Registry& registry, absl::string_view version,
                    const std::vector<std::string>& retry_reasons,
                    const std::vector<std::string>& store_operations);

  // States left out are 0.
  void SetJobs(const std::map<JobState, uint64_t>& counts);
  void SetTasks(const std::map<TaskState, uint64_t>& counts);
  // By NodeState's name; "vanished": those that no source names.
  void SetNodes(const std::map<std::string, uint64_t>& counts);
  void SetPausedFilesystems(uint64_t count);
  void SetOldestTaskAge(absl::Duration age);

  // Whether this controller leads. Where it does not, what only the leader knows is 0.
  void SetLeads(bool leads);
  void NodeLost();
  void TaskGivenUp();
  void SetSchedules(size_t count);

  // "STARTED", or why it was skipped: "MISSED", ...
  void ScheduleRun(absl::string_view outcome);
  // In a state that ends; `took` since it was made.
  void JobFinished(JobState outcome, absl::Duration took);
  void TaskRetried(absl::string_view reason);
  // What a task's totals were and are now.
  void CountProgress(const Totals& before, const Totals& after);
  void StoreOperation(absl::string_view operation, bool ok, absl::Duration took);

 private:
  prometheus::Gauge* leads_;
  std::map<JobState, prometheus::Gauge*> jobs_;
  std::map<JobState, prometheus::Counter*> jobs_finished_;
  std::map<JobState, prometheus::Histogram*> job_durations_;
  std::map<TaskState, prometheus::Gauge*> tasks_;
  std::map<std::string, prometheus::Gauge*> nodes_;
  prometheus::Counter* nodes_lost_;
  prometheus::Counter* tasks_given_up_;
  prometheus::Gauge* oldest_task_age_;
  prometheus::Gauge* paused_filesystems_;
  prometheus::Gauge* schedules_;
  std::map<std::string, prometheus::Counter*> schedule_runs_;
  std::map<std::string, prometheus::Counter*> retries_;
  prometheus::Counter* scanned_;
  prometheus::Counter* requested_;
  prometheus::Counter* freeable_;
  prometheus::Counter* moved_;
  prometheus::Counter* accepted_;
  prometheus::Counter* won_;
  prometheus::Counter* lost_;
  std::map<std::pair<std::string, bool>, prometheus::Histogram*> store_operations_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_METRICS_CONTROLLER_METRICS_H_
