#ifndef COWHERD_SERVER_SCHED_SCHEDULES_H_
#define COWHERD_SERVER_SCHED_SCHEDULES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/base/clock.h"
#include "server/jobs/job_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/loop.h"
#include "server/sched/plan.h"
#include "server/sched/schedule.h"

namespace cowherd {

inline constexpr size_t kMaxSchedules = 1'000;

struct ScheduleSpec {
  // As it was asked for. Opaque here; the same bytes mean the same.
  std::string bytes;
  ScheduleRules rules;
  // For Loop::CreateJob.
  std::string job;
  JobPlan plan;
};

struct Schedule {
  std::string name;
  // Another one where a schedule was deleted and made again.
  std::string uid;
  // Of the spec.
  uint64_t revision = 1;
  absl::Time created;
  ScheduleSpec spec;
  // See Decide.
  absl::Time decided_to;
  std::vector<ScheduledRun> runs;
  absl::optional<Skip> skipped;
  // Why a job could not be made at the last try. OK: the last one was made.
  absl::Status start_error;
};

// How a schedule is kept in the store.
struct ScheduleCodec {
  std::function<std::string(const Schedule&)> write;
  std::function<absl::StatusOr<Schedule>(absl::string_view)> read;
};

// Owns the schedules: makes jobs when runs are due, cancels and deletes them as Decide says. For the thread
// of the loop, as all of its methods. What a method returns is in the store already.
//
// A run is written down before its job is made, and its job has a request_id that follows from the run: a
// crash at any point loses no run and makes none twice.
class Schedules {
 public:
  // All must outlive the schedules. Listens to the loop's ends of jobs.
  Schedules(JobStore& store, Loop& loop, const Clock& clock, ScheduleCodec codec, ControllerMetrics& metrics,
            absl::BitGenRef random);
  Schedules(const Schedules&) = delete;
  Schedules& operator=(const Schedules&) = delete;

  // Takes up what is in the store. After the loop's, and again whenever that is done again.
  absl::Status Recover();

  // Does some of what is due. Then the loop must have its turn, for what was asked of it.
  void Step();
  // When to call Step again at the latest, by the wall; it may have passed: there is more to do.
  absl::Time wake() const { return wake_; }

  // OK also if there is one with this name and spec. ALREADY_EXISTS "SCHEDULE_EXISTS". RESOURCE_EXHAUSTED
  // "TOO_MANY_SCHEDULES".
  absl::StatusOr<Schedule> Create(const std::string& name, ScheduleSpec spec);
  // NOT_FOUND "SCHEDULE_UNKNOWN", here and below.
  absl::StatusOr<Schedule> Get(const std::string& name) const;
  // By name: those after `after`, at most `limit`; fewer but at least one also where specs exceed kListBytes.
  std::vector<Schedule> List(const std::string& after, size_t limit) const;
  // `revision` 0: any. ABORTED "SCHEDULE_CHANGED". OK also if it has this spec already.
  absl::StatusOr<Schedule> Update(const std::string& name, ScheduleSpec spec, uint64_t revision);
  absl::Status Delete(const std::string& name);
  // FAILED_PRECONDITION "SCHEDULE_BUSY". RESOURCE_EXHAUSTED "TOO_MANY_RUNS". And as Loop::CreateJob.
  absl::StatusOr<JobView> RunNow(const std::string& name, std::string request);

  // When its next run is due.
  absl::Time NextRunOf(const Schedule& schedule) const;

 private:
  struct Entry {
    Schedule schedule;
    // As it is in the store.
    std::string stored;
    absl::Time look_again = absl::InfinitePast();
    // When the last run that succeeded was due. Not set: none is known.
    absl::Time succeeded = absl::InfinitePast();
    // Nobody waits for what was due before.
    absl::Time awaited_from = absl::InfinitePast();
  };

  absl::Time Now() const;
  // SCHEDULE_UNKNOWN as above.
  absl::StatusOr<Entry*> Find(const std::string& name);
  void LookSoon(Entry& entry);
  void LookAgain(Entry& entry, absl::Time when);
  void TellMetrics(Entry& entry);
  // Stores it, if it changed, and takes it over; on an error nothing has changed.
  absl::Status Write(Entry& entry, Schedule next);
  // Gives starting runs their jobs, where these were made already.
  absl::Status Adopt(Schedule& schedule);
  // Decides, and does it. On an error some of it is done, and can be done again.
  absl::Status Act(Entry& entry);
  absl::Status Start(Entry& entry);
  absl::Status Cancel(const std::vector<std::string>& jobs);
  void JobEnded(const Job& job);
  void TakeEnded();

  JobStore& store_;
  Loop& loop_;
  const Clock& clock_;
  const ScheduleCodec codec_;
  ControllerMetrics& metrics_;
  absl::BitGenRef random_;
  std::map<std::string, Entry> entries_;
  // Jobs that ended, not looked at yet.
  std::vector<Job> ended_;
  absl::Time wake_ = absl::InfinitePast();
  absl::Time last_step_ = absl::InfinitePast();
  // The schedule that was acted on last: the next step goes on behind it, so that all have their turn.
  std::string last_act_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_SCHEDULES_H_
