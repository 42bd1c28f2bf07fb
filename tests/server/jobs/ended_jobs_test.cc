#include "server/jobs/ended_jobs.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

using Sequences = std::vector<uint64_t>;

Job Numbered(uint64_t sequence, const std::string& request_id = "", uint32_t tasks = 0) {
  Job job;
  job.sequence = sequence;
  job.request_id = request_id;
  job.tasks_made = tasks;
  return job;
}

TEST(EndedJobs, ThoseThatEndedFirstGo) {
  EndedJobs jobs({2, 0, 1'000});
  for (uint64_t sequence : {5, 1, 4, 2}) EXPECT_TRUE(jobs.Add(Numbered(sequence), 1));
  EXPECT_EQ(jobs.Surplus(1), (Sequences{5, 1}));
  // One that changes keeps its place.
  EXPECT_FALSE(jobs.Add(Numbered(5), 2));
  EXPECT_EQ(jobs.Surplus(0), (Sequences{5, 1}));
  jobs.Remove(5);
  jobs.Remove(5);
  EXPECT_EQ(jobs.Surplus(0), Sequences{1});
  jobs.Remove(1);
  EXPECT_EQ(jobs.Surplus(0), Sequences());
}

TEST(EndedJobs, WhatHasJustEndedStays) {
  EndedJobs jobs({1, 0, 1'000});
  for (uint64_t sequence : {1, 2, 3}) jobs.Add(Numbered(sequence), 1);
  EXPECT_EQ(jobs.Surplus(3), Sequences());
  EXPECT_EQ(jobs.Surplus(2), Sequences{1});
  EXPECT_EQ(jobs.Surplus(0), (Sequences{1, 2}));
}

TEST(EndedJobs, BytesAreBoundedToo) {
  EndedJobs jobs({10, 10, 2'000});
  jobs.Add(Numbered(1), 900);
  jobs.Add(Numbered(2, "", 2), 76);
  EXPECT_EQ(jobs.Surplus(0), Sequences());
  // What takes the place of other bytes is not added to them.
  jobs.Add(Numbered(1), 800);
  jobs.Add(Numbered(1), 900);
  EXPECT_EQ(jobs.Surplus(0), Sequences());
  jobs.Add(Numbered(3), 1);
  EXPECT_EQ(jobs.Surplus(0), Sequences{1});
  // The last one stays, whatever it takes.
  jobs.Add(Numbered(4), 5'000);
  EXPECT_EQ(jobs.Surplus(0), (Sequences{1, 2, 3}));
}

// Their schedules forget them.
TEST(EndedJobs, JobsOfSchedulesGoByNumberOnlyWhereTheyAreFarTooMany) {
  EndedJobs jobs({1, 3, 1'000});
  for (uint64_t sequence : {1, 2, 3}) jobs.Add(Numbered(sequence, "schedule/s/u/1"), 100);
  for (uint64_t sequence : {4, 5}) jobs.Add(Numbered(sequence, "mine"), 100);
  EXPECT_EQ(jobs.Surplus(0), Sequences{4});
  jobs.Add(Numbered(6, "schedule/s/u/2"), 100);
  EXPECT_EQ(jobs.Surplus(0), (Sequences{4, 1}));
  // Of bytes they take their part, and go after all others.
  jobs.Add(Numbered(7), 700);
  EXPECT_EQ(jobs.Surplus(0), (Sequences{4, 5, 1}));
}

TEST(EndedJobs, SomeGoAtATime) {
  EndedJobs jobs({1, 1, 1'000});
  for (uint64_t sequence = 1; sequence <= 20; ++sequence) jobs.Add(Numbered(sequence), 1);
  EXPECT_EQ(jobs.Surplus(1).size(), 16u);
}

}  // namespace
}  // namespace cowherd
