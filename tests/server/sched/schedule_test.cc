// What a schedule does at a moment: starts a run, passes one over, cancels, forgets.
#include "server/sched/schedule.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/time_zone.h"

namespace cowherd {
namespace {

constexpr RunState kStarting = RunState::kStarting;
constexpr RunState kActive = RunState::kActive;
constexpr RunState kSucceeded = RunState::kSucceeded;
constexpr RunState kFailed = RunState::kFailed;

// 2 June 2025 at this time of day, UTC; a day may come first: "3 04:00".
absl::Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  const std::string day = text.size() > 5 ? text : absl::StrCat("2 ", text);
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", absl::StrCat("2025-06-", day), &time, &error)) << text;
  return time;
}

ScheduleRules Hourly() {
  return {Cron::Parse("0 * * * *").value(),
          absl::UTCTimeZone(),
          absl::InfiniteDuration(),
          Overlap::kForbid,
          3,
          3,
          false};
}

ScheduleRules Hourly(Overlap overlap) {
  ScheduleRules rules = Hourly();
  rules.overlap = overlap;
  return rules;
}

ScheduleRules Within(absl::Duration deadline) {
  ScheduleRules rules = Hourly();
  rules.missed_run_deadline = deadline;
  return rules;
}

ScheduleRules Suspended() {
  ScheduleRules rules = Hourly();
  rules.suspended = true;
  return rules;
}

std::string Text(absl::Time time) {
  if (time == absl::InfiniteFuture()) return "never";
  return absl::FormatTime("%e %H:%M", time, absl::UTCTimeZone());
}

// "to  2 10:00; start  2 10:00; cancel a; forget 0; skipped  2 10:00 MISSED; again  2 11:00"
std::string Text(const ScheduleDecision& decision) {
  std::string text = absl::StrCat("to ", Text(decision.decided_to));
  if (!decision.cancel.empty()) absl::StrAppend(&text, "; cancel ", absl::StrJoin(decision.cancel, " "));
  if (decision.start) absl::StrAppend(&text, "; start ", Text(*decision.start));
  if (!decision.forget.empty()) absl::StrAppend(&text, "; forget ", absl::StrJoin(decision.forget, " "));
  if (decision.skipped) {
    absl::StrAppend(&text, "; skipped ", Text(decision.skipped->time), " ",
                    SkipReasonName(decision.skipped->reason));
  }
  return absl::StrCat(text, "; again ", Text(decision.look_again));
}

struct Row {
  std::string what;
  ScheduleRules rules;
  std::string decided_to;
  std::vector<ScheduledRun> runs;
  std::string now;
  std::string decision;
};

void Check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    EXPECT_EQ(Text(Decide(row.rules, At(row.decided_to), row.runs, At(row.now))), row.decision) << row.what;
  }
}

TEST(Decide, StartsWhatIsDue) {
  Check({
      {"not yet", Hourly(), "10:00", {}, "10:59", "to  2 10:00; again  2 11:00"},
      {"now", Hourly(), "10:00", {}, "11:00", "to  2 11:00; start  2 11:00; again  2 12:00"},
      {"once", Hourly(), "11:00", {}, "11:00", "to  2 11:00; again  2 12:00"},
      {"made between two times", Hourly(), "10:30", {}, "10:30", "to  2 10:30; again  2 11:00"},
  });
}

TEST(Decide, AfterHoursAwayOnlyTheLastStarts) {
  Check({
      {"no deadline", Hourly(), "02:00", {}, "11:40", "to  2 11:00; start  2 11:00; again  2 12:00"},
      {"within the deadline",
       Within(absl::Minutes(41)),
       "02:00",
       {},
       "11:40",
       "to  2 11:00; start  2 11:00; again  2 12:00"},
      {"at the deadline",
       Within(absl::Minutes(40)),
       "02:00",
       {},
       "11:40",
       "to  2 11:00; skipped  2 11:00 MISSED; again  2 12:00"},
      {"four weeks", Hourly(), "02:00", {}, "30 23:59", "to 30 23:00; start 30 23:00; again  1 00:00"},
      {"the one before still runs",
       Hourly(),
       "02:00",
       {{At("02:00"), kActive, "a", ""}},
       "11:40",
       "to  2 11:00; skipped  2 11:00 STILL_RUNNING; again  2 12:00"},
      {"missed comes first",
       Within(absl::Minutes(1)),
       "02:00",
       {{At("02:00"), kActive, "a", ""}},
       "11:40",
       "to  2 11:00; skipped  2 11:00 MISSED; again  2 12:00"},
  });
}

TEST(Decide, Overlap) {
  const std::vector<ScheduledRun> runs = {
      {At("08:00"), kActive, "a", ""}, {At("09:00"), kSucceeded, "b", ""}, {At("10:00"), kActive, "c", ""}};
  Check({
      {"forbid", Hourly(Overlap::kForbid), "10:00", runs, "11:00",
       "to  2 11:00; skipped  2 11:00 STILL_RUNNING; again  2 12:00"},
      {"replace", Hourly(Overlap::kReplace), "10:00", runs, "11:00",
       "to  2 11:00; cancel a c; start  2 11:00; again  2 12:00"},
      {"allow", Hourly(Overlap::kAllow), "10:00", runs, "11:00",
       "to  2 11:00; start  2 11:00; again  2 12:00"},
      {"nothing is cancelled before", Hourly(Overlap::kReplace), "10:00", runs, "10:59",
       "to  2 10:00; again  2 11:00"},
      {"ended ones do not count",
       Hourly(Overlap::kForbid),
       "10:00",
       {{At("09:00"), kSucceeded, "b", ""}, {At("10:00"), kFailed, "c", ""}},
       "11:00",
       "to  2 11:00; start  2 11:00; again  2 12:00"},
  });
  const std::vector<ScheduledRun> many(kMaxActiveRuns, {At("10:00"), kActive, "a", ""});
  Check({{"allow, to a limit", Hourly(Overlap::kAllow), "10:00", many, "11:00",
          "to  2 11:00; skipped  2 11:00 TOO_MANY_RUNS; again  2 12:00"}});
}

TEST(Decide, WhatDoesNotStartIsGivenUp) {
  const std::vector<ScheduledRun> runs = {{At("10:00"), kStarting, "", ""}};
  Check({
      {"not yet", Hourly(), "10:00", runs, "10:59", "to  2 10:00; again  2 11:00"},
      {"the next one is due", Hourly(), "10:00", runs, "11:00",
       "to  2 11:00; start  2 11:00; forget 0; skipped  2 10:00 NOT_STARTED; again  2 12:00"},
      {"also with allow", Hourly(Overlap::kAllow), "10:00", runs, "11:00",
       "to  2 11:00; start  2 11:00; forget 0; skipped  2 10:00 NOT_STARTED; again  2 12:00"},
      {"until its deadline", Within(absl::Minutes(20)), "10:00", runs, "10:10",
       "to  2 10:00; again  2 10:20"},
      {"its deadline", Within(absl::Minutes(20)), "10:00", runs, "10:20",
       "to  2 10:00; forget 0; skipped  2 10:00 NOT_STARTED; again  2 11:00"},
      {"after hours away", Within(absl::Minutes(20)), "10:00", runs, "15:30",
       "to  2 15:00; forget 0; skipped  2 15:00 MISSED; again  2 16:00"},
  });
}

TEST(Decide, ForgetsOldJobs) {
  ScheduleRules two_and_one = Hourly();
  two_and_one.keep_succeeded = 2;
  two_and_one.keep_failed = 1;
  ScheduleRules none = Hourly();
  none.keep_succeeded = 0;
  none.keep_failed = 0;
  const std::vector<ScheduledRun> runs = {
      {At("03:00"), kSucceeded, "a", ""}, {At("04:00"), kFailed, "b", ""}, {At("05:00"), kActive, "c", ""},
      {At("06:00"), kSucceeded, "d", ""}, {At("07:00"), kFailed, "e", ""}, {At("08:00"), kSucceeded, "f", ""},
  };
  Check({
      {"enough room", Hourly(), "10:00", runs, "10:30", "to  2 10:00; again  2 11:00"},
      {"the oldest of each kind", two_and_one, "10:00", runs, "10:30",
       "to  2 10:00; forget 0 1; again  2 11:00"},
      {"none kept, but what runs", none, "10:00", runs, "10:30",
       "to  2 10:00; forget 0 1 3 4 5; again  2 11:00"},
  });
}

TEST(Decide, SuspendedStartsNothing) {
  Check({
      {"due", Suspended(), "10:00", {}, "15:00", "to  2 10:00; again never"},
      {"still forgets",
       Suspended(),
       "10:00",
       {{At("06:00"), kSucceeded, "a", ""},
        {At("07:00"), kSucceeded, "b", ""},
        {At("08:00"), kSucceeded, "c", ""},
        {At("09:00"), kSucceeded, "d", ""}},
       "15:00",
       "to  2 10:00; forget 0; again never"},
      {"what was asked for by hand still starts",
       Suspended(),
       "10:00",
       {{At("14:59"), kStarting, "", ""}},
       "15:00",
       "to  2 10:00; again never"},
  });
}

TEST(Decide, ClockThatGoesBack) {
  Check({
      {"some minutes: nothing comes twice",
       Hourly(),
       "11:00",
       {{At("11:00"), kActive, "a", ""}},
       "10:30",
       "to  2 11:00; again  2 12:00"},
      {"an hour", Hourly(), "11:00", {}, "10:00", "to  2 11:00; again  2 12:00"},
      {"farther: counted anew", Hourly(), "20:00", {}, "10:30", "to  2 10:30; again  2 11:00"},
      {"but for what was begun then",
       Hourly(),
       "10:00",
       {{At("11:00"), kSucceeded, "a", ""}},
       "11:00",
       "to  2 11:00; again  2 12:00"},
      {"or would have been",
       Hourly(),
       "10:00",
       {{At("11:00"), kStarting, "", ""}},
       "11:00",
       "to  2 11:00; start  2 11:00; forget 0; skipped  2 11:00 NOT_STARTED; again  2 12:00"},
      {"and not from before",
       Hourly(),
       "30 20:00",
       {{At("30 20:00"), kSucceeded, "a", ""}},
       "11:00",
       "to  2 11:00; again  2 12:00"},
      {"a clock that jumps ahead starts the last one",
       Hourly(),
       "10:00",
       {},
       "30 20:15",
       "to 30 20:00; start 30 20:00; again 30 21:00"},
  });
}

TEST(Decide, TurnsOfTheClock) {
  ScheduleRules rules = Hourly();
  rules.cron = Cron::Parse("30 2 * * *").value();
  rules.zone = FindTimeZone("Europe/Berlin").value();
  // 2025-03-30 has no 02:30: one run at 03:00, not two.
  const auto time = [&](int day, int hour, int minute) {
    return absl::FromCivil(absl::CivilSecond(2025, 3, day, hour, minute), rules.zone);
  };
  ScheduleDecision decision = Decide(rules, time(29, 2, 30), {}, time(30, 3, 0));
  EXPECT_EQ(decision.start, time(30, 3, 0));
  EXPECT_EQ(decision.look_again, time(31, 2, 30));
  decision = Decide(rules, decision.decided_to, {}, time(30, 3, 30));
  EXPECT_FALSE(decision.start.has_value());
  EXPECT_EQ(decision.look_again, time(31, 2, 30));
}

TEST(OverdueFrom, IsTheSecondTimeAfter) {
  EXPECT_EQ(Text(OverdueFrom(Hourly(), At("10:00"))), " 2 12:00");
  EXPECT_EQ(Text(OverdueFrom(Hourly(), At("10:30"))), " 2 12:00");
  ScheduleRules workdays = Hourly();
  workdays.cron = Cron::Parse("0 4 * * mon-fri").value();
  // 6 June 2025 is a Friday.
  EXPECT_EQ(Text(OverdueFrom(workdays, At("6 04:00"))), "10 04:00");
  EXPECT_EQ(Text(OverdueFrom(Suspended(), At("10:00"))), "never");
}

TEST(NextRun, IsAheadOfNow) {
  EXPECT_EQ(Text(NextRun(Hourly(), At("10:00"), At("10:30"))), " 2 11:00");
  EXPECT_EQ(Text(NextRun(Hourly(), At("10:00"), At("15:00"))), " 2 16:00");
  EXPECT_EQ(Text(NextRun(Hourly(), At("11:00"), At("10:30"))), " 2 12:00");
  EXPECT_EQ(Text(NextRun(Hourly(), At("20:00"), At("10:30"))), " 2 11:00");
  EXPECT_EQ(Text(NextRun(Suspended(), At("10:00"), At("10:30"))), "never");
}

TEST(RunRequestId, TellsItsScheduleAndTime) {
  const ScheduledRun due = {At("10:00"), kStarting, "", ""};
  const ScheduledRun asked = {At("10:00"), kStarting, "", "a/b"};
  const std::string id = RunRequestId("nightly", "0123", due);
  EXPECT_EQ(id, absl::StrCat("schedule/nightly/0123/", absl::ToUnixMicros(At("10:00"))));
  EXPECT_NE(RunRequestId("nightly", "0123", asked), id);
  EXPECT_NE(RunRequestId("nightly", "0124", due), id);
  for (const ScheduledRun& run : {due, asked}) {
    const absl::optional<RunOrigin> origin = OriginOf(RunRequestId("nightly", "0123", run));
    ASSERT_TRUE(origin.has_value());
    EXPECT_EQ(origin->name, "nightly");
    EXPECT_EQ(origin->uid, "0123");
    EXPECT_EQ(origin->time, At("10:00"));
  }
  for (const char* other : {"", "schedule/", "schedule/a/b", "schedule/a/b/c", "schedule", "x/a/b/1"}) {
    EXPECT_FALSE(OriginOf(other).has_value()) << other;
  }
}

}  // namespace
}  // namespace cowherd
