#include "server/base/totals.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace cowherd {
namespace {

TEST(OverRuns, EachCounterHasItsRule) {
  // Of a run that counted 7 and one that counted 3.
  const std::map<std::string, uint64_t> over_runs = {
      {"files_scanned", 7},    {"files_skipped", 7},   {"files_failed", 7},       {"files_read", 7},
      {"bytes_scanned", 3},    {"bytes_found", 3},     {"duplicate_ranges", 7},   {"duplicate_bytes", 7},
      {"bytes_freeable", 7},   {"bytes_moved", 7},     {"bytes_read", 7},         {"bytes_held", 7},
      {"bytes_requested", 10}, {"bytes_accepted", 10}, {"bytes_unprofitable", 7}, {"bytes_fragmenting", 7},
      {"ranges_deduped", 10},  {"ranges_differ", 10},  {"ranges_failed", 10},     {"rate_wait_ns", 10},
      {"work_planned", 10},    {"work_done", 10},      {"pressure_wait_ns", 10},  {"files_unchanged", 3},
      {"bytes_unchanged", 3},
  };
  Totals first;
  Totals second;
  for (const TotalsCounter& counter : TotalsCounters()) {
    first.*counter.value = 7;
    second.*counter.value = 3;
  }
  const Totals over = OverRuns(first, second);
  EXPECT_EQ(TotalsCounters().size(), over_runs.size());
  for (const TotalsCounter& counter : TotalsCounters()) {
    ASSERT_EQ(over_runs.count(counter.name), 1U) << counter.name;
    EXPECT_EQ(over.*counter.value, over_runs.at(counter.name)) << counter.name;
  }
}

TEST(OverRuns, SpaceAndTimeAreSums) {
  Totals first;
  first.bytes_won = -5;
  first.elapsed = absl::Seconds(2);
  Totals second;
  second.bytes_won = 9;
  second.elapsed = absl::Seconds(1);
  EXPECT_EQ(OverRuns(first, second).bytes_won, 4);
  EXPECT_EQ(OverRuns(first, second).elapsed, absl::Seconds(3));
}

TEST(OverRuns, WhatWasPlannedAndNotDoneIsPlannedAnew) {
  Totals first;
  first.work_planned = 100;
  first.work_done = 60;
  Totals second;
  second.work_planned = 40;
  EXPECT_EQ(OverRuns(first, second).work_planned, 100U);
  EXPECT_EQ(OverRuns(first, second).work_done, 60U);
}

TEST(OverRuns, OfOneRunIsThatRun) {
  Totals run;
  uint64_t n = 0;
  for (const TotalsCounter& counter : TotalsCounters()) run.*counter.value = ++n;
  run.bytes_won = 1;
  EXPECT_EQ(OverRuns({}, run), run);
}

}  // namespace
}  // namespace cowherd
