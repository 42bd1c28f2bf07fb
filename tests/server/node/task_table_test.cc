#include "server/node/task_table.h"

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

class TaskTableTest : public ::testing::Test {
 protected:
  using Run = std::shared_ptr<TaskRun>;

  // A run that goes on until it is told to stop, or until Release.
  absl::StatusOr<Run> Start(const std::string& id, uint32_t attempt = 1, uint64_t epoch = 0) {
    return table_->RunOrAttach(id, attempt, epoch, [this]() -> absl::StatusOr<TaskTable::New> {
      ++made_;
      return TaskTable::New{std::make_shared<SharedTotals>(),
                            [this](SharedTotals& totals, const Stop& stop, v1::TaskSummary&) {
                              totals.Update([](Totals& t) { ++t.files_scanned; });
                              while (!released_ && stop.Check().ok()) std::this_thread::yield();
                              return released_ ? absl::OkStatus() : stop.Check();
                            }};
    });
  }

  // A run that ends by itself, as `status` says.
  Run StartAndEnd(const std::string& id, uint32_t attempt, absl::Status status = absl::OkStatus()) {
    auto run = table_->RunOrAttach(id, attempt, 0, [&]() -> absl::StatusOr<TaskTable::New> {
      ++made_;
      return TaskTable::New{std::make_shared<SharedTotals>(),
                            [status](SharedTotals& totals, const Stop&, v1::TaskSummary& summary) {
                              totals.Update([](Totals& t) { t.bytes_won = 7; });
                              summary.add_ranges();
                              return status;
                            }};
    });
    EXPECT_THAT(run, IsOk());
    return Ended(*run);
  }

  static Run Ended(Run run) {
    while (!run->ended()) std::this_thread::yield();
    return run;
  }

  std::atomic<bool> released_{false};
  std::atomic<int> made_{0};
  std::atomic<int> ended_{0};
  EpochGate epochs_{0, [](uint64_t) { return absl::OkStatus(); }};
  std::unique_ptr<TaskTable> table_ = std::make_unique<TaskTable>(
      2, 3, epochs_,
      [this](const std::string&, const TaskRun& run, const absl::Status&) { ended_ += run.ended() ? 1 : 0; });
};

TEST_F(TaskTableTest, ATaskThatRunsIsAttachedTo) {
  const Run first = *Start("t");
  const std::string run_id = first->Report().run_id();
  EXPECT_EQ(run_id.size(), 32U);
  EXPECT_TRUE(first->Report().has_progress());
  EXPECT_EQ(first->Report().attempt(), 1U);
  EXPECT_EQ((*Start("t"))->Report().run_id(), run_id);
  EXPECT_EQ((*Start("t", 5))->Report().run_id(), run_id);  // the run goes on, whatever the attempt
  EXPECT_EQ(made_, 1);
  EXPECT_EQ(table_->running(), 1U);
  released_ = true;
  Ended(first);
  EXPECT_TRUE(first->Report().has_summary());
  EXPECT_EQ(first->Report().summary().totals().files_scanned(), 1U);
  EXPECT_FALSE(first->Report().summary().has_error());
}

TEST_F(TaskTableTest, TheSummaryIsKeptForTheSameAttemptAndAHigherOneStartsAnew) {
  const Run first = StartAndEnd("t", 2);
  for (uint32_t attempt : {2U, 1U, 0U}) {
    const Run again = *Start("t", attempt);
    EXPECT_EQ(again->Report().run_id(), first->Report().run_id());
    EXPECT_EQ(again->Report().summary().totals().bytes_won(), 7);
    EXPECT_EQ(again->Report().summary().ranges_size(), 1);
  }
  EXPECT_EQ(made_, 1);
  const Run anew = StartAndEnd("t", 3);
  EXPECT_NE(anew->Report().run_id(), first->Report().run_id());
  EXPECT_EQ(anew->Report().attempt(), 3U);
  EXPECT_EQ(made_, 2);
}

TEST_F(TaskTableTest, AFailedRunSaysWhy) {
  const Run run = StartAndEnd("t", 1, MakeError(absl::StatusCode::kNotFound, "ROOT_ABSENT", "no root"));
  EXPECT_EQ(run->Report().summary().error().reason(), "ROOT_ABSENT");
  EXPECT_EQ(run->Report().summary().totals().bytes_won(), 7);
}

TEST_F(TaskTableTest, TheEndIsToldOnceWithTheSummaryThere) {
  const Run run = *Start("t");
  std::promise<void> told;
  std::atomic<int> times{0};
  TaskRun::EndWatch watch(run, [&] {
    ++times;
    told.set_value();
  });
  {
    const TaskRun::EndWatch gone(run, [] { ADD_FAILURE() << "told although it had gone"; });
  }
  EXPECT_EQ(times, 0);
  released_ = true;
  told.get_future().wait();
  EXPECT_TRUE(run->Report().has_summary());
  table_.reset();
  EXPECT_EQ(times, 1);

  // Of a run that has ended: at once, in this thread.
  bool at_once = false;
  const TaskRun::EndWatch late(run, [&] { at_once = true; });
  EXPECT_TRUE(at_once);
}

TEST_F(TaskTableTest, TooManyAreRefusedAndLaterTaken) {
  ASSERT_THAT(Start("a"), IsOk());
  const Run b = *Start("b");
  const auto refused = Start("c");
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(refused, HasReason("BUSY"));
  EXPECT_THAT(Start("a"), IsOk());  // attaching needs no room
  EXPECT_THAT(table_->Cancel("b", 0), IsOk());
  Ended(b);
  // The place is free as soon as the summary can be seen.
  EXPECT_THAT(Start("c"), IsOk());
}

TEST_F(TaskTableTest, CancelEndsOneRun) {
  const Run a = *Start("a");
  const Run b = *Start("b");
  EXPECT_THAT(table_->Cancel("a", 0), IsOk());
  EXPECT_EQ(Ended(a)->Report().summary().error().reason(), "CANCELLED");
  EXPECT_FALSE(b->ended());
  EXPECT_THAT(table_->Cancel("a", 0), IsOk());
  EXPECT_THAT(table_->Cancel("none", 0), HasReason("TASK_UNKNOWN"));
  EXPECT_THAT(table_->Cancel("none", 0), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(TaskTableTest, ErrorsOfMakeArePassedOnAndLeaveNothing) {
  EXPECT_THAT(table_->RunOrAttach(
                  "t", 1, 0, []() -> absl::StatusOr<TaskTable::New> { return FieldError("scan", "bad"); }),
              HasField("scan"));
  EXPECT_THAT(table_->Cancel("t", 0), HasReason("TASK_UNKNOWN"));
  EXPECT_EQ(table_->running(), 0U);
}

TEST_F(TaskTableTest, ALaterEpochIsGivenTheRunThatGoesOn) {
  const Run first = *Start("t", 1, 5);
  const Run second = *Start("t", 1, 6);
  EXPECT_EQ(second->Report().run_id(), first->Report().run_id());
  EXPECT_EQ(made_, 1);
  // The earlier controller may neither attach, nor begin, nor cancel.
  EXPECT_THAT(Start("t", 1, 5), HasReason("STALE_EPOCH"));
  EXPECT_THAT(Start("u", 1, 5), HasReason("STALE_EPOCH"));
  EXPECT_THAT(table_->Cancel("t", 5), HasReason("STALE_EPOCH"));
  EXPECT_FALSE(first->ended());
  EXPECT_EQ(made_, 1);
  EXPECT_THAT(table_->Cancel("t", 6), IsOk());
  EXPECT_EQ(Ended(second)->Report().summary().error().reason(), "CANCELLED");
}

TEST_F(TaskTableTest, TellsWhatControllersBeganAndStillRuns) {
  EXPECT_TRUE(table_->Controlled().empty());
  ASSERT_THAT(Start("a", 1, 0), IsOk());
  const Run b = *Start("b", 1, 5);
  EXPECT_EQ(table_->Controlled(), std::vector<std::string>{"b"});
  ASSERT_THAT(table_->Cancel("b", 5), IsOk());
  Ended(b);
  EXPECT_TRUE(table_->Controlled().empty());
  EXPECT_EQ(table_->running(), 1U);
}

TEST_F(TaskTableTest, OldSummariesAreForgotten) {
  for (int i = 0; i < 5; ++i) StartAndEnd(absl::StrCat("t", i), 1);
  EXPECT_THAT(table_->Cancel("t0", 0), HasReason("TASK_UNKNOWN"));
  EXPECT_THAT(table_->Cancel("t1", 0), HasReason("TASK_UNKNOWN"));
  for (const char* kept : {"t2", "t3", "t4"}) EXPECT_THAT(table_->Cancel(kept, 0), IsOk());
  // One that ran again is young again.
  StartAndEnd("t2", 2);
  StartAndEnd("t5", 1);
  EXPECT_THAT(table_->Cancel("t3", 0), HasReason("TASK_UNKNOWN"));
  EXPECT_THAT(table_->Cancel("t2", 0), IsOk());
}

TEST_F(TaskTableTest, StopAllEndsRunsAndTakesNoMore) {
  const Run a = *Start("a");
  const Run b = *Start("b");
  table_->StopAll();
  for (const Run& run : {a, b}) {
    EXPECT_EQ(Ended(run)->Report().summary().error().reason(), "NODE_STOPPING");
    EXPECT_EQ(run->Report().summary().error().code(), static_cast<int>(absl::StatusCode::kUnavailable));
  }
  EXPECT_THAT(Start("c"), HasReason("NODE_STOPPING"));
  EXPECT_THAT(Start("a"), IsOk());  // its summary can still be had
}

TEST_F(TaskTableTest, DestructorWaitsForTheRuns) {
  const Run a = *Start("a");
  table_.reset();
  EXPECT_TRUE(a->ended());
  EXPECT_EQ(ended_, 1);
}

TEST_F(TaskTableTest, ManyTasksFromManyThreads) {
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int i = 0; i < 50; ++i) {
        const auto run = table_->RunOrAttach(
            absl::StrCat("t", (c + i) % 7), static_cast<uint32_t>(i), 0,
            []() -> absl::StatusOr<TaskTable::New> {
              return TaskTable::New{
                  std::make_shared<SharedTotals>(),
                  [](SharedTotals&, const Stop&, v1::TaskSummary&) { return absl::OkStatus(); }};
            });
        if (run.ok()) {
          Ended(*run);
        } else {
          EXPECT_THAT(run, HasReason("BUSY"));
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(table_->running(), 0U);
}

}  // namespace
}  // namespace cowherd
