// The jobs that have not ended, as they are kept in memory.
#include "server/sched/job_table.h"

#include <gtest/gtest.h>

#include "server/base/status.h"

namespace cowherd {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(100);

Task OnNode(uint32_t number, const std::string& node, TaskState state = TaskState::kWaiting) {
  Task task;
  task.number = number;
  task.node = node;
  task.root = "data";
  task.expanded = true;
  task.state = state;
  task.waiting_since = kNow;
  if (state != TaskState::kWaiting) task.attempt = 1;
  task.open = state == TaskState::kRunning;
  return task;
}

JobRecord Record(uint64_t sequence, std::vector<Task> tasks) {
  JobRecord record;
  record.job.id = "job" + std::to_string(sequence);
  record.job.sequence = sequence;
  record.job.tasks_made = static_cast<uint32_t>(tasks.size());
  record.spec = "spec";
  record.tasks = std::move(tasks);
  return record;
}

Totals Scanned(uint64_t bytes) {
  Totals totals;
  totals.bytes_scanned = bytes;
  return totals;
}

class JobTableTest : public ::testing::Test {
 protected:
  // Completes and applies; the job as it is then.
  const Job& Change(uint64_t sequence, std::vector<Task> put, std::vector<uint32_t> removed = {},
                    absl::Time now = kNow) {
    JobChange change;
    change.job = table_.Find(sequence)->job;
    change.put = std::move(put);
    change.removed = std::move(removed);
    EXPECT_TRUE(table_.Complete(change, now).ok());
    table_.Apply(std::move(change));
    return table_.Find(sequence)->job;
  }

  JobTable table_;
};

TEST_F(JobTableTest, ATaskComesOutAsItWentIn) {
  Task task = OnNode(3, "a", TaskState::kRunning);
  task.paths = {"/a/b"};
  task.failures = 2;
  task.crashes = 1;
  task.node_started = kNow - absl::Hours(1);
  task.next_attempt = kNow + absl::Hours(1);
  task.error = MakeError(absl::StatusCode::kUnavailable, "X", "y");
  task.run_id = "r2";
  task.current = Scanned(5);
  task.carried = Scanned(7);
  NamePool names;
  const TaskRow row(task, names);
  const Task back = row.ToTask();
  EXPECT_EQ(back.number, 3u);
  EXPECT_EQ(back.node, "a");
  EXPECT_EQ(back.root, "data");
  EXPECT_EQ(back.paths, task.paths);
  EXPECT_TRUE(back.expanded && back.open);
  EXPECT_EQ(back.state, TaskState::kRunning);
  EXPECT_EQ(back.attempt, 1u);
  EXPECT_EQ(back.failures, 2u);
  EXPECT_EQ(back.crashes, 1u);
  EXPECT_EQ(back.node_started, task.node_started);
  EXPECT_EQ(back.next_attempt, task.next_attempt);
  EXPECT_EQ(back.waiting_since, kNow);
  EXPECT_EQ(back.error, task.error);
  EXPECT_EQ(back.run_id, "r2");
  EXPECT_EQ(back.current, task.current);
  EXPECT_EQ(back.carried, task.carried);
  EXPECT_EQ(row.totals(), task.totals());
  EXPECT_EQ(TaskRow(OnNode(1, "a"), names).totals(), Totals());
}

TEST_F(JobTableTest, NamesAreKeptOnceAndForAsLongAsTheyAreUsed) {
  NamePool names;
  std::shared_ptr<const std::string> one = names.Get("a");
  EXPECT_EQ(one, names.Get("a"));
  EXPECT_NE(one, names.Get("b"));
  const std::weak_ptr<const std::string> kept = one;
  one.reset();
  EXPECT_TRUE(kept.expired());
  // Thousands of names that came and went.
  for (int i = 0; i < 5'000; ++i) EXPECT_EQ(*names.Get(std::to_string(i)), std::to_string(i));
}

TEST_F(JobTableTest, FindsByEachKey) {
  table_.Add(Record(1, {OnNode(0, "a"), OnNode(2, "b")}), JobPlan());
  EXPECT_EQ(table_.Find("job1"), table_.Find(uint64_t{1}));
  EXPECT_EQ(*table_.Find(TaskKey{1, 2})->node, "b");
  EXPECT_EQ(table_.Find(TaskKey{1, 1}), nullptr);
  EXPECT_EQ(table_.Find(TaskKey{2, 0}), nullptr);
  EXPECT_EQ(table_.Find("other"), nullptr);
  EXPECT_EQ(table_.Find(uint64_t{1})->From(1)->number, 2u);
  EXPECT_EQ(table_.Find(uint64_t{1})->Record().tasks.size(), 2u);
  EXPECT_EQ(table_.Find(uint64_t{1})->Record().spec, "spec");
  table_.Remove(1);
  EXPECT_EQ(table_.Find("job1"), nullptr);
  EXPECT_TRUE(table_.jobs().empty());
}

TEST_F(JobTableTest, StateAndTotalsFollowFromTheTasks) {
  Task half = OnNode(1, "b", TaskState::kSucceeded);
  half.run_id = "r";
  half.current = Scanned(7);
  JobRecord record = Record(1, {OnNode(0, "a"), half});
  // What a crash between two writes left.
  record.job.state = JobState::kPending;
  record.job.totals = Scanned(99);
  table_.Add(std::move(record), JobPlan());
  EXPECT_EQ(table_.Find(uint64_t{1})->job.state, JobState::kRunning);
  EXPECT_EQ(table_.Find(uint64_t{1})->job.totals, Scanned(7));

  Task task = OnNode(0, "a", TaskState::kRunning);
  task.run_id = "r";
  task.current = Scanned(1);
  const Job& running = Change(1, {task});
  EXPECT_EQ(running.totals, Scanned(8));
  EXPECT_EQ(running.revision, 2u);
  EXPECT_EQ(running.started, kNow);
  task.current = Scanned(3);
  EXPECT_EQ(Change(1, {task}, {}, kNow + absl::Seconds(1)).totals, Scanned(10));
  EXPECT_EQ(table_.Find(uint64_t{1})->job.started, kNow);
  task.state = TaskState::kFailed;
  task.open = false;
  const Job& ended = Change(1, {task}, {}, kNow + absl::Seconds(2));
  EXPECT_EQ(ended.state, JobState::kFailed);
  EXPECT_EQ(ended.ended, kNow + absl::Seconds(2));
}

TEST_F(JobTableTest, AnIllegalMoveChangesNothing) {
  table_.Add(Record(1, {OnNode(0, "a", TaskState::kSucceeded), OnNode(1, "a")}), JobPlan());
  JobChange change;
  change.job = table_.Find(uint64_t{1})->job;
  change.put = {OnNode(0, "a")};
  EXPECT_TRUE(absl::IsInternal(table_.Complete(change, kNow)));
  EXPECT_EQ(table_.Find(TaskKey{1, 0})->state, TaskState::kSucceeded);
}

TEST_F(JobTableTest, TasksComeAndGo) {
  Task whole = OnNode(0, "a");
  whole.expanded = false;
  table_.Add(Record(1, {whole, OnNode(1, "b")}), JobPlan());
  EXPECT_EQ(table_.OnNode("a").unexpanded, (std::set<TaskKey>{{1, 0}}));
  EXPECT_EQ(table_.Find(uint64_t{1})->unexpanded, (std::set<uint32_t>{0}));
  Change(1, {OnNode(0, "a"), OnNode(2, "a")}, {1});
  EXPECT_TRUE(table_.OnNode("a").unexpanded.empty());
  EXPECT_EQ(table_.Find(TaskKey{1, 1}), nullptr);
  EXPECT_EQ(table_.CountTasks().at(TaskState::kWaiting), 2u);

  Change(1, {OnNode(2, "a", TaskState::kRunning)});
  EXPECT_EQ(table_.OnNode("a").open, (std::set<TaskKey>{{1, 2}}));
  EXPECT_EQ(table_.Find(uint64_t{1})->open, (std::set<uint32_t>{2}));
  EXPECT_EQ(table_.CountTasks().at(TaskState::kRunning), 1u);
  table_.Remove(1);
  EXPECT_TRUE(table_.OnNode("a").open.empty());
  for (const auto& [state, count] : table_.CountTasks()) EXPECT_EQ(count, 0u) << TaskStateName(state);
}

TEST_F(JobTableTest, TheOldestThatWaits) {
  EXPECT_EQ(table_.oldest_waiting(), absl::InfiniteFuture());
  Task later = OnNode(1, "b");
  later.waiting_since = kNow + absl::Seconds(5);
  table_.Add(Record(1, {OnNode(0, "a"), later}), JobPlan());
  EXPECT_EQ(table_.oldest_waiting(), kNow);
  Change(1, {OnNode(0, "a", TaskState::kRunning)});
  EXPECT_EQ(table_.oldest_waiting(), later.waiting_since);
}

TEST_F(JobTableTest, OthersFollowTheCanaryNodes) {
  JobPlan plan;
  plan.canary.nodes = 1;
  plan.canary.max_failures = 1;
  const ActiveJob& active = table_.Add(Record(1, {OnNode(0, "b"), OnNode(1, "a"), OnNode(2, "a")}), plan);
  EXPECT_EQ(active.canary_nodes, (std::set<std::string>{"a"}));
  EXPECT_FALSE(active.Follows("a"));
  EXPECT_TRUE(active.Follows("b"));
  Change(1, {OnNode(1, "a", TaskState::kRunning), OnNode(2, "a", TaskState::kRunning)});
  Change(1, {OnNode(1, "a", TaskState::kSucceeded)});
  EXPECT_TRUE(active.Follows("b"));
  EXPECT_EQ(active.canary.in(TaskState::kSucceeded), 1u);
  Change(1, {OnNode(2, "a", TaskState::kSucceeded)});
  EXPECT_FALSE(active.Follows("b"));

  // Where one failed they never do.
  table_.Add(Record(2, {OnNode(0, "b"), OnNode(1, "a", TaskState::kFailed)}), plan);
  EXPECT_TRUE(table_.Find(uint64_t{2})->Follows("b"));
  // Without any, all nodes are alike.
  table_.Add(Record(3, {OnNode(0, "b")}), JobPlan());
  EXPECT_FALSE(table_.Find(uint64_t{3})->Follows("b"));
}

}  // namespace
}  // namespace cowherd
