// Which tasks start where, rule by rule: a row says what there is, and what starts in which order.
#include "server/sched/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/sched/bandwidth.h"
#include "server/sched/canary.h"

namespace cowherd {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000);
constexpr size_t kAll = 1'000;

struct Given {
  uint64_t job;
  uint32_t number;
  Place place;
  absl::Duration after = absl::ZeroDuration();
  bool open = false;
};

struct Case {
  std::string name;
  SchedulerLimits limits;
  std::map<std::string, Gate> gates;
  // Priorities.
  std::map<uint64_t, int32_t> jobs;
  std::vector<Given> tasks;
  // "job/number", with "+" where it is attached to.
  std::string starts;
  std::set<uint64_t> held = {};
  std::map<std::string, absl::Duration> paused = {};
};

std::string Names(const std::vector<Scheduler::Start>& starts) {
  std::vector<std::string> names;
  names.reserve(starts.size());
  for (const Scheduler::Start& start : starts) {
    names.push_back(absl::StrCat(start.task.job, "/", start.task.number, start.attach ? "+" : ""));
  }
  return absl::StrJoin(names, " ");
}

SchedulerLimits Limits(size_t per_node, size_t per_filesystem, size_t in_all) {
  SchedulerLimits limits;
  limits.per_node = per_node;
  limits.per_filesystem = per_filesystem;
  limits.in_all = in_all;
  return limits;
}

const std::map<std::string, Gate> kUp = {{"a", Gate::kOpen}, {"b", Gate::kOpen}, {"c", Gate::kOpen}};

const Case kCases[] = {
    {"one on each node",
     Limits(1, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"a", "y"}}, {1, 2, {"b", "x"}}},
     "1/0 1/2"},
    {"several on a node, one on each filesystem",
     Limits(2, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"a", "x"}}, {1, 2, {"a", "y"}}, {1, 3, {"a", "z"}}},
     "1/0 1/2"},
    {"several on a filesystem",
     Limits(3, 2, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"a", "x"}}, {1, 2, {"a", "x"}}},
     "1/0 1/1"},
    {"the same uuid on another node is another filesystem",
     Limits(1, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"b", "x"}}},
     "1/0 1/1"},
    {"without a known filesystem only the node counts",
     Limits(2, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", ""}}, {1, 1, {"a", ""}}, {1, 2, {"a", ""}}},
     "1/0 1/1"},
    {"a limit over all",
     Limits(1, 1, 2),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"b", "x"}}, {1, 2, {"c", "x"}}},
     "1/0 1/1"},
    {"not before its time",
     Limits(1, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}, absl::Nanoseconds(1)}, {1, 1, {"b", "x"}}},
     "1/1"},
    {"a shut node gets nothing, a drained one keeps what it has",
     Limits(1, 1, 64),
     {{"a", Gate::kShut}, {"b", Gate::kDrained}},
     {{1, 0}},
     {{1, 0, {"a", "x"}, {}, true}, {1, 1, {"a", "y"}}, {1, 2, {"b", "x"}, {}, true}, {1, 3, {"c", "x"}}},
     "1/2+"},
    {"open ones first, beyond the limits, and they take up their places",
     Limits(1, 1, 1),
     kUp,
     {{1, 0}, {2, 9}},
     {{2, 0, {"a", "y"}}, {1, 0, {"a", "x"}, {}, true}, {1, 1, {"b", "x"}, {}, true}, {2, 1, {"c", "x"}}},
     "1/0+ 1/1+"},
    {"an open one takes up its place also before its time",
     Limits(1, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}, absl::Hours(1), true}, {1, 1, {"a", "y"}}},
     ""},
    {"a held job starts nothing and attaches to nothing",
     Limits(1, 1, 64),
     kUp,
     {{1, 0}, {2, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"b", "x"}, {}, true}, {2, 0, {"c", "x"}}},
     "2/0",
     {1}},
    {"a paused filesystem waits, others of its node do not",
     Limits(2, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"a", "y"}}},
     "1/1",
     {},
     {{"x", absl::Seconds(1)}}},
    {"a pause that has ended",
     Limits(2, 1, 64),
     kUp,
     {{1, 0}},
     {{1, 0, {"a", "x"}}, {1, 1, {"a", "y"}}},
     "1/0 1/1",
     {},
     {{"x", absl::ZeroDuration()}}},
    {"higher priority first",
     Limits(1, 1, 2),
     kUp,
     {{1, -5}, {2, 0}, {3, 7}},
     {{1, 0, {"a", "x"}}, {2, 0, {"a", "x"}}, {2, 1, {"b", "x"}}, {3, 0, {"b", "x"}}},
     "3/0 2/0"},
    {"a job of higher priority that has no place does not hold up others",
     Limits(1, 1, 64),
     kUp,
     {{1, 0}, {2, 1}},
     {{2, 0, {"a", "x"}}, {2, 1, {"a", "x"}}, {1, 0, {"b", "x"}}},
     "2/0 1/0"},
    {"jobs of one priority take turns",
     Limits(1, 1, 64),
     {{"a", Gate::kOpen}, {"b", Gate::kOpen}, {"c", Gate::kOpen}, {"d", Gate::kOpen}},
     {{1, 0}, {2, 0}},
     {{1, 0, {"a", ""}},
      {1, 1, {"b", ""}},
      {1, 2, {"c", ""}},
      {1, 3, {"d", ""}},
      {2, 0, {"a", ""}},
      {2, 1, {"b", ""}},
      {2, 2, {"c", ""}},
      {2, 3, {"d", ""}}},
     "1/0 2/1 1/2 2/3"},
};

TEST(Scheduler, Rules) {
  for (const Case& row : kCases) {
    SCOPED_TRACE(row.name);
    Scheduler scheduler(row.limits);
    for (const auto& [node, gate] : row.gates) scheduler.SetGate(node, gate);
    for (const auto& [job, priority] : row.jobs) {
      scheduler.AddJob(job, priority);
      scheduler.SetHeld(job, row.held.count(job) > 0);
    }
    for (const auto& [uuid, pause] : row.paused) scheduler.PauseFilesystem("a", uuid, kNow + pause);
    for (const Given& task : row.tasks) {
      if (task.open) {
        scheduler.Attach({task.job, task.number}, task.place, kNow + task.after);
      } else {
        scheduler.Queue({task.job, task.number}, task.place, kNow + task.after);
      }
    }
    EXPECT_EQ(Names(scheduler.Next(kNow, kAll)), row.starts);
    EXPECT_EQ(Names(scheduler.Next(kNow, kAll)), "");
  }
}

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() {
    for (const char* node : {"a", "b"}) scheduler_.SetGate(node, Gate::kOpen);
    for (uint64_t job : {1, 2}) scheduler_.AddJob(job, 0);
  }
  std::string Next(absl::Duration later = absl::ZeroDuration(), size_t most = kAll) {
    return Names(scheduler_.Next(kNow + later, most));
  }

  Scheduler scheduler_{Limits(1, 1, 64)};
};

TEST_F(SchedulerTest, APlaceThatComesFreeIsTakenByTheNext) {
  for (uint32_t number : {0, 1, 2}) scheduler_.Queue({1, number}, {"a", "x"}, absl::InfinitePast());
  EXPECT_EQ(Next(), "1/0");
  scheduler_.Remove({1, 0});
  EXPECT_EQ(Next(), "1/1");
  // Still open, but its stream is lost: the place is not free.
  scheduler_.Attach({1, 1}, {"a", "x"}, kNow + absl::Seconds(5));
  EXPECT_EQ(Next(), "");
  EXPECT_EQ(scheduler_.wake(), kNow + absl::Seconds(5));
  EXPECT_EQ(Next(absl::Seconds(5)), "1/1+");
  scheduler_.Remove({1, 1});
  EXPECT_EQ(Next(), "1/2");
}

TEST_F(SchedulerTest, WakesForTasksAndForPauses) {
  scheduler_.Queue({1, 0}, {"a", "x"}, kNow + absl::Seconds(9));
  scheduler_.Queue({1, 1}, {"b", "y"}, absl::InfinitePast());
  scheduler_.PauseFilesystem("b", "y", kNow + absl::Seconds(7));
  EXPECT_EQ(Next(), "");
  EXPECT_EQ(scheduler_.wake(), kNow + absl::Seconds(7));
  EXPECT_EQ(Next(absl::Seconds(7)), "1/1");
  EXPECT_EQ(scheduler_.wake(), kNow + absl::Seconds(9));
  EXPECT_EQ(Next(absl::Seconds(9)), "1/0");
  EXPECT_EQ(scheduler_.wake(), absl::InfiniteFuture());
  scheduler_.Queue({1, 2}, {"c", "z"}, absl::InfinitePast());
  scheduler_.PauseFilesystem("c", "z", kNow + absl::Hours(1));
  scheduler_.SetGate("c", Gate::kOpen);
  EXPECT_EQ(Next(), "");
  // A success elsewhere cleared it.
  scheduler_.PauseFilesystem("c", "z", absl::InfinitePast());
  EXPECT_EQ(Next(), "1/2");
}

TEST_F(SchedulerTest, GivesSomeNowAndTheRestLater) {
  scheduler_.Attach({1, 0}, {"a", "x"}, absl::InfinitePast());
  scheduler_.Queue({1, 1}, {"b", "x"}, absl::InfinitePast());
  EXPECT_EQ(Next({}, 1), "1/0+");
  EXPECT_EQ(Next({}, 1), "1/1");
  EXPECT_EQ(Next({}, 1), "");
}

TEST_F(SchedulerTest, ANodeThatComesUpGetsItsOpenTasksAtOnce) {
  scheduler_.SetGate("a", Gate::kShut);
  scheduler_.Attach({1, 0}, {"a", "x"}, kNow + absl::Hours(1));
  scheduler_.Queue({1, 1}, {"a", "x"}, kNow + absl::Hours(1));
  EXPECT_EQ(Next(), "");
  scheduler_.SetGate("a", Gate::kOpen);
  EXPECT_EQ(Next(), "1/0+");
}

TEST_F(SchedulerTest, AJobThatGoesOnStartsAndAttaches) {
  scheduler_.Attach({1, 0}, {"a", "x"}, absl::InfinitePast());
  scheduler_.Queue({1, 1}, {"b", "x"}, absl::InfinitePast());
  scheduler_.SetHeld(1, true);
  EXPECT_EQ(Next(), "");
  scheduler_.SetHeld(1, false);
  EXPECT_EQ(Next(), "1/0+ 1/1");
}

TEST_F(SchedulerTest, AttachedByAnotherWay) {
  scheduler_.Attach({1, 0}, {"a", "x"}, absl::InfinitePast());
  scheduler_.Run({1, 0});
  EXPECT_EQ(Next(), "");
  scheduler_.Remove({1, 0});
  scheduler_.Queue({1, 1}, {"a", "x"}, absl::InfinitePast());
  EXPECT_EQ(Next(), "1/1");
}

TEST_F(SchedulerTest, EndedJobsLeaveNothingBehind) {
  scheduler_.Queue({1, 0}, {"a", "x"}, absl::InfinitePast());
  EXPECT_EQ(Next(), "1/0");
  scheduler_.Queue({1, 1}, {"a", "x"}, absl::InfinitePast());
  EXPECT_EQ(Next(), "");
  scheduler_.Remove({1, 1});
  scheduler_.Remove({1, 0});
  scheduler_.RemoveJob(1);
  scheduler_.Queue({2, 0}, {"a", "x"}, absl::InfinitePast());
  EXPECT_EQ(Next(), "2/0");
}

// Three jobs, one of which came first with many tasks, over 300 starts with one place on each of ten nodes.
TEST(SchedulerFairness, JobsOfOnePriorityGetTheSame) {
  Scheduler scheduler(Limits(1, 1, 6));
  std::mt19937 random(3);
  std::map<uint64_t, int> started;
  std::vector<TaskKey> running;
  for (uint64_t job : {1, 2, 3}) scheduler.AddJob(job, 0);
  for (int node = 0; node < 10; ++node) scheduler.SetGate(absl::StrCat("n", node), Gate::kOpen);
  const auto fill = [&](uint64_t job) {
    for (uint32_t number = 0; number < 1'000; ++number) {
      scheduler.Queue({job, number}, {absl::StrCat("n", number % 10), ""}, absl::InfinitePast());
    }
  };
  fill(1);
  for (const Scheduler::Start& start : scheduler.Next(kNow, kAll)) running.push_back(start.task);
  fill(2);
  fill(3);
  for (int i = 0; i < 300; ++i) {
    std::swap(running[random() % running.size()], running.back());
    scheduler.Remove(running.back());
    running.pop_back();
    for (const Scheduler::Start& start : scheduler.Next(kNow, kAll)) {
      running.push_back(start.task);
      ++started[start.task.job];
    }
    ASSERT_EQ(running.size(), 6u);
  }
  for (uint64_t job : {1, 2, 3}) {
    EXPECT_NEAR(started[job], 100, 10) << job;
  }
}

// With one place in all they still take turns.
TEST(SchedulerFairness, OnePlaceGoesRound) {
  Scheduler scheduler(Limits(1, 1, 1));
  std::string order;
  for (uint64_t job : {1, 2, 3}) scheduler.AddJob(job, 0);
  scheduler.SetGate("a", Gate::kOpen);
  for (uint64_t job : {1, 2, 3}) {
    for (uint32_t number : {0, 1}) scheduler.Queue({job, number}, {"a", ""}, absl::InfinitePast());
  }
  for (int i = 0; i < 6; ++i) {
    const std::vector<Scheduler::Start> starts = scheduler.Next(kNow, kAll);
    ASSERT_EQ(starts.size(), 1u);
    absl::StrAppend(&order, starts[0].task.job);
    scheduler.Remove(starts[0].task);
  }
  EXPECT_EQ(order, "123123");
}

// Random comings and goings: the limits hold at every moment, and nothing that could start is left.
TEST(SchedulerLimits, HoldWhateverHappens) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    SchedulerLimits limits = Limits(1 + random() % 3, 1 + random() % 2, 3 + random() % 6);
    limits.bytes_per_second = 1'000;
    Scheduler scheduler(limits);
    std::map<TaskKey, Place> waiting;
    std::map<TaskKey, Scheduler::Start> running;
    std::map<TaskKey, Place> places;
    for (uint64_t job = 1; job <= 4; ++job) scheduler.AddJob(job, static_cast<int32_t>(job % 2));
    for (const char* node : {"a", "b", "c"}) scheduler.SetGate(node, Gate::kOpen);
    for (int step = 0; step < 500; ++step) {
      const TaskKey key{1 + random() % 4, static_cast<uint32_t>(random() % 40)};
      const Place place{std::string(1, static_cast<char>('a' + random() % 3)),
                        std::string(1, static_cast<char>('x' + random() % 2))};
      if (running.count(key) > 0) {
        scheduler.Remove(key);
        running.erase(key);
      } else if (waiting.count(key) == 0) {
        scheduler.Queue(key, place, absl::InfinitePast());
        waiting[key] = places[key] = place;
      }
      for (const Scheduler::Start& start : scheduler.Next(kNow, 1 + random() % 3)) {
        ASSERT_EQ(waiting.erase(start.task), 1u);
        running[start.task] = start;
      }
      std::map<std::string, size_t> on_node;
      std::map<std::string, size_t> on_filesystem;
      uint64_t bytes = 0;
      for (const auto& [task, start] : running) {
        ++on_node[places[task].node];
        ++on_filesystem[places[task].node + places[task].filesystem];
        bytes += start.bytes_per_second;
        ASSERT_GT(start.bytes_per_second, 0u);
      }
      ASSERT_LE(running.size(), limits.in_all);
      ASSERT_LE(bytes, limits.bytes_per_second);
      for (const auto& [node, count] : on_node) ASSERT_LE(count, limits.per_node);
      for (const auto& [filesystem, count] : on_filesystem) ASSERT_LE(count, limits.per_filesystem);
      scheduler.Next(kNow, 0);
    }
    // Drain: everything gets its turn.
    while (!waiting.empty() || !running.empty()) {
      for (const Scheduler::Start& start : scheduler.Next(kNow, kAll)) {
        ASSERT_EQ(waiting.erase(start.task), 1u);
        running[start.task] = start;
      }
      ASSERT_FALSE(running.empty());
      scheduler.Remove(running.begin()->first);
      running.erase(running.begin());
    }
  }
}

TEST(ShareOf, IsAnEqualPartOfWhatIsLeft) {
  struct Row {
    uint64_t limit;
    size_t slots;
    uint64_t given;
    absl::optional<uint64_t> share;
  };
  const Row rows[] = {
      {1'000, 4, 0, 250},
      {1'000, 4, 750, 250},
      {1'000, 4, 850, 150},
      {1'000, 4, 876, absl::nullopt},
      {1'000, 4, 1'000, absl::nullopt},
      {1'000, 4, 5'000, absl::nullopt},
      {1'000, 0, 0, 1'000},
      {2, 64, 0, 1},
      {2, 64, 1, 1},
      {2, 64, 2, absl::nullopt},
      {uint64_t{1} << 63, 1, 0, uint64_t{1} << 63},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(ShareOf(row.limit, row.slots, row.given), row.share)
        << row.limit << " " << row.slots << " " << row.given;
  }
}

TEST(Canary, FirstNodesByName) {
  const std::set<std::string> nodes = {"c", "a", "b"};
  EXPECT_EQ(CanaryNodes({2, 1}, nodes), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(CanaryNodes({9, 1}, nodes), nodes);
  EXPECT_TRUE(CanaryNodes({0, 1}, nodes).empty());
}

TEST(Canary, Verdicts) {
  struct Row {
    Canary canary;
    std::vector<TaskState> tasks;
    CanaryVerdict verdict;
  };
  using S = TaskState;
  const Row rows[] = {
      {{0, 1}, {S::kWaiting, S::kFailed}, CanaryVerdict::kGoOn},
      {{1, 1}, {S::kWaiting}, CanaryVerdict::kWait},
      {{1, 1}, {S::kSucceeded, S::kRunning}, CanaryVerdict::kWait},
      {{1, 1}, {S::kSucceeded, S::kSucceeded}, CanaryVerdict::kGoOn},
      {{1, 1}, {S::kFailed, S::kRunning}, CanaryVerdict::kStop},
      {{2, 2}, {S::kFailed, S::kRunning}, CanaryVerdict::kWait},
      {{2, 2}, {S::kFailed, S::kSucceeded}, CanaryVerdict::kGoOn},
      {{2, 2}, {S::kFailed, S::kFailed}, CanaryVerdict::kStop},
      {{2, 1}, {S::kCancelled, S::kSucceeded}, CanaryVerdict::kGoOn},
  };
  for (const Row& row : rows) {
    TaskCounts counts;
    for (TaskState state : row.tasks) counts.Add(state, 1);
    EXPECT_EQ(JudgeCanary(row.canary, counts), row.verdict) << &row - rows;
  }
}

}  // namespace
}  // namespace cowherd
