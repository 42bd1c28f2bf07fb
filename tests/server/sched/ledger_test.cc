// The jobs in the store and in memory, and who is told of them.
#include "server/sched/ledger.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "server/base/status.h"
#include "server/jobs/memory_store.h"

namespace cowherd {
namespace {

class LedgerTest : public ::testing::Test {
 protected:
  // A job with one task on node "a".
  const ActiveJob& Create(const std::string& id) {
    JobRecord record;
    record.job.id = id;
    record.job.tasks_made = 1;
    record.tasks.resize(1);
    record.tasks[0].node = "a";
    record.tasks[0].expanded = true;
    return *ledger_.Create(std::move(record), JobPlan()).value();
  }
  absl::Status Move(const ActiveJob& active, TaskState state) {
    JobChange change;
    change.job = active.job;
    change.put = {active.tasks[0].ToTask()};
    change.put[0].state = state;
    change.put[0].attempt = 1;
    return ledger_.Save({std::move(change)});
  }
  double Gauge(const std::string& name, const std::string& state) {
    for (const prometheus::MetricFamily& family : registry_.Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        if (metric.label[0].value == state) return metric.gauge.value;
      }
    }
    ADD_FAILURE() << "no " << name << " of " << state;
    return -1;
  }
  Watcher Telling() {
    return [this](const std::shared_ptr<const JobView>& view) {
      told_.push_back(view == nullptr ? "over" : std::string(JobStateName(view->job.state)));
    };
  }

  FakeClock clock_{absl::FromUnixSeconds(1'000)};
  prometheus::Registry registry_;
  ControllerMetrics metrics_{registry_, "1", {}, {}};
  MemoryStore store_;
  std::vector<std::string> saved_;
  std::vector<std::string> ended_;
  std::vector<std::string> told_;
  Ledger ledger_{store_,
                 clock_,
                 metrics_,
                 /*max_watches=*/2,
                 {[](const ActiveJob&, JobView& view) { view.waits = absl::UnavailableError("explained"); },
                  [this](const ActiveJob& active) { saved_.push_back(active.job.id); },
                  [this](const Job& job) { ended_.push_back(job.id); }}};
};

using Strings = std::vector<std::string>;

TEST_F(LedgerTest, WhatIsSavedIsInTheStoreThenInMemoryThenTold) {
  const ActiveJob& active = Create("one");
  ASSERT_TRUE(ledger_.Watch("one", Telling()).ok());
  ASSERT_TRUE(Move(active, TaskState::kRunning).ok());
  EXPECT_EQ(store_.Get("one")->job.state, JobState::kRunning);
  EXPECT_EQ(active.job.state, JobState::kRunning);
  EXPECT_EQ(saved_, (Strings{"one"}));
  EXPECT_TRUE(ledger_.Tell().empty());
  EXPECT_EQ(told_, (Strings{"pending", "running"}));
  EXPECT_EQ(ledger_.Get("one")->waits.message(), "explained");
  ASSERT_TRUE(Move(active, TaskState::kSucceeded).ok());
  EXPECT_EQ(ended_, (Strings{"one"}));
  EXPECT_EQ(ledger_.Tell(), (std::vector<uint64_t>{active.job.sequence}));
  EXPECT_EQ(told_.back(), "succeeded");
  ledger_.LetGo(active.job.sequence);
  EXPECT_TRUE(ledger_.table().jobs().empty());
  EXPECT_EQ(ledger_.Get("one")->job.state, JobState::kSucceeded);
  EXPECT_TRUE(ledger_.Get("one")->waits.ok());
}

TEST_F(LedgerTest, WhatCannotBeStoredHasNotHappened) {
  const ActiveJob& active = Create("one");
  EXPECT_EQ(ledger_.retry(), absl::InfinitePast());
  store_.FailWith(absl::UnavailableError("store"));
  EXPECT_FALSE(Move(active, TaskState::kRunning).ok());
  EXPECT_EQ(active.job.state, JobState::kPending);
  EXPECT_TRUE(saved_.empty());
  EXPECT_EQ(ledger_.retry(), clock_.Now() + absl::Seconds(1));
  store_.FailWith(absl::OkStatus());
  // A move that is not legal is not even tried.
  ASSERT_TRUE(Move(active, TaskState::kRunning).ok());
  ASSERT_TRUE(Move(active, TaskState::kSucceeded).ok());
  const int writes = store_.writes();
  clock_.Advance(absl::Hours(1));
  EXPECT_TRUE(absl::IsInternal(Move(active, TaskState::kRunning)));
  EXPECT_EQ(store_.writes(), writes);
  // But not again and again.
  EXPECT_EQ(ledger_.retry(), clock_.Now() + absl::Seconds(1));
}

TEST_F(LedgerTest, JobsAreDeletedOnceTheyHaveEnded) {
  const ActiveJob& active = Create("one");
  EXPECT_EQ(ReasonOf(ledger_.Delete("one")), "JOB_ACTIVE");
  ASSERT_TRUE(Move(active, TaskState::kFailed).ok());
  ledger_.Tell();
  ledger_.LetGo(active.job.sequence);
  ASSERT_TRUE(ledger_.Delete("one").ok());
  EXPECT_EQ(ReasonOf(ledger_.Delete("one")), "JOB_UNKNOWN");
  ledger_.Publish();
  EXPECT_EQ(Gauge("cowherd_controller_jobs", "failed"), 0);
}

TEST_F(LedgerTest, JobsThatTheStoreForgetsAreNotCountedOn) {
  for (const char* id : {"one", "two"}) ASSERT_TRUE(Move(Create(id), TaskState::kFailed).ok());
  ledger_.Publish();
  EXPECT_EQ(Gauge("cowherd_controller_jobs", "failed"), 2);
  // As one does that keeps a bounded number of them, when a third has ended.
  const ActiveJob& third = Create("three");
  ASSERT_TRUE(Move(third, TaskState::kFailed).ok());
  ASSERT_TRUE(store_.Delete("one").ok());
  ledger_.Publish();
  EXPECT_EQ(Gauge("cowherd_controller_jobs", "failed"), 2);
  EXPECT_TRUE(ledger_.TakeMoved());
  EXPECT_FALSE(ledger_.TakeMoved());
}

TEST_F(LedgerTest, WatchesAreBounded) {
  Create("one");
  const uint64_t first = ledger_.Watch("one", Telling()).value();
  ASSERT_TRUE(ledger_.Watch("one", Telling()).ok());
  EXPECT_EQ(ReasonOf(ledger_.Watch("one", Telling()).status()), "TOO_MANY_WATCHES");
  EXPECT_EQ(ReasonOf(ledger_.Watch("none", Telling()).status()), "TOO_MANY_WATCHES");
  ledger_.Unwatch(first);
  EXPECT_EQ(ReasonOf(ledger_.Watch("none", Telling()).status()), "JOB_UNKNOWN");
  ledger_.Close();
  EXPECT_EQ(told_.back(), "over");
}

}  // namespace
}  // namespace cowherd
