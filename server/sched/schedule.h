#ifndef COWHERD_SERVER_SCHED_SCHEDULE_H_
#define COWHERD_SERVER_SCHED_SCHEDULE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/jobs/job.h"
#include "server/sched/cron.h"

// When a schedule makes a job, and which it forgets. Pure.
namespace cowherd {

// What becomes of a run that is due while a job of an earlier one has not ended.
enum class Overlap {
  kForbid,   // It is skipped.
  kReplace,  // The earlier jobs are cancelled, and it starts.
  kAllow,    // It starts.
};

struct ScheduleRules {
  Cron cron;
  absl::TimeZone zone;
  // A run starts within this time after it was due, or not at all. Above 0.
  absl::Duration missed_run_deadline = absl::InfiniteDuration();
  Overlap overlap = Overlap::kForbid;
  // Of the jobs that have ended, so many are kept: those that succeeded, and the others.
  size_t keep_succeeded = 3;
  size_t keep_failed = 3;
  bool suspended = false;
};

enum class RunState { kStarting, kActive, kSucceeded, kFailed };

struct ScheduledRun {
  // For which it was due, or when it was asked for.
  absl::Time time;
  // Its job is to be made, or has been made but not heard of.
  RunState state = RunState::kStarting;
  // Empty while it starts.
  std::string job;
  // The request that asked for it. Empty: it was due.
  std::string request;
};

enum class SkipReason {
  // Nobody was there to start it until its deadline had passed.
  kMissed,
  // Overlap::kForbid.
  kStillRunning,
  // Overlap::kAllow, and kMaxActiveRuns have not ended.
  kTooManyRuns,
  // Its job could not be made until its deadline had passed or the next one was due.
  kNotStarted,
};

// "MISSED", "STILL_RUNNING", ...
absl::string_view SkipReasonName(SkipReason reason);

// The jobs of those that are active.
std::vector<std::string> ActiveJobs(const std::vector<ScheduledRun>& runs);

inline constexpr size_t kMaxActiveRuns = 50;

// A clock that goes back by less is waited for; then no time counts twice.
inline constexpr absl::Duration kClockTolerance = absl::Hours(1);

struct Skip {
  absl::Time time;
  SkipReason reason;
};

struct ScheduleDecision {
  // Every time up to here has been decided on: to be remembered.
  absl::Time decided_to;
  // Jobs to be cancelled, before a run is started.
  std::vector<std::string> cancel;
  // The run to be started.
  absl::optional<absl::Time> start;
  // Of the runs given, those to be forgotten with their jobs: indices, which grow.
  std::vector<size_t> forget;
  // The last time that was passed over, if any.
  absl::optional<Skip> skipped;
  // When to decide again, if nothing happens before.
  absl::Time look_again = absl::InfiniteFuture();
};

// What to do now. `decided_to` is from the decision before, at first when the schedule was made; `runs` are
// those begun and not forgotten, oldest first.
//  - Of several times that have passed since, only the last can start: a controller that was away starts one
//    run, and that within its deadline.
//  - A run that still starts when the next time comes is given up, whatever `overlap` says.
//  - A clock that went back by up to kClockTolerance is waited for. One that went back farther was wrong
//    before: times are counted anew from now, but for those that runs were begun for while it was wrong.
ScheduleDecision Decide(const ScheduleRules& rules, absl::Time decided_to,
                        const std::vector<ScheduledRun>& runs, absl::Time now);

// The request_id of a run's job, which begins with kRunRequestPrefix: the same for the same run of the same
// schedule, whoever makes it and how often, so that a run has one job.
std::string RunRequestId(absl::string_view name, absl::string_view uid, const ScheduledRun& run);

// A job's schedule.
struct RunOrigin {
  std::string name;
  std::string uid;
  absl::Time time;
};

// Unset: no schedule made it.
absl::optional<RunOrigin> OriginOf(absl::string_view request_id);

// When two runs will have been due since `since` and neither has succeeded, if none does until then.
// InfiniteFuture: never, as it is suspended.
absl::Time OverdueFrom(const ScheduleRules& rules, absl::Time since);

// When the next run is due. InfiniteFuture: never, as it is suspended.
absl::Time NextRun(const ScheduleRules& rules, absl::Time decided_to, absl::Time now);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_SCHEDULE_H_
