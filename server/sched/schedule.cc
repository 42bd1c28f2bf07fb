#include "server/sched/schedule.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace cowherd {

absl::string_view SkipReasonName(SkipReason reason) {
  switch (reason) {
    case SkipReason::kMissed:
      return "MISSED";
    case SkipReason::kStillRunning:
      return "STILL_RUNNING";
    case SkipReason::kTooManyRuns:
      return "TOO_MANY_RUNS";
    case SkipReason::kNotStarted:
      return "NOT_STARTED";
  }
  return "";
}

std::vector<std::string> ActiveJobs(const std::vector<ScheduledRun>& runs) {
  std::vector<std::string> jobs;
  for (const ScheduledRun& run : runs) {
    if (run.state == RunState::kActive) jobs.push_back(run.job);
  }
  return jobs;
}

namespace {

absl::Time CountFrom(absl::Time decided_to, absl::Time now) {
  return decided_to > now + kClockTolerance ? now : decided_to;
}

}  // namespace

ScheduleDecision Decide(const ScheduleRules& rules, absl::Time decided_to,
                        const std::vector<ScheduledRun>& runs, absl::Time now) {
  ScheduleDecision decision;
  decided_to = CountFrom(decided_to, now);
  const absl::Time due =
      rules.suspended ? absl::InfinitePast() : rules.cron.Latest(decided_to, now, rules.zone);
  const bool is_due = due != absl::InfinitePast();
  decision.decided_to = is_due ? due : decided_to;
  if (!rules.suspended) decision.look_again = rules.cron.Next(decision.decided_to, rules.zone);

  size_t succeeded = 0;
  size_t failed = 0;
  for (size_t i = runs.size(); i-- > 0;) {
    const ScheduledRun& run = runs[i];
    const absl::Time too_late = run.time + rules.missed_run_deadline;
    switch (run.state) {
      case RunState::kStarting:
        if (is_due || too_late <= now) {
          decision.forget.push_back(i);
          if (!decision.skipped) decision.skipped = Skip{run.time, SkipReason::kNotStarted};
        } else {
          decision.look_again = std::min(decision.look_again, too_late);
        }
        break;
      case RunState::kActive:
        break;
      case RunState::kSucceeded:
        if (++succeeded > rules.keep_succeeded) decision.forget.push_back(i);
        break;
      case RunState::kFailed:
        if (++failed > rules.keep_failed) decision.forget.push_back(i);
        break;
    }
  }
  std::reverse(decision.forget.begin(), decision.forget.end());

  const auto begun = [due](const ScheduledRun& run) {
    return run.time == due && run.request.empty() && run.state != RunState::kStarting;
  };
  if (!is_due || std::any_of(runs.begin(), runs.end(), begun)) return decision;
  std::vector<std::string> active = ActiveJobs(runs);
  if (due + rules.missed_run_deadline <= now) {
    decision.skipped = Skip{due, SkipReason::kMissed};
  } else if (rules.overlap == Overlap::kForbid && !active.empty()) {
    decision.skipped = Skip{due, SkipReason::kStillRunning};
  } else if (rules.overlap == Overlap::kAllow && active.size() >= kMaxActiveRuns) {
    decision.skipped = Skip{due, SkipReason::kTooManyRuns};
  } else {
    decision.start = due;
    if (rules.overlap == Overlap::kReplace) decision.cancel = std::move(active);
  }
  return decision;
}

std::string RunRequestId(absl::string_view name, absl::string_view uid, const ScheduledRun& run) {
  std::string id = absl::StrCat(kRunRequestPrefix, name, "/", uid, "/", absl::ToUnixMicros(run.time));
  if (!run.request.empty()) absl::StrAppend(&id, "/", run.request);
  return id;
}

absl::optional<RunOrigin> OriginOf(absl::string_view request_id) {
  if (!absl::ConsumePrefix(&request_id, kRunRequestPrefix)) return absl::nullopt;
  const std::vector<absl::string_view> parts = absl::StrSplit(request_id, absl::MaxSplits('/', 3));
  int64_t micros = 0;
  if (parts.size() < 3 || !absl::SimpleAtoi(parts[2], &micros)) return absl::nullopt;
  return RunOrigin{std::string(parts[0]), std::string(parts[1]), absl::FromUnixMicros(micros)};
}

absl::Time OverdueFrom(const ScheduleRules& rules, absl::Time since) {
  if (rules.suspended) return absl::InfiniteFuture();
  return rules.cron.Next(rules.cron.Next(since, rules.zone), rules.zone);
}

absl::Time NextRun(const ScheduleRules& rules, absl::Time decided_to, absl::Time now) {
  if (rules.suspended) return absl::InfiniteFuture();
  return rules.cron.Next(std::max(CountFrom(decided_to, now), now), rules.zone);
}

}  // namespace cowherd
