// Streams of open tasks, and what came by them until it is stored.
#include "server/sched/runs.h"

#include <gtest/gtest.h>

#include "tests/testing/fake_link.h"

namespace cowherd {
namespace {

const TaskKey kTask{1, 2};
const absl::Time kNow = absl::FromUnixSeconds(100);

RunEvent Progress(const std::string& run, uint64_t bytes) {
  RunEvent event;
  event.run_id = run;
  event.totals.bytes_scanned = bytes;
  return event;
}

class RunsTest : public ::testing::Test {
 protected:
  FakeLink::Stream& Start(TaskKey task, const std::string& run_id = "", bool first = true) {
    RunOrder order;
    order.node = "a";
    runs_.Start(task, {"a:1", ""}, order, run_id, first, kNow);
    return *link_.streams.back();
  }
  void Arrive() {
    for (Mailbox::Work& work : mailbox_->Take()) work();
  }
  void Say(FakeLink::Stream& stream, RunEvent event) {
    stream.events.on_event(std::move(event));
    Arrive();
  }
  void End(FakeLink::Stream& stream, const absl::Status& status) {
    stream.events.on_end(status);
    Arrive();
  }

  FakeLink link_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(100);
  std::vector<TaskKey> new_runs_;
  Runs runs_{link_, mailbox_, [this](TaskKey task) { new_runs_.push_back(task); }};
};

TEST_F(RunsTest, ProgressIsConflatedByRun) {
  FakeLink::Stream& stream = Start(kTask);
  EXPECT_TRUE(runs_.HasStream(kTask));
  EXPECT_EQ(runs_.by_node().at("a"), 1u);
  for (uint64_t bytes = 1; bytes <= 5; ++bytes) Say(stream, Progress("r1", bytes));
  Say(stream, Progress("r2", 1));
  // The first by itself, one more for each that came.
  EXPECT_EQ(stream.asked, 7);
  ASSERT_EQ(runs_.NewsOf(kTask).progress.size(), 2u);
  EXPECT_EQ(runs_.NewsOf(kTask).progress[0].totals.bytes_scanned, 5u);
  EXPECT_EQ(new_runs_, (std::vector<TaskKey>{kTask, kTask}));
  EXPECT_EQ(runs_.WithNews(), (std::vector<TaskKey>{kTask}));
  EXPECT_EQ(runs_.Due(kNow, 10), (std::vector<TaskKey>{kTask}));
  runs_.Stored(kTask, kNow);
  EXPECT_TRUE(runs_.NewsOf(kTask).progress.empty());
  EXPECT_EQ(runs_.wake(), absl::InfiniteFuture());
  Say(stream, Progress("r2", 2));
  EXPECT_EQ(runs_.wake(), kNow + absl::Seconds(1));
  EXPECT_TRUE(runs_.Due(kNow, 10).empty());
}

TEST_F(RunsTest, ARunThatIsKnownIsNotNew) {
  Say(Start(kTask, "r1"), Progress("r1", 1));
  EXPECT_TRUE(new_runs_.empty());
}

TEST_F(RunsTest, ProgressOfARunThatWentOnNeedNotBeStoredAtOnce) {
  // A new leader attaches to a thousand, each of which tells at once how far it is.
  Say(Start(kTask, "r1", /*first=*/false), Progress("r1", 1));
  EXPECT_TRUE(runs_.Due(kNow, 10).empty());
  EXPECT_EQ(runs_.wake(), kNow + absl::Seconds(1));
}

TEST_F(RunsTest, ASummaryEndsTheTryAtOnce) {
  FakeLink::Stream& stream = Start(kTask);
  RunEvent last = Progress("r1", 9);
  last.over = true;
  Say(stream, last);
  EXPECT_FALSE(runs_.HasStream(kTask));
  EXPECT_TRUE(runs_.HasEnd(kTask));
  EXPECT_TRUE(runs_.by_node().empty());
  // No end of a run that nobody had heard of is a run that must be stopped.
  EXPECT_TRUE(new_runs_.empty());
  EXPECT_EQ(runs_.wake(), absl::InfinitePast());
  // The stream itself is let end.
  EXPECT_FALSE(stream.dropped);
  End(stream, absl::OkStatus());
  EXPECT_TRUE(stream.dropped);
  ASSERT_EQ(runs_.Ended(10), (std::vector<TaskKey>{kTask}));
  EXPECT_EQ(runs_.NewsOf(kTask).end->last->totals.bytes_scanned, 9u);
  runs_.Stored(kTask, kNow);
  EXPECT_TRUE(runs_.Ended(10).empty());
}

TEST_F(RunsTest, EndsComeInTheirOrder) {
  Start({1, 1});
  Start({1, 2});
  Start({1, 3});
  for (const size_t i : {2u, 0u, 1u}) End(*link_.streams[i], absl::UnavailableError("reset"));
  EXPECT_EQ(runs_.Ended(2), (std::vector<TaskKey>{{1, 3}, {1, 1}}));
  EXPECT_EQ(runs_.NewsOf({1, 2}).end->status.message(), "reset");
  runs_.Close({1, 3});
  EXPECT_EQ(runs_.Ended(2), (std::vector<TaskKey>{{1, 1}, {1, 2}}));
}

TEST_F(RunsTest, LossesCountUntilSomethingIsHeard) {
  End(Start(kTask), absl::UnavailableError("reset"));
  runs_.CountLoss(kTask);
  runs_.Stored(kTask, kNow);
  End(Start(kTask, "", /*first=*/false), absl::UnavailableError("reset"));
  runs_.CountLoss(kTask);
  EXPECT_EQ(runs_.Losses(kTask), 2u);
  Say(Start(kTask, "", false), Progress("r1", 1));
  EXPECT_EQ(runs_.Losses(kTask), 0u);
  EXPECT_EQ(runs_.Losses({9, 9}), 0u);
}

TEST_F(RunsTest, AnAttemptIsUnheardUntilItTellsOfItself) {
  EXPECT_FALSE(runs_.Unheard(kTask));
  End(Start(kTask), absl::UnavailableError("reset"));
  EXPECT_TRUE(runs_.Unheard(kTask));
  EXPECT_FALSE(runs_.Excused(kTask));
  runs_.Excuse(kTask);
  FakeLink::Stream& stream = Start(kTask, "", /*first=*/false);
  EXPECT_TRUE(runs_.Unheard(kTask));
  EXPECT_TRUE(runs_.Excused(kTask));
  RunEvent event = Progress("r1", 1);
  event.node_started = kNow;
  Say(stream, event);
  EXPECT_FALSE(runs_.Unheard(kTask));
  EXPECT_EQ(runs_.NodeStarted(kTask), kNow);
  // One that was begun before this controller came may have told of itself.
  Start({1, 3}, "", /*first=*/false);
  EXPECT_FALSE(runs_.Unheard({1, 3}));
}

TEST_F(RunsTest, NothingIsHeardOfAClosedTask) {
  FakeLink::Stream& stream = Start(kTask);
  runs_.Close(kTask);
  EXPECT_TRUE(stream.dropped);
  Say(stream, Progress("r1", 1));
  End(stream, absl::OkStatus());
  EXPECT_TRUE(runs_.WithNews().empty());
  EXPECT_TRUE(runs_.Ended(10).empty());
  runs_.Close(kTask);
}

TEST_F(RunsTest, ProgressOfVeryManyIsStoredLessOften) {
  for (uint32_t number = 0; number < 3'000; ++number) Start({1, number});
  Say(*link_.streams[0], Progress("r1", 1));
  runs_.Stored({1, 0}, kNow);
  Say(*link_.streams[0], Progress("r1", 2));
  EXPECT_EQ(runs_.wake(), kNow + absl::Seconds(3));
}

}  // namespace
}  // namespace cowherd
