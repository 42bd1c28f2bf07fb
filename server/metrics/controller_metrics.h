#ifndef COWHERD_SERVER_METRICS_CONTROLLER_METRICS_H_
#define COWHERD_SERVER_METRICS_CONTROLLER_METRICS_H_

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"

namespace cowherd {

// The most schedules that have series of their own.
inline constexpr size_t kMaxScheduleSeries = 200;

// When a schedule last did well, and when it is to do so again.
struct ScheduleTimes {
  // When the last run that succeeded was due. InfinitePast: none is known.
  absl::Time last_success = absl::InfinitePast();
  // InfiniteFuture: it is suspended. Both.
  absl::Time next_run = absl::InfiniteFuture();
  absl::Time overdue_from = absl::InfiniteFuture();
};

// Every metric of the controller but those of gRPC. All series are there from the start, but those of
// schedules. Any thread; counts are in memory, so a scrape never waits for the store.
class ControllerMetrics {
 public:
  // `retry_reasons` and `store_operations` bound those labels; others count as "other".
  ControllerMetrics(prometheus::Registry& registry, absl::string_view version,
                    const std::vector<std::string>& retry_reasons,
                    const std::vector<std::string>& store_operations);

  // For the /metrics endpoint, beside the registry: values that are asked for at each scrape.
  std::shared_ptr<prometheus::Collectable> collectable() const { return asked_for_; }

  // A term of office with the nodes.
  void TermBegins(uint64_t epoch);
  // How many nodes obey a controller of a higher epoch.
  void SetFencedNodes(uint64_t nodes);
  // What only the controller that leads can tell goes to 0, or away.
  void TermEnds();

  // States left out are 0.
  void SetJobs(const std::map<JobState, uint64_t>& counts);
  void SetTasks(const std::map<TaskState, uint64_t>& counts);
  // By NodeState's name; "vanished": those that no source names.
  void SetNodes(const std::map<std::string, uint64_t>& counts);
  void SetPausedFilesystems(uint64_t count);
  void SetOldestTaskAge(absl::Duration age);
  // How many of {"cluster" "node" "job", "pause" "drain"} rest by somebody's word. Those left out: none.
  void SetHolds(const std::map<std::pair<std::string, std::string>, uint64_t>& counts);

  // Whether this controller leads. Where it does not, what only the leader knows is 0.
  void SetLeads(bool leads);
  void NodeLost();
  void TaskGivenUp();
  void SetSchedule(const std::string& name, const ScheduleTimes& times);
  void ForgetSchedule(const std::string& name);

  // "STARTED", or why it was skipped: "MISSED", ...
  void ScheduleRun(absl::string_view outcome);
  // In a state that ends; `took` since it was made.
  void JobFinished(JobState outcome, absl::Duration took);
  void TaskRetried(absl::string_view reason);
  // What a task's totals were and are now.
  void CountProgress(const Totals& before, const Totals& after);

  // An operation of the store, from here until Ended, or until it goes: then nothing is counted. One thread.
  class StoreOperation {
   public:
    StoreOperation(ControllerMetrics& metrics, const char* name);
    ~StoreOperation();
    StoreOperation(const StoreOperation&) = delete;
    StoreOperation& operator=(const StoreOperation&) = delete;
    void Ended(bool ok);

   private:
    ControllerMetrics& metrics_;
    const char* const name_;
    const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  };

 private:
  // What a scrape asks for.
  class AskedFor final : public prometheus::Collectable {
   public:
    std::vector<prometheus::MetricFamily> Collect() const override;

    mutable std::mutex mutex;
    std::map<std::string, ScheduleTimes> schedules;
    std::multiset<std::chrono::steady_clock::time_point> store_operations;
  };

  const std::shared_ptr<AskedFor> asked_for_ = std::make_shared<AskedFor>();
  prometheus::Gauge* leads_;
  prometheus::Gauge* epoch_;
  prometheus::Gauge* fenced_;
  prometheus::Counter* terms_;
  std::map<JobState, prometheus::Gauge*> jobs_;
  std::map<JobState, prometheus::Counter*> jobs_finished_;
  std::map<JobState, prometheus::Histogram*> job_durations_;
  std::map<TaskState, prometheus::Gauge*> tasks_;
  std::map<std::string, prometheus::Gauge*> nodes_;
  prometheus::Counter* nodes_lost_;
  prometheus::Counter* tasks_given_up_;
  prometheus::Gauge* oldest_task_age_;
  prometheus::Gauge* paused_filesystems_;
  std::map<std::pair<std::string, std::string>, prometheus::Gauge*> holds_;
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
