#ifndef COWHERD_SERVER_SCHED_LEDGER_H_
#define COWHERD_SERVER_SCHED_LEDGER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/job_table.h"
#include "server/sched/job_view.h"
#include "server/sched/plan.h"
#include "server/sched/watches.h"

namespace cowherd {

// The jobs, in the store first and then in memory, and those who watch them. What it shows or tells anybody
// is in the store already. One thread.
class Ledger {
 public:
  struct Listeners {
    // Adds to the view of a job that has not ended what is not kept with it.
    std::function<void(const ActiveJob&, JobView&)> explain;
    // A change of the job was stored and taken over; from within Save.
    std::function<void(const ActiveJob&)> saved;
    // The same, and the job has ended by it.
    std::function<void(const Job&)> ended;
  };

  // All must outlive it.
  Ledger(JobStore& store, const Clock& clock, ControllerMetrics& metrics, size_t max_watches,
         Listeners listeners);
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // As the clock's, as exact as the store keeps it.
  absl::Time Now() const { return absl::FromUnixMicros(absl::ToUnixMicros(clock_.Now())); }
  absl::Time Wall() const { return absl::FromUnixMicros(absl::ToUnixMicros(clock_.Wall())); }
  // What makes Wall() of Now(), at this moment.
  absl::Duration Ahead() const { return Wall() - Now(); }

  // How many jobs the store has. Once, first.
  absl::Status CountJobs();

  const JobTable& table() const { return table_; }
  // The job as the store has it.
  const ActiveJob& TakeUp(JobRecord record, JobPlan plan) {
    return table_.Add(std::move(record), std::move(plan));
  }
  // Stores a new job and takes it up. As JobStore::Create.
  absl::StatusOr<const ActiveJob*> Create(JobRecord record, JobPlan plan);
  // Stores all changes at once and takes them over; on an error nothing has changed. INTERNAL: as
  // JobTable::Complete.
  absl::Status Save(std::vector<JobChange> changes);
  // After a failed Save, when to try again. InfinitePast: it has not failed.
  absl::Time retry() const { return retry_; }

  absl::StatusOr<JobView> View(const ActiveJob& active);
  // As JobStore's.
  absl::StatusOr<JobView> Get(const std::string& id);
  // FAILED_PRECONDITION "JOB_ACTIVE".
  absl::Status Delete(const std::string& id);

  // As the loop's.
  absl::StatusOr<uint64_t> Watch(const std::string& id, Watcher watcher);
  void Unwatch(uint64_t watch) { watches_.Remove(watch); }
  // Tells watchers what is due. Returns the jobs that have ended, of which nothing is left to tell; each is
  // to be let go.
  std::vector<uint64_t> Tell();
  void LetGo(uint64_t job) { table_.Remove(job); }
  // When to call it again.
  absl::Time wake() const { return watches_.wake(); }
  // Tells all watchers that nothing more will come.
  void Close() { watches_.Close(); }

  // Jobs came or went, or went from one state to another, since it was asked last.
  bool TakeMoved() { return std::exchange(moved_, false); }
  // Sets the metrics that tell how many jobs and tasks there are.
  void Publish();

 private:
  void Moved(const Job& job, JobState before);

  JobStore& store_;
  const Clock& clock_;
  ControllerMetrics& metrics_;
  const size_t max_watches_;
  const Listeners listeners_;
  JobTable table_;
  Watches watches_;
  absl::Time retry_ = absl::InfinitePast();
  std::map<JobState, uint64_t> counts_;
  bool moved_ = true;
  // A store may forget the oldest of the jobs that have ended as another one ends.
  bool recount_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_LEDGER_H_
