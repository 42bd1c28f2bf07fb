// The loop by hand: a fake link, a clock that stands still, no threads.
#include "server/sched/loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"
#include "server/sched/backoff.h"
#include "server/sched/window.h"
#include "tests/testing/fake_link.h"

namespace cowherd {
namespace {

NodeFacts Facts(const std::vector<std::string>& roots, std::map<std::string, std::string> labels = {}) {
  NodeFacts facts;
  facts.name = "own";
  facts.labels = std::move(labels);
  for (const std::string& name : roots) {
    RootFacts root;
    root.name = name;
    root.path = "/" + name;
    root.dedupe_supported = true;
    facts.roots.push_back(std::move(root));
  }
  return facts;
}

Totals Accepted(uint64_t bytes) {
  Totals totals;
  totals.bytes_accepted = bytes;
  return totals;
}

RunEvent Progress(const std::string& run, uint64_t bytes) { return {run, Accepted(bytes), false, {}, ""}; }
RunEvent Summary(const std::string& run, uint64_t bytes, absl::Status error = absl::OkStatus()) {
  return {run, Accepted(bytes), true, std::move(error), ""};
}
absl::Status Stopped() { return MakeError(absl::StatusCode::kUnknown, "CANCELLED", "stopped"); }

// A plan is written "all", "names:a,b", "give_up:a,b", "label:k=v", "ranges:a,b"; then perhaps ";priority=3"
// or
// ";canary=1/2", for one node and two failures, or ";window".
absl::StatusOr<JobPlan> ReadPlan(absl::string_view spec) {
  JobPlan plan;
  const std::vector<std::string> words = absl::StrSplit(spec, ';');
  for (size_t i = 1; i < words.size(); ++i) {
    const std::vector<std::string> option = absl::StrSplit(words[i], absl::ByAnyChar("=/"));
    // The first ten minutes of each hour.
    if (option[0] == "window") plan.windows = {MakeWindow("0 * * * *", "", absl::Minutes(10)).value()};
    if (option[0] == "priority") plan.priority = std::stoi(option[1]);
    if (option[0] != "canary") continue;
    plan.canary.nodes = static_cast<uint32_t>(std::stoul(option[1]));
    plan.canary.max_failures = static_cast<uint32_t>(std::stoul(option[2]));
  }
  const std::pair<std::string, std::string> parts = absl::StrSplit(words[0], absl::MaxSplits(':', 1));
  if (parts.first == "label") {
    plan.select = JobPlan::Select::kLabels;
    plan.labels.insert(absl::StrSplit(parts.second, '='));
  } else if (parts.first != "all") {
    plan.ranges = parts.first == "ranges";
    plan.give_up_lost = parts.first == "give_up";
    plan.select = JobPlan::Select::kNames;
    plan.nodes = absl::StrSplit(parts.second, ',');
    for (size_t i = 0; i < plan.nodes.size(); ++i) plan.node_fields.push_back("field" + std::to_string(i));
  }
  return plan;
}

class LoopTest : public ::testing::Test {
 protected:
  LoopTest() {
    link_.nodes = {{"a:1", Facts({"data"})}, {"b:1", Facts({"data", "more"}, {{"rack", "2"}})}};
    Restart();
  }

  // A new controller process over the same store.
  void Restart(const std::vector<Target>& targets = {{"a", {"a:1", ""}}, {"b", {"b:1", ""}}}) {
    loop_.reset();
    registry_ = std::make_unique<prometheus::Registry>();
    metrics_ = std::make_unique<ControllerMetrics>(
        *registry_, "1", std::vector<std::string>(std::begin(kRetryReasons), std::end(kRetryReasons)),
        std::vector<std::string>{});
    mailbox_ = std::make_shared<Mailbox>(100, [this] { return holds_; });
    loop_ = std::make_unique<Loop>(store_, link_, clock_, mailbox_, *metrics_, ReadPlan, random_, options_);
    ASSERT_TRUE(loop_->Recover().ok());
    ASSERT_TRUE(loop_->SetTargets("static", targets).ok());
    Step();
  }

  // A counter's or gauge's value; those with labels are named "name{value,value}".
  double Sample(const std::string& name) {
    for (const prometheus::MetricFamily& family : registry_->Collect()) {
      for (const prometheus::ClientMetric& metric : family.metric) {
        std::vector<std::string> values;
        for (const auto& label : metric.label) values.push_back(label.value);
        const std::string labels = values.empty() ? "" : absl::StrCat("{", absl::StrJoin(values, ","), "}");
        if (family.name + labels == name) return metric.counter.value + metric.gauge.value;
      }
    }
    ADD_FAILURE() << "no metric " << name;
    return 0;
  }

  void ToTheFullHour() { After(absl::Hours(1) - (clock_.Now() - absl::UnixEpoch()) % absl::Hours(1)); }
  // Until nothing is posted.
  void Step() {
    for (int i = 0; i < 5; ++i) wake_ = loop_->Step();
  }
  void After(absl::Duration time) {
    clock_.Advance(time);
    Step();
  }
  std::string Create(const std::string& spec, const std::string& request = "") {
    absl::StatusOr<JobRecord> job = loop_->CreateJob(spec, ReadPlan(spec).value(), request);
    EXPECT_TRUE(job.ok()) << job.status();
    Step();
    return job.ok() ? job->job.id : "";
  }
  JobRecord Get(const std::string& id) {
    absl::StatusOr<JobRecord> job = loop_->GetJob(id);
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? *job : JobRecord();
  }
  Task TaskOf(const std::string& id, size_t index = 0) { return Get(id).tasks.at(index); }
  JobState StateOf(const std::string& id) { return Get(id).job.state; }
  FakeLink::Stream& Last() { return *link_.streams.back(); }
  void Say(FakeLink::Stream& stream, RunEvent event) {
    const bool over = event.over;
    stream.events.on_event(std::move(event));
    if (over) stream.events.on_end(absl::OkStatus());
    Step();
  }
  void EndStreamOf(size_t stream, absl::Status status) {
    link_.streams.at(stream)->events.on_end(std::move(status));
    Step();
  }
  void EndStream(absl::Status status) { EndStreamOf(link_.streams.size() - 1, std::move(status)); }
  void AnswerCancel(absl::Status status) {
    CancelDoneOf()(std::move(status));
    Step();
  }
  NodeLink::CancelDone CancelDoneOf() { return link_.cancels.back().done; }

  FakeClock clock_{absl::FromUnixSeconds(1'000'000)};
  std::mt19937_64 random_{7};
  Loop::Options options_;
  MemoryStore store_;
  FakeLink link_;
  std::unique_ptr<prometheus::Registry> registry_;
  std::unique_ptr<ControllerMetrics> metrics_;
  bool holds_ = true;
  std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<Loop> loop_;
  absl::Time wake_;
};

TEST_F(LoopTest, RunsAJobToItsEnd) {
  const std::string id = Create("names:a");
  ASSERT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(Last().address, "a:1");
  EXPECT_EQ(Last().order.attempt, 1u);
  EXPECT_EQ(Last().order.epoch, 1000000u);
  EXPECT_EQ(Last().order.root, "data");
  EXPECT_EQ(Last().order.spec, "names:a");
  EXPECT_EQ(Last().order.task_id, id + "-0");
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  EXPECT_EQ(loop_->running().at("a"), 1u);
  // Stored before it was sent.
  EXPECT_EQ(store_.Get(id)->tasks[0].state, TaskState::kRunning);
  EXPECT_TRUE(store_.Get(id)->tasks[0].open);

  Say(Last(), Progress("r", 5));
  EXPECT_EQ(Last().asked, 2);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 5u);
  Say(Last(), Summary("r", 9));
  const JobRecord done = Get(id);
  EXPECT_EQ(done.job.state, JobState::kSucceeded);
  EXPECT_EQ(done.job.totals.bytes_accepted, 9u);
  EXPECT_EQ(done.job.ended, clock_.Now());
  EXPECT_TRUE(loop_->running().empty());
  EXPECT_TRUE(Last().dropped);
}

TEST_F(LoopTest, ProgressIsStoredOnceASecond) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 1));
  const int writes = store_.writes();
  for (uint64_t n = 2; n < 10; ++n) Say(Last(), Progress("r", n));
  EXPECT_EQ(store_.writes(), writes);
  EXPECT_EQ(TaskOf(id).current.bytes_accepted, 1u);
  EXPECT_LE(wake_, clock_.Now() + absl::Seconds(1));
  After(absl::Seconds(1));
  EXPECT_EQ(store_.writes(), writes + 1);
  EXPECT_EQ(TaskOf(id).current.bytes_accepted, 9u);
}

TEST_F(LoopTest, ExpandsToRootsWithinLimits) {
  const std::string id = Create("all");
  EXPECT_EQ(Get(id).tasks.size(), 3u);
  // One per node at a time.
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(link_.streams[1]->order.root, "data");
  Say(*link_.streams[1], Summary("r", 1));
  ASSERT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(Last().order.root, "more");
  EXPECT_EQ(Last().order.node, "b");
  Say(Last(), Summary("r2", 2));
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  Say(*link_.streams[0], Summary("r3", 4));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 7u);
}

TEST_F(LoopTest, LabelsDropNodesButNotTheLast) {
  const std::string id = Create("label:rack=2");
  ASSERT_EQ(Get(id).tasks.size(), 2u);
  EXPECT_EQ(TaskOf(id, 0).node, "b");
  EXPECT_EQ(TaskOf(id, 1).node, "b");
  const std::string none = Create("label:rack=3");
  EXPECT_EQ(StateOf(none), JobState::kFailed);
  ASSERT_EQ(Get(none).tasks.size(), 1u);
  EXPECT_EQ(ReasonOf(TaskOf(none).error), "NO_MATCHING_ROOT");
}

TEST_F(LoopTest, UnknownNodeIsRefused) {
  const absl::Status status = loop_->CreateJob("x", ReadPlan("names:a,zzz").value(), "").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(FieldOf(status), "field1");
  EXPECT_EQ(FieldOf(loop_->CreateJob("x", ReadPlan("ranges:zzz").value(), "").status()), "field0");
  ASSERT_TRUE(loop_->SetTargets("static", {}).ok());
  EXPECT_EQ(ReasonOf(loop_->CreateJob("all", ReadPlan("all").value(), "").status()), "NO_NODES");
}

TEST_F(LoopTest, RequestIdMakesOneJobEvenIfNodesWent) {
  const std::string id = Create("names:a", "req");
  ASSERT_TRUE(loop_->SetTargets("static", {}).ok());
  EXPECT_EQ(Create("names:a", "req"), id);
  EXPECT_EQ(ReasonOf(loop_->CreateJob("names:b", ReadPlan("names:b").value(), "req").status()),
            "REQUEST_ID_REUSED");
}

TEST_F(LoopTest, DownNodeWaitsTheRestGoesOn) {
  link_.nodes.erase("b:1");
  After(options_.probe_interval);
  const std::string id = Create("names:a,b");
  ASSERT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(Last().order.node, "a");
  EXPECT_TRUE(absl::IsUnavailable(TaskOf(id, 1).error));
  EXPECT_EQ(loop_->nodes().Find("b")->state, NodeState::kDown);
  link_.nodes["b:1"] = Facts({"data"});
  After(options_.probe_interval);
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.node, "b");
}

TEST_F(LoopTest, LostStreamIsAttachedWithTheSameAttempt) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  EXPECT_TRUE(TaskOf(id).open);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  // Noticed by a probe at once.
  EXPECT_EQ(loop_->nodes().Find("a")->state, NodeState::kDown);
  After(absl::Minutes(10));
  EXPECT_EQ(link_.streams.size(), 1u);
  link_.nodes["a:1"] = Facts({"data"});
  After(options_.probe_interval);
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 1u);
  Say(Last(), Summary("r", 7));
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 7u);
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
}

TEST_F(LoopTest, NodeThatBeganAnewCountsBothRunsOnce) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  EndStream(absl::UnavailableError("reset"));
  After(absl::Minutes(5));
  Say(Last(), Progress("r2", 1));
  After(absl::Seconds(1));
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 6u);
  Say(Last(), Summary("r2", 3));
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 8u);
}

TEST_F(LoopTest, RunChangesUnderOneStream) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  Say(Last(), Progress("r", 6));
  Say(Last(), Progress("r2", 1));
  Say(Last(), Summary("r2", 2));
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 8u);
}

TEST_F(LoopTest, RestartAttachesAndCountsOnce) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  Restart();
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 1u);
  EXPECT_EQ(Last().order.epoch, 1000001u);
  EXPECT_EQ(Last().order.task_id, id + "-0");
  Say(Last(), Progress("r", 6));
  Say(Last(), Summary("r", 8));
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 8u);
  EXPECT_EQ(Get(id).tasks[0].attempt, 1u);
  Restart();
  EXPECT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
}

TEST_F(LoopTest, StopStoresTheLastFigures) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  Say(Last(), Progress("r", 6));
  loop_->Stop();
  EXPECT_EQ(store_.Get(id)->tasks[0].current.bytes_accepted, 6u);
  EXPECT_EQ(store_.Get(id)->tasks[0].state, TaskState::kRunning);
  EXPECT_FALSE(Last().dropped);
  loop_.reset();
  EXPECT_TRUE(Last().dropped);
}

TEST_F(LoopTest, RetriesWithBackoffThenFails) {
  const std::string id = Create("names:a");
  for (uint32_t attempt = 1; attempt <= 10; ++attempt) {
    ASSERT_EQ(link_.streams.size(), attempt);
    EXPECT_EQ(Last().order.attempt, attempt);
    Say(Last(), Summary("r" + std::to_string(attempt), 1, ErrnoError(ENOMEM, "read")));
    if (attempt == 10) break;
    const Task task = TaskOf(id);
    EXPECT_EQ(task.state, TaskState::kWaiting);
    EXPECT_EQ(ErrnoOf(task.error), ENOMEM);
    EXPECT_GE(task.next_attempt, clock_.Now() + absl::Seconds(1));
    EXPECT_EQ(store_.Get(id)->tasks[0].next_attempt, task.next_attempt);
    EXPECT_LE(wake_, task.next_attempt);
    After(task.next_attempt - clock_.Now());
  }
  EXPECT_EQ(StateOf(id), JobState::kFailed);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 10u);
  EXPECT_EQ(ErrnoOf(TaskOf(id).error), ENOMEM);
}

TEST_F(LoopTest, FinalErrorsFailAtOnce) {
  const std::string id = Create("names:a");
  EndStream(FieldError("scan.root", "no such root"));
  EXPECT_EQ(StateOf(id), JobState::kFailed);
  EXPECT_EQ(FieldOf(TaskOf(id).error), "scan.root");
}

TEST_F(LoopTest, BusyNodeIsNoFailure) {
  const std::string id = Create("names:a");
  for (int i = 0; i < 20; ++i) {
    EndStream(MakeError(absl::StatusCode::kResourceExhausted, "BUSY", "full"));
    After(absl::Minutes(5));
  }
  EXPECT_EQ(Last().order.attempt, 1u);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  EXPECT_EQ(TaskOf(id).state, TaskState::kRunning);
}

TEST_F(LoopTest, CancelStopsRunningAndWaiting) {
  const std::string id = Create("names:b");
  ASSERT_EQ(Get(id).tasks.size(), 2u);
  Say(Last(), Progress("r", 5));
  EXPECT_EQ(loop_->CancelJob(id)->tasks[1].state, TaskState::kCancelled);
  Step();
  ASSERT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.cancels[0].address, "b:1");
  EXPECT_EQ(link_.cancels[0].task_id, id + "-0");
  EXPECT_EQ(link_.cancels[0].epoch, 1000000u);
  AnswerCancel(absl::OkStatus());
  Say(Last(), Summary("r", 6, Stopped()));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 6u);
  EXPECT_TRUE(loop_->CancelJob(id).ok());
  EXPECT_EQ(ReasonOf(loop_->PauseJob(id).status()), "JOB_ENDED");
  EXPECT_EQ(ReasonOf(loop_->ResumeJob(id).status()), "JOB_ENDED");
  EXPECT_EQ(link_.streams.size(), 1u);
}

TEST_F(LoopTest, CancelThatComesTooLateChangesNothing) {
  const std::string id = Create("names:a");
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  Say(Last(), Summary("r", 6));
  AnswerCancel(absl::OkStatus());
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
}

TEST_F(LoopTest, CancelThatOvertakesTheOrderIsRepeated) {
  const std::string id = Create("names:a");
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  AnswerCancel(absl::NotFoundError("unknown"));
  After(absl::Milliseconds(200));
  ASSERT_EQ(link_.cancels.size(), 2u);
  AnswerCancel(absl::OkStatus());
  Say(Last(), Summary("r", 0, Stopped()));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_F(LoopTest, CancelIsRepeatedUntilTheNodeIsBackEvenOverARestart) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  AnswerCancel(absl::UnavailableError("refused"));
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  const size_t sent = link_.cancels.size();
  After(absl::Seconds(2));
  EXPECT_GT(link_.cancels.size(), sent);
  Restart();
  EXPECT_EQ(link_.cancels.back().epoch, 1000002u);
  link_.nodes["a:1"] = Facts({"data"});
  AnswerCancel(absl::UnavailableError("refused"));
  After(options_.probe_interval);
  // The node took it: now its last figures.
  AnswerCancel(absl::OkStatus());
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 1u);
  Say(Last(), Summary("r", 8, Stopped()));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 8u);
}

TEST_F(LoopTest, CancelOfATaskThatTheNodeForgotIsDone) {
  const std::string id = Create("names:a");
  EndStream(absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  AnswerCancel(absl::NotFoundError("unknown"));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_F(LoopTest, CancelGivesUpANodeThatIsGoneForGood) {
  const std::string id = Create("names:a");
  EndStream(absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->SetTargets("static", {{"b", {"b:1", ""}}}).ok());
  EXPECT_EQ(link_.forgotten, std::vector<std::string>{"a:1"});
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  After(absl::Minutes(9));
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  After(absl::Minutes(2));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "NODE_LOST");
}

TEST_F(LoopTest, CancelGivesUpANodeThatStaysDown) {
  const std::string id = Create("names:a");
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  for (int minute = 0; minute < 9; ++minute) {
    AnswerCancel(absl::UnavailableError("refused"));
    After(absl::Minutes(1));
  }
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  AnswerCancel(absl::UnavailableError("refused"));
  After(absl::Minutes(2));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_F(LoopTest, TasksOfALostNodeWaitForIt) {
  const std::string id = Create("names:a,b");
  link_.nodes.erase("a:1");
  link_.streams[0]->events.on_end(absl::UnavailableError("reset"));
  After(absl::Minutes(11));
  EXPECT_EQ(loop_->nodes().Find("a")->state, NodeState::kLost);
  EXPECT_EQ(Sample("cowherd_controller_nodes_lost_total"), 1);
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  link_.nodes["a:1"] = Facts({"data"});
  After(options_.probe_interval);
  EXPECT_EQ(Last().order.task_id, id + "-0");
  EXPECT_EQ(Sample("cowherd_controller_tasks_given_up_total"), 0);
}

TEST_F(LoopTest, TasksOfALostNodeAreGivenUpIfTheJobSaysSo) {
  const std::string id = Create("give_up:a,b");
  link_.nodes.erase("a:1");
  Say(*link_.streams[0], Progress("r", 5));
  link_.streams[0]->events.on_end(absl::UnavailableError("reset"));
  Step();
  After(absl::Minutes(9));
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  After(absl::Minutes(2));
  EXPECT_EQ(TaskOf(id).state, TaskState::kFailed);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "NODE_LOST");
  EXPECT_EQ(TaskOf(id).totals().bytes_accepted, 5u);
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  Say(*link_.streams[1], Summary("s", 7));
  Say(Last(), Summary("t", 1));
  EXPECT_EQ(StateOf(id), JobState::kFailed);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 13u);
  EXPECT_EQ(Sample("cowherd_controller_tasks_given_up_total"), 1);
  // One made for a node that is lost already fails at once.
  EXPECT_EQ(StateOf(Create("give_up:a")), JobState::kFailed);
}

TEST_F(LoopTest, ATaskWhoseStreamGoesOnIsNotGivenUp) {
  const std::string id = Create("give_up:a");
  const std::shared_ptr<FakeLink::Stream> stream = link_.streams[0];
  link_.nodes.erase("a:1");
  After(options_.probe_interval);
  After(absl::Minutes(20));
  ASSERT_EQ(loop_->nodes().Find("a")->state, NodeState::kLost);
  Say(*stream, Progress("r", 5));
  EXPECT_EQ(TaskOf(id).state, TaskState::kRunning);
  EndStream(absl::UnavailableError("reset"));
  EXPECT_EQ(StateOf(id), JobState::kFailed);
}

TEST_F(LoopTest, GivingUpWaitsForTheStore) {
  const std::string id = Create("give_up:a");
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  store_.FailWith(absl::UnavailableError("store"));
  After(absl::Minutes(11));
  store_.FailWith(absl::OkStatus());
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  After(absl::Seconds(1));
  EXPECT_EQ(StateOf(id), JobState::kFailed);
}

TEST_F(LoopTest, ACancelledJobIsNotGivenUpButCancelled) {
  const std::string id = Create("give_up:a");
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  AnswerCancel(absl::UnavailableError("refused"));
  After(absl::Minutes(11));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_F(LoopTest, ANodeThatNobodyNamesAfterARestartIsLost) {
  const std::string id = Create("give_up:a");
  ASSERT_TRUE(loop_->SetTargets("static", {}).ok());
  Restart({{"b", {"b:1", ""}}});
  EXPECT_EQ(ReasonOf(loop_->nodes().Find("a")->error), "NODE_VANISHED");
  EXPECT_EQ(Sample("cowherd_controller_nodes{vanished}"), 1);
  After(absl::Minutes(9));
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  After(absl::Minutes(1));
  EXPECT_EQ(StateOf(id), JobState::kFailed);
}

TEST_F(LoopTest, AnotherAddressOfTheNodeIsTaken) {
  Restart({{"a", {"a:1", ""}}, {"a", {"a:2", ""}}});
  link_.nodes["a:2"] = link_.nodes["a:1"];
  After(options_.probe_interval);
  const std::string id = Create("names:a");
  EXPECT_EQ(Last().address, "a:1");
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  // Both were asked at once.
  After(absl::Seconds(2));
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().address, "a:2");
  EXPECT_EQ(Last().order.attempt, 1u);
  Say(Last(), Summary("r", 5));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
}

TEST_F(LoopTest, NodesOfOneNameGetNoTasks) {
  Restart({{"a", {"a:1", ""}}, {"b", {"b:1", ""}}});
  const std::string before = Create("names:a");
  ASSERT_TRUE(loop_->SetTargets("dns", {{"", {"c:1", ""}}}).ok());
  NodeFacts other = Facts({"data"});
  other.name = "a";
  other.instance_id = "another";
  link_.nodes["c:1"] = other;
  Step();
  EXPECT_EQ(loop_->nodes().Find("a")->state, NodeState::kRefused);
  EXPECT_EQ(Sample("cowherd_controller_nodes{refused}"), 1);
  const std::string id = Create("names:a");
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "NODE_NAME_TAKEN");
  // What runs goes on.
  Say(Last(), Summary("r", 5));
  EXPECT_EQ(StateOf(before), JobState::kSucceeded);
  After(options_.probe_interval);
  EXPECT_EQ(link_.streams.size(), 1u);
  ASSERT_TRUE(loop_->SetTargets("dns", {}).ok());
  Step();
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().address, "a:1");
}

TEST_F(LoopTest, AJobOfAllNodesWaitsUntilAllAreKnown) {
  Restart({{"a", {"a:1", ""}}});
  NodeFacts found = Facts({"data"}, {{"rack", "2"}});
  found.name = "c";
  link_.nodes["c:1"] = found;
  loop_->AwaitTargets("dns");
  const auto create = [this](const std::string& spec) {
    return ReasonOf(loop_->CreateJob(spec, ReadPlan(spec).value(), "").status());
  };
  for (const char* spec : {"all", "label:rack=2", "names:c"}) EXPECT_EQ(create(spec), "NODES_NOT_KNOWN_YET");
  ASSERT_TRUE(loop_->SetTargets("dns", {{"", {"c:1", ""}}}).ok());
  for (const char* spec : {"all", "label:rack=2", "names:c"}) EXPECT_EQ(create(spec), "NODES_NOT_KNOWN_YET");
  EXPECT_EQ(create("names:a"), "");
  Step();
  const std::string id = Create("all");
  EXPECT_EQ(Get(id).tasks.size(), 2u);
  EXPECT_NE(create("names:d"), "NODES_NOT_KNOWN_YET");
}

TEST_F(LoopTest, PauseAndResumeStartANewRun) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  EXPECT_EQ(loop_->PauseJob(id)->job.state, JobState::kPaused);
  EXPECT_TRUE(loop_->PauseJob(id).ok());
  Step();
  ASSERT_EQ(link_.cancels.size(), 1u);
  // The end may overtake the answer.
  Say(Last(), Summary("r", 6, Stopped()));
  AnswerCancel(absl::OkStatus());
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  EXPECT_TRUE(TaskOf(id).error.ok());
  After(absl::Hours(1));
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(StateOf(id), JobState::kPaused);
  Restart();
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_TRUE(loop_->ResumeJob(id).ok());
  EXPECT_TRUE(loop_->ResumeJob(id).ok());
  Step();
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 2u);
  Say(Last(), Summary("r2", 1));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 7u);
}

TEST_F(LoopTest, AClockThatWasSetBackHoldsNoTaskUp) {
  const std::string id = Create("names:a");
  Say(Last(), Summary("r", 1, ErrnoError(EIO, "read")));
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  clock_.Advance(-absl::Hours(2));
  Restart();
  const size_t before = link_.streams.size();
  After(kBackoffCeiling);
  EXPECT_EQ(link_.streams.size(), before + 1);
}

TEST_F(LoopTest, WindowsFollowAClockThatIsWrongForAMinute) {
  clock_.Advance(absl::FromUnixSeconds(1'000'000 + 8'000) - clock_.Now());  // 16:00
  loop_->SetNodeWindows("a", {MakeWindow("0 22 * * *", "", absl::Hours(6)).value()});
  const std::string id = Create("names:a");
  EXPECT_TRUE(link_.streams.empty());
  ::testing::internal::CaptureStderr();
  clock_.Turn(absl::Hours(6));
  Step();
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::AllOf(::testing::HasSubstr("clock was set"),
                               ::testing::HasSubstr(R"("by_seconds":21600})")));
  ASSERT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(Last().order.work_for, absl::Hours(6));
  ::testing::internal::CaptureStderr();
  After(absl::Minutes(1));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              ::testing::Not(::testing::HasSubstr("clock was set")));
  EXPECT_TRUE(link_.cancels.empty());
  ::testing::internal::CaptureStderr();
  clock_.Turn(-absl::Hours(6));
  Step();
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr(R"("by_seconds":-21600})"));
  ASSERT_EQ(link_.cancels.size(), 1u);
  AnswerCancel(absl::OkStatus());
  Say(Last(), Summary("r", 6, Stopped()));
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "WINDOW_CLOSED");
  After(absl::Hours(6) - absl::Minutes(1) - absl::Seconds(1));
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_LE(wake_, clock_.Now() + absl::Seconds(1));
  After(absl::Seconds(1));
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.work_for, absl::Hours(6));
}

TEST_F(LoopTest, WhatWaitsForAWhileWaitsAsLongWhateverTheClockIsSetTo) {
  options_.lost_after = absl::Hours(1);
  Restart();
  link_.nodes.erase("b:1");
  After(options_.probe_interval);
  const std::string id = Create("names:a");
  Say(Last(), Summary("r", 1, ErrnoError(EIO, "read")));
  const absl::Duration wait = TaskOf(id).next_attempt - clock_.Wall();
  EXPECT_GE(wait, kBackoffFloor);
  for (const absl::Duration turn : {absl::Hours(24), -absl::Hours(48)}) {
    clock_.Turn(turn);
    Step();
    EXPECT_EQ(link_.streams.size(), 1u);
    EXPECT_EQ(loop_->nodes().Find("b")->state, NodeState::kDown);
    // People are shown it as the clock on the wall goes by now.
    EXPECT_EQ(TaskOf(id).next_attempt - clock_.Wall(), wait);
  }
  After(wait);
  ASSERT_EQ(link_.streams.size(), 2u);
  Say(Last(), Summary("r2", 1));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  // By that clock it ended before it was made.
  EXPECT_EQ(Get(id).job.ended, Get(id).job.created);
  After(absl::Hours(1));
  EXPECT_EQ(loop_->nodes().Find("b")->state, NodeState::kLost);
}

TEST_F(LoopTest, ResumeBeforeTheStopArrived) {
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  ASSERT_TRUE(loop_->PauseJob(id).ok());
  Step();
  AnswerCancel(absl::OkStatus());
  ASSERT_TRUE(loop_->ResumeJob(id).ok());
  Say(Last(), Summary("r", 6, Stopped()));
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 2u);
  EXPECT_EQ(TaskOf(id).failures, 0u);
}

TEST_F(LoopTest, StopThatNobodyHereAskedForIsRetried) {
  const std::string id = Create("names:a");
  Say(Last(), Summary("r", 5, Stopped()));
  EXPECT_EQ(TaskOf(id).failures, 1u);
  After(absl::Seconds(2));
  EXPECT_EQ(Last().order.attempt, 2u);
}

TEST_F(LoopTest, WhatRunsOnANodeThatWasLostIsStoppedWhenItIsBack) {
  const std::string cancelled = Create("names:a");
  const std::string goes_on = Create("names:b");
  NodeFacts a = link_.nodes["a:1"];
  link_.nodes.erase("a:1");
  EndStreamOf(0, absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->CancelJob(cancelled).ok());
  Step();
  AnswerCancel(absl::UnavailableError("down"));
  After(options_.lost_after);
  ASSERT_EQ(StateOf(cancelled), JobState::kCancelled);
  link_.cancels.clear();
  // It was cut off, and its run goes on. What the store does not know may be another controller's.
  a.controlled_tasks = {cancelled + "-0", "unknown-0", "somebody's"};
  link_.nodes["a:1"] = a;
  link_.nodes["b:1"].controlled_tasks = {goes_on + "-0"};
  After(options_.probe_interval);
  ASSERT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.cancels[0].address, "a:1");
  EXPECT_EQ(link_.cancels[0].task_id, cancelled + "-0");
  EXPECT_GT(link_.cancels[0].epoch, 0u);
  // Whatever the node says, it will say again.
  link_.cancels[0].done(absl::UnavailableError("reset"));
  After(options_.probe_interval);
  EXPECT_EQ(link_.cancels.size(), 2u);
  // To know that the job has ended it is read once only.
  ASSERT_TRUE(loop_->DeleteJob(cancelled).ok());
  After(options_.probe_interval);
  EXPECT_EQ(link_.cancels.size(), 3u);
  link_.nodes["a:1"].controlled_tasks = {"unknown-0"};
  After(options_.probe_interval);
  EXPECT_EQ(link_.cancels.size(), 3u);
}

TEST_F(LoopTest, APausedJobsRunOnANodeThatWasLostIsStoppedOneThatMayGoOnIsNot) {
  const std::string id = Create("names:a");
  NodeFacts a = link_.nodes["a:1"];
  a.controlled_tasks = {id + "-0"};
  link_.nodes.erase("a:1");
  EndStream(absl::UnavailableError("reset"));
  ASSERT_TRUE(loop_->PauseJob(id).ok());
  Step();
  AnswerCancel(absl::UnavailableError("down"));
  After(options_.lost_after);
  ASSERT_FALSE(TaskOf(id).open);
  ASSERT_EQ(TaskOf(id).state, TaskState::kWaiting);
  link_.cancels.clear();
  link_.nodes["a:1"] = a;
  After(options_.probe_interval);
  EXPECT_EQ(link_.cancels.size(), 1u);
  ASSERT_TRUE(loop_->ResumeJob(id).ok());
  After(options_.probe_interval);
  EXPECT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.streams.size(), 2u);
}

TEST_F(LoopTest, WhoDoesNotLeadAnyMoreGivesNoOrders) {
  const std::string id = Create("names:a");
  Create("names:b");
  ASSERT_EQ(link_.streams.size(), 2u);
  // As after a step that waited for the store until another one led: no write is left to tell of that,
  // neither for a stop nor to attach to what is stored as running.
  holds_ = false;
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  EXPECT_TRUE(link_.cancels.empty());
  Restart();
  EXPECT_EQ(link_.streams.size(), 2u);
  holds_ = true;
  Step();
  EXPECT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.streams.size(), 3u);
}

TEST_F(LoopTest, ANodeOfAHigherEpochIsSetAsideAlone) {
  const absl::Status stale = MakeError(absl::StatusCode::kFailedPrecondition, "STALE_EPOCH", "another");
  const std::string id = Create("names:a");
  EndStream(stale);
  After(absl::Minutes(10));
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(loop_->nodes().Find("a")->state, NodeState::kRefused);
  EXPECT_EQ(ReasonOf(loop_->nodes().Find("a")->error), "STALE_EPOCH");
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "STALE_EPOCH");
  EXPECT_EQ(Sample("cowherd_controller_fenced"), 1);
  // The others go on.
  const std::string other = Create("names:a,b");
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.node, "b");
  EXPECT_EQ(ReasonOf(TaskOf(other, 0).error), "STALE_EPOCH");
  // What runs on the node is not this controller's any more.
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  ASSERT_EQ(link_.cancels.size(), 1u);
  AnswerCancel(stale);
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
  // It began anew, and knows no other controller any more.
  link_.nodes["a:1"].started = clock_.Now();
  After(options_.probe_interval);
  EXPECT_EQ(loop_->nodes().Find("a")->state, NodeState::kUp);
  EXPECT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(Last().order.node, "a");
  EXPECT_EQ(Sample("cowherd_controller_fenced"), 0);
  // A later term has a higher epoch.
  EndStream(stale);
  EXPECT_EQ(Sample("cowherd_controller_fenced"), 1);
  const double epoch = Sample("cowherd_controller_epoch");
  EXPECT_GT(epoch, 0);
  Restart();
  EXPECT_EQ(Sample("cowherd_controller_fenced"), 0);
  EXPECT_GT(Sample("cowherd_controller_epoch"), epoch);
  EXPECT_EQ(Sample("cowherd_controller_terms_total"), 1);
  EXPECT_EQ(loop_->nodes().Find("a")->state, NodeState::kUp);
}

TEST_F(LoopTest, DeleteOnlyWhatHasEnded) {
  const std::string id = Create("names:a");
  EXPECT_EQ(ReasonOf(loop_->DeleteJob(id)), "JOB_ACTIVE");
  Say(Last(), Summary("r", 5));
  EXPECT_TRUE(loop_->DeleteJob(id).ok());
  EXPECT_EQ(ReasonOf(loop_->DeleteJob(id)), "JOB_UNKNOWN");
  EXPECT_EQ(ReasonOf(loop_->GetJob(id).status()), "JOB_UNKNOWN");
}

TEST_F(LoopTest, WatchersSeeTheLatestAndTheEnd) {
  const std::string id = Create("names:a");
  std::vector<std::shared_ptr<const JobRecord>> seen;
  const auto watch = [&](std::shared_ptr<const JobRecord> job) { seen.push_back(std::move(job)); };
  ASSERT_TRUE(loop_->WatchJob(id, watch).ok());
  // Once, though it has changed a moment before.
  After(absl::Seconds(1));
  ASSERT_EQ(seen.size(), 1u);
  Say(Last(), Progress("r", 5));
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[1]->job.totals.bytes_accepted, 5u);
  EXPECT_GT(seen[1]->job.revision, seen[0]->job.revision);
  Say(Last(), Summary("r", 6));
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[2]->job.state, JobState::kSucceeded);
  // Of an ended job: once, at once.
  ASSERT_TRUE(loop_->WatchJob(id, watch).ok());
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_EQ(ReasonOf(loop_->WatchJob("none", watch).status()), "JOB_UNKNOWN");
}

TEST_F(LoopTest, UnwatchedHearsNothing) {
  const std::string id = Create("names:a");
  int seen = 0;
  const uint64_t watch =
      loop_->WatchJob(id, [&](const std::shared_ptr<const JobRecord>&) { ++seen; }).value();
  loop_->Unwatch(watch);
  Say(Last(), Summary("r", 6));
  EXPECT_EQ(seen, 1);
}

TEST_F(LoopTest, ResultsAreKept) {
  const std::string id = Create("ranges:a");
  RunEvent event = Summary("r", 6);
  event.results = "results";
  Say(Last(), std::move(event));
  EXPECT_EQ(Get(id).results.at(0), "results");
  EXPECT_EQ(TaskOf(id).root, "");
}

TEST_F(LoopTest, BrokenStoreSendsNothingAndLosesNothing) {
  const std::string id = Create("names:a");
  store_.FailWith(MakeError(absl::StatusCode::kResourceExhausted, "STORE_FULL", "full"));
  Say(Last(), Summary("r", 6));
  EXPECT_EQ(ReasonOf(loop_->CreateJob("names:b", ReadPlan("names:b").value(), "").status()), "STORE_FULL");
  After(absl::Seconds(5));
  store_.FailWith(absl::OkStatus());
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  After(absl::Seconds(2));
  // The node is asked again and answers the same.
  EXPECT_EQ(Last().order.attempt, 1u);
  Say(Last(), Summary("r", 6));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 6u);
}

TEST_F(LoopTest, AnEndThatCannotBeStoredIsKept) {
  const std::string id = Create("names:a");
  store_.FailWith(absl::UnavailableError("store"));
  Say(Last(), Summary("r", 6));
  After(absl::Seconds(5));
  store_.FailWith(absl::OkStatus());
  After(absl::Seconds(1));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 6u);
  EXPECT_EQ(link_.streams.size(), 1u);
}

// Of root "data" on node "a".
void SetUuid(NodeFacts& facts, size_t root, const std::string& uuid) { facts.roots.at(root).uuid = uuid; }

TEST_F(LoopTest, AFullFilesystemIsPausedForAllItsTasks) {
  options_.limits.per_node = 2;
  SetUuid(link_.nodes["b:1"], 0, "one");
  SetUuid(link_.nodes["b:1"], 1, "two");
  Restart();
  const std::string first = Create("names:b");
  ASSERT_EQ(link_.streams.size(), 2u);
  const std::string second = Create("names:b");
  ASSERT_EQ(link_.streams.size(), 2u);
  Say(*link_.streams[0], Summary("r", 1, ErrnoError(ENOSPC, "dedupe")));
  EXPECT_EQ(Sample("cowherd_controller_task_retries_total{no_space}"), 1);
  // The other filesystem of the node goes on.
  Say(*link_.streams[1], Summary("r2", 1));
  ASSERT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(Last().order.root, "more");
  EXPECT_EQ(Last().order.job_id, second);
  After(absl::Seconds(1) - absl::Milliseconds(1));
  EXPECT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(ReasonOf(TaskOf(second, 0).error), "FILESYSTEM_PAUSED");
  EXPECT_EQ(ErrnoOf(TaskOf(first, 0).error), ENOSPC);
  EXPECT_EQ(Sample("cowherd_controller_paused_filesystems"), 1);
  After(absl::Seconds(2));
  ASSERT_EQ(link_.streams.size(), 4u);
  EXPECT_EQ(Last().order.root, "data");
  Say(Last(), Summary("r3", 1));
  After(absl::Seconds(2));
  EXPECT_EQ(Sample("cowherd_controller_paused_filesystems"), 0);
  ASSERT_EQ(link_.streams.size(), 5u);
  EXPECT_EQ(Last().order.root, "data");
}

TEST_F(LoopTest, ATaskOutlastsAnAbsentRootAndCanBeCancelled) {
  const std::string id = Create("names:a");
  const std::string other = Create("names:a");
  const absl::Status absent = WithDetail(absl::NotFoundError("not mounted"), "ROOT_ABSENT", "", ENOENT);
  // For hours, two tasks by turns.
  for (size_t i = 0; i < 100; ++i) {
    ASSERT_EQ(link_.streams.size(), i + 1);
    Say(Last(), Summary(absl::StrCat("r", i), 1, absent));
    for (int waits = 0; waits < 10 && link_.streams.size() == i + 1; ++waits) {
      After(absl::Minutes(1));
    }
  }
  Say(Last(), Summary("r", 1, absent));
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "ROOT_ABSENT");
  EXPECT_GT(TaskOf(other).attempt, 10u);
  EXPECT_GT(Sample("cowherd_controller_task_retries_total{root_absent}"), 100);
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_F(LoopTest, FilesystemsAreKnownAgainAfterARestart) {
  options_.limits.per_node = 2;
  SetUuid(link_.nodes["b:1"], 0, "one");
  SetUuid(link_.nodes["b:1"], 1, "one");
  Restart();
  Create("names:b");
  ASSERT_EQ(link_.streams.size(), 1u);
  Restart();
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.root, "data");
  Say(Last(), Summary("r", 1));
  ASSERT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(Last().order.root, "more");
}

TEST_F(LoopTest, ATaskThatBringsItsNodeDownTwiceIsSetAside) {
  NodeFacts& node = link_.nodes["a:1"];
  node.started = absl::FromUnixSeconds(100);
  Restart();
  const std::string id = Create("names:a");
  Say(Last(), Progress("r", 5));
  EndStream(absl::UnavailableError("reset"));
  // A mere loss: the node is the same.
  After(absl::Seconds(2));
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 1u);
  EXPECT_EQ(TaskOf(id).crashes, 0u);
  node.started = absl::FromUnixSeconds(200);
  EndStream(absl::UnavailableError("reset"));
  EXPECT_EQ(TaskOf(id).crashes, 1u);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "NODE_CRASHED");
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 5u);
  // It counts over a restart of the controller too.
  Restart();
  After(absl::Seconds(2));
  EXPECT_EQ(Last().order.attempt, 2u);
  node.started = absl::FromUnixSeconds(300);
  Restart();
  EXPECT_EQ(StateOf(id), JobState::kFailed);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "POISON");
}

TEST_F(LoopTest, ANodeThatBeganAnewIsNoCrashWhileTheRunMayBeItsOwn) {
  NodeFacts& node = link_.nodes["a:1"];
  node.started = absl::FromUnixSeconds(100);
  Restart();
  const std::string id = Create("names:a");
  // It had begun anew since it was last asked, and is asked again before the run tells of itself.
  node.started = absl::FromUnixSeconds(200);
  After(options_.probe_interval);
  RunEvent event = Progress("r", 5);
  event.node_started = absl::FromUnixSeconds(200);
  Say(Last(), event);
  After(options_.probe_interval);
  EXPECT_EQ(TaskOf(id).crashes, 0u);
  EXPECT_EQ(TaskOf(id).attempt, 1u);
  EXPECT_EQ(link_.streams.size(), 1u);
}

TEST_F(LoopTest, ANodeThatBeganAnewBeforeTheRunIsNoCrash) {
  NodeFacts& node = link_.nodes["a:1"];
  node.started = absl::FromUnixSeconds(100);
  Restart();
  const std::string id = Create("names:a");
  // It had begun anew since it was last asked, and says so with the run.
  node.started = absl::FromUnixSeconds(200);
  RunEvent event = Progress("r", 5);
  event.node_started = absl::FromUnixSeconds(200);
  Say(Last(), event);
  After(options_.probe_interval);
  EXPECT_EQ(TaskOf(id).crashes, 0u);
  EXPECT_EQ(TaskOf(id).node_started, absl::FromUnixSeconds(200));
  EXPECT_EQ(link_.streams.size(), 1u);
}

TEST_F(LoopTest, AnOrderThatMayNeverHaveArrivedIsNotBlamedForARestart) {
  NodeFacts& node = link_.nodes["a:1"];
  node.started = absl::FromUnixSeconds(100);
  Restart();
  const std::string id = Create("names:a");
  // It had come down before the order did, and is up again when it is asked.
  node.started = absl::FromUnixSeconds(200);
  EndStream(absl::UnavailableError("reset"));
  EXPECT_EQ(TaskOf(id).crashes, 0u);
  EXPECT_TRUE(TaskOf(id).open);
  EXPECT_EQ(store_.Get(id)->tasks[0].node_started, absl::FromUnixSeconds(200));
  After(options_.probe_interval);
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 1u);
  // Twice is no chance any more: it may bring the node down before it can tell of itself.
  node.started = absl::FromUnixSeconds(300);
  EndStream(absl::UnavailableError("reset"));
  EXPECT_EQ(TaskOf(id).crashes, 1u);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "NODE_CRASHED");
}

TEST_F(LoopTest, ManyTasksOfANodeThatCameDownAreCountedAtOnce) {
  constexpr size_t kTasks = 600;
  options_.limits.per_node = kTasks;
  options_.limits.in_all = kTasks;
  NodeFacts& node = link_.nodes["a:1"];
  node.started = absl::FromUnixSeconds(100);
  Restart();
  std::vector<std::string> jobs;
  for (size_t i = 0; i < kTasks; ++i) jobs.push_back(Create("names:a"));
  ASSERT_EQ(link_.streams.size(), kTasks);
  for (const auto& stream : link_.streams) stream->events.on_event(Progress("r", 1));
  Step();
  node.started = absl::FromUnixSeconds(200);
  for (const auto& stream : link_.streams) stream->events.on_end(absl::UnavailableError("reset"));
  // Nothing but what the loop asks for wakes it.
  for (absl::Time wake = loop_->Step(); wake <= clock_.Now();) wake = loop_->Step();
  for (const std::string& id : jobs) EXPECT_EQ(TaskOf(id).crashes, 1u);
}

Hold Word(Hold::Kind kind, const std::string& by, const std::string& reason) {
  return {kind, by, reason, {}};
}

TEST_F(LoopTest, APausedNodeStopsAndGoesOnAfterwards) {
  const std::string id = Create("names:a,b");
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(ReasonOf(loop_->HoldNode("zzz", Hold())), "NODE_UNKNOWN");
  ASSERT_TRUE(loop_->HoldNode("a", Word(Hold::Kind::kPause, "ann", "new disk")).ok());
  Step();
  ASSERT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.cancels[0].address, "a:1");
  AnswerCancel(absl::OkStatus());
  Say(*link_.streams[0], Summary("r", 6, Stopped()));
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "HELD");
  EXPECT_EQ(TaskOf(id).error.message(), "its node is paused by ann: new disk");
  // It rests over a restart, too.
  Restart();
  const Hold* hold = loop_->holds().Find(Holds::Node("a"));
  ASSERT_NE(hold, nullptr);
  EXPECT_EQ(hold->since, clock_.Now());
  for (const auto& stream : link_.streams)
    EXPECT_TRUE(stream->order.node == "b" || stream->order.attempt == 1);
  const size_t streams = link_.streams.size();
  After(absl::Hours(1));
  EXPECT_EQ(link_.streams.size(), streams);
  ASSERT_TRUE(loop_->ResumeNode("a").ok());
  ASSERT_TRUE(loop_->ResumeNode("a").ok());
  Step();
  ASSERT_EQ(link_.streams.size(), streams + 1);
  EXPECT_EQ(Last().order.node, "a");
  EXPECT_EQ(Last().order.attempt, 2u);
}

TEST_F(LoopTest, ADrainedNodeEndsWhatItHasAndGetsNothing) {
  const std::string id = Create("names:b");
  ASSERT_EQ(link_.streams.size(), 1u);
  ASSERT_TRUE(loop_->HoldNode("b", Word(Hold::Kind::kDrain, "", "")).ok());
  Step();
  EXPECT_TRUE(link_.cancels.empty());
  // Its run is attached to when the way to it breaks.
  EndStream(absl::UnavailableError("reset"));
  After(absl::Seconds(2));
  ASSERT_EQ(link_.streams.size(), 2u);
  Say(Last(), Summary("r", 6));
  EXPECT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(TaskOf(id, 1).error.message(), "its node is drained");
  ASSERT_TRUE(loop_->ResumeNode("b").ok());
  Step();
  EXPECT_EQ(link_.streams.size(), 3u);
}

TEST_F(LoopTest, APausedClusterStopsEverywhere) {
  const std::string id = Create("all");
  ASSERT_EQ(link_.streams.size(), 2u);
  ASSERT_TRUE(loop_->HoldCluster(Word(Hold::Kind::kPause, "ann", "")).ok());
  Step();
  ASSERT_EQ(link_.cancels.size(), 2u);
  for (FakeLink::Cancel& cancel : link_.cancels) cancel.done(absl::OkStatus());
  Say(*link_.streams[0], Summary("r", 1, Stopped()));
  Say(*link_.streams[1], Summary("r2", 1, Stopped()));
  Restart();
  const std::string more = Create("names:a");
  EXPECT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(TaskOf(more).error.message(), "the cluster is paused by ann");
  After(absl::Seconds(1));
  EXPECT_EQ(Sample("cowherd_controller_holds{pause,cluster}"), 1);
  EXPECT_EQ(Sample("cowherd_controller_holds{pause,node}"), 0);
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  ASSERT_TRUE(loop_->ResumeCluster().ok());
  Step();
  EXPECT_EQ(link_.streams.size(), 4u);
  After(absl::Seconds(1));
  EXPECT_EQ(Sample("cowherd_controller_holds{pause,cluster}"), 0);
  // A node that comes while the cluster rests gets nothing either.
  EXPECT_TRUE(store_.LoadRecords("hold")->empty());
}

TEST_F(LoopTest, WhoPausedAJobIsKeptUntilItGoesOn) {
  const std::string id = Create("names:a");
  ASSERT_TRUE(loop_->PauseJob(id, Word(Hold::Kind::kPause, "ann", "too loud")).ok());
  ASSERT_TRUE(loop_->PauseJob(id, Word(Hold::Kind::kPause, "bob", "")).ok());
  Restart();
  ASSERT_NE(loop_->holds().Find(Holds::Job(id)), nullptr);
  EXPECT_EQ(loop_->holds().Find(Holds::Job(id))->by, "ann");
  ASSERT_TRUE(loop_->ResumeJob(id).ok());
  EXPECT_EQ(loop_->holds().Find(Holds::Job(id)), nullptr);
  ASSERT_TRUE(loop_->PauseJob(id).ok());
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  AnswerCancel(absl::NotFoundError("unknown"));
  Restart();
  EXPECT_TRUE(store_.LoadRecords("hold")->empty());
}

TEST_F(LoopTest, AJobThatIsHeldSaysSoToWatchersToo) {
  ToTheFullHour();
  After(absl::Minutes(20));
  const std::string id = Create("names:a;window");
  EXPECT_EQ(ReasonOf(loop_->GetJob(id)->waits), "WINDOW_CLOSED");
  EXPECT_FALSE(loop_->GetJob(id)->hold);
  std::vector<std::shared_ptr<const JobView>> seen;
  const auto watcher = [&seen](std::shared_ptr<const JobView> view) { seen.push_back(std::move(view)); };
  ASSERT_TRUE(loop_->WatchJob(id, watcher).ok());
  EXPECT_EQ(ReasonOf(seen.back()->waits), "WINDOW_CLOSED");
  EXPECT_EQ(loop_->PauseJob(id, Word(Hold::Kind::kPause, "ann", "too loud"))->hold->by, "ann");
  After(absl::Seconds(1));
  ASSERT_TRUE(seen.back()->hold);
  EXPECT_EQ(seen.back()->hold->reason, "too loud");
  EXPECT_FALSE(loop_->ResumeJob(id)->hold);
  ToTheFullHour();
  EXPECT_TRUE(loop_->GetJob(id)->waits.ok());
  EXPECT_FALSE(seen.back()->hold);
}

TEST_F(LoopTest, AHoldThatCannotBeStoredDoesNotHold) {
  store_.FailWith(absl::UnavailableError("store"));
  EXPECT_FALSE(loop_->HoldNode("a", Hold()).ok());
  EXPECT_FALSE(loop_->HoldCluster(Hold()).ok());
  store_.FailWith(absl::OkStatus());
  Create("names:a");
  EXPECT_EQ(link_.streams.size(), 1u);
}

TEST(Holds, OfANode) {
  Holds holds;
  EXPECT_EQ(holds.OfNode("a"), nullptr);
  holds.Set(Holds::Cluster(), Word(Hold::Kind::kDrain, "all", ""));
  EXPECT_EQ(holds.OfNode("a")->by, "all");
  holds.Set(Holds::Node("a"), Word(Hold::Kind::kPause, "own", ""));
  EXPECT_EQ(holds.OfNode("a")->by, "own");
  EXPECT_EQ(holds.OfNode("b")->by, "all");
  holds.Set(Holds::Cluster(), Word(Hold::Kind::kPause, "all", ""));
  holds.Set(Holds::Node("a"), Word(Hold::Kind::kDrain, "own", ""));
  EXPECT_EQ(holds.OfNode("a")->by, "all");
  holds.Lift(Holds::Cluster());
  EXPECT_EQ(holds.OfNode("a")->by, "own");
}

TEST(Holds, ComeBackFromTheStore) {
  const Hold hold{Hold::Kind::kDrain, "spiffe://x/ann", "a \"b\"", absl::FromUnixMicros(7)};
  const Hold back = ParseHold("node/a", SerializeHold(hold)).value();
  EXPECT_EQ(back.kind, hold.kind);
  EXPECT_EQ(back.by, hold.by);
  EXPECT_EQ(back.reason, hold.reason);
  EXPECT_EQ(back.since, hold.since);
  for (const char* broken : {"", "[]", "{}", R"({"kind":"x","by":"","reason":"","since":1})",
                             R"({"kind":"pause","by":1,"reason":"","since":1})"}) {
    EXPECT_EQ(ReasonOf(ParseHold("node/a", broken).status()), "STORE_CORRUPT") << broken;
  }
}

TEST_F(LoopTest, OtherNodesFollowTheCanary) {
  const std::string id = Create("all;canary=1/1");
  ASSERT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(Last().order.node, "a");
  EXPECT_EQ(ReasonOf(TaskOf(id, 1).error), "CANARY_FIRST");
  Restart();
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.node, "a");
  Say(Last(), Summary("r", 1));
  ASSERT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(Last().order.node, "b");
  Restart();
  EXPECT_EQ(Last().order.node, "b");
}

TEST_F(LoopTest, ANodeThatBecomesTheCanaryIsNotForgotten) {
  const NodeFacts a = link_.nodes["a:1"];
  link_.nodes.erase("a:1");
  Restart();
  // "a" would go first, but nobody knows its labels yet: "b", which matches, is held back.
  const std::string id = Create("label:rack=2;canary=1/1");
  EXPECT_TRUE(link_.streams.empty());
  EXPECT_EQ(ReasonOf(TaskOf(id, 1).error), "CANARY_FIRST");
  link_.nodes["a:1"] = a;
  After(options_.probe_interval);
  ASSERT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(Last().order.node, "b");
  Say(Last(), Summary("r", 1));
  ASSERT_EQ(link_.streams.size(), 2u);
  Say(Last(), Summary("r2", 1));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
}

TEST_F(LoopTest, AFailedCanaryEndsTheJob) {
  const std::string id = Create("all;canary=1/1");
  Say(Last(), Summary("r", 1, FieldError("x", "no")));
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_EQ(StateOf(id), JobState::kFailed);
  EXPECT_EQ(ReasonOf(TaskOf(id, 1).error), "CANARY_FAILED");
  EXPECT_EQ(ReasonOf(TaskOf(id, 2).error), "CANARY_FAILED");
}

TEST_F(LoopTest, HigherPriorityFirst) {
  Create("names:a");
  const std::string low = Create("names:a");
  const std::string high = Create("names:a;priority=1");
  Say(Last(), Summary("r", 1));
  EXPECT_EQ(Last().order.job_id, high);
  Say(Last(), Summary("r", 1));
  EXPECT_EQ(Last().order.job_id, low);
}

TEST_F(LoopTest, RunningTasksShareTheBytes) {
  options_.limits.bytes_per_second = 100;
  Restart();
  Create("all");
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(link_.streams[0]->order.bytes_per_second, 50u);
  EXPECT_EQ(link_.streams[1]->order.bytes_per_second, 50u);
}

TEST_F(LoopTest, CancelOfManyTasksIsAcknowledgedAtOnceAndCannotBeLost) {
  NodeFacts many = Facts({});
  for (int i = 0; i < 1'000; ++i) many.roots.push_back(Facts({"r" + std::to_string(i)}).roots[0]);
  link_.nodes["a:1"] = many;
  Restart();
  const std::string id = Create("names:a");
  ASSERT_EQ(Get(id).tasks.size(), 1'000u);
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  EXPECT_EQ(store_.Get(id)->job.wanted, Wanted::kCancel);
  Restart();
  AnswerCancel(absl::NotFoundError("unknown"));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
  for (const Task& task : Get(id).tasks) EXPECT_EQ(task.state, TaskState::kCancelled);
}

TEST_F(LoopTest, AJobWorksWhileItsWindowIsOpen) {
  ToTheFullHour();
  const std::string id = Create("names:a;window");
  EXPECT_EQ(Last().order.work_for, absl::Minutes(10));
  Say(Last(), Progress("r", 5));
  After(absl::Minutes(10) - absl::Seconds(5));
  EXPECT_TRUE(link_.cancels.empty());
  EXPECT_LE(wake_, clock_.Now() + absl::Seconds(5));
  After(absl::Seconds(5));
  ASSERT_EQ(link_.cancels.size(), 1u);
  AnswerCancel(absl::OkStatus());
  Say(Last(), Summary("r", 6, Stopped()));
  EXPECT_EQ(TaskOf(id).state, TaskState::kWaiting);
  EXPECT_EQ(TaskOf(id).failures, 0u);
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "WINDOW_CLOSED");
  // It is no pause that a person asked for.
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  After(absl::Minutes(50) - absl::Seconds(1));
  EXPECT_EQ(link_.streams.size(), 1u);
  EXPECT_LE(wake_, clock_.Now() + absl::Seconds(1));
  After(absl::Seconds(1));
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 2u);
  Say(Last(), Summary("r2", 1));
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  EXPECT_EQ(Get(id).job.totals.bytes_accepted, 7u);
}

TEST_F(LoopTest, ARunThatEndedWithItsWindowHasNotFailed) {
  ToTheFullHour();
  loop_->SetNodeWindows("a", {MakeWindow("0 * * * *", "", absl::Minutes(3)).value()});
  const std::string id = Create("names:a;window");
  EXPECT_EQ(Last().order.work_for, absl::Minutes(3));
  // The window is longer by now: it goes on at once.
  loop_->SetNodeWindows("a", {});
  After(absl::Minutes(3));
  Say(Last(), Summary("r", 6, MakeError(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED", "over")));
  EXPECT_EQ(TaskOf(id).failures, 0u);
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(Last().order.attempt, 2u);
  EXPECT_EQ(Last().order.work_for, absl::Minutes(7));
  // And that of a controller that was away when it closed.
  clock_.Advance(absl::Minutes(7));
  Say(Last(), Summary("r2", 1, MakeError(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED", "over")));
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "WINDOW_CLOSED");
  EXPECT_EQ(TaskOf(id).failures, 0u);
  After(absl::Minutes(50));
  EXPECT_EQ(link_.streams.size(), 3u);
}

TEST_F(LoopTest, AJobMadeWhileItsWindowIsClosedWaits) {
  ToTheFullHour();
  After(absl::Minutes(30));
  const std::string id = Create("names:a;window");
  EXPECT_TRUE(link_.streams.empty());
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "WINDOW_CLOSED");
  Restart();
  EXPECT_TRUE(link_.streams.empty());
  After(absl::Minutes(30));
  EXPECT_EQ(link_.streams.size(), 1u);
}

TEST_F(LoopTest, APersonsPauseOutlivesTheWindow) {
  ToTheFullHour();
  const std::string id = Create("names:a;window");
  ASSERT_TRUE(loop_->PauseJob(id).ok());
  Step();
  AnswerCancel(absl::OkStatus());
  Say(Last(), Summary("r", 6, Stopped()));
  After(absl::Hours(1));
  EXPECT_EQ(StateOf(id), JobState::kPaused);
  EXPECT_EQ(link_.streams.size(), 1u);
  // And a resume does not open the window.
  After(absl::Minutes(30));
  ASSERT_TRUE(loop_->ResumeJob(id).ok());
  Step();
  EXPECT_EQ(link_.streams.size(), 1u);
  After(absl::Minutes(30));
  EXPECT_EQ(link_.streams.size(), 2u);
}

TEST_F(LoopTest, AJobIsCancelledWhileItsWindowIsClosed) {
  ToTheFullHour();
  const std::string id = Create("names:a;window");
  After(absl::Minutes(10));
  AnswerCancel(absl::OkStatus());
  Say(Last(), Summary("r", 6, Stopped()));
  ASSERT_TRUE(loop_->CancelJob(id).ok());
  Step();
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_F(LoopTest, TasksOfActiveJobsAreBounded) {
  options_.max_active_tasks = 5;
  Restart();
  const auto make = [this](const std::string& spec) {
    return ReasonOf(loop_->CreateJob(spec, ReadPlan(spec).value(), "").status());
  };
  // Three, once its nodes have told their roots; this counts before that is worked out.
  const absl::StatusOr<JobRecord> first = loop_->CreateJob("all", ReadPlan("all").value(), "");
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(make("all"), "TOO_MANY_TASKS");
  Step();
  EXPECT_EQ(make("all"), "TOO_MANY_TASKS");
  EXPECT_EQ(make("names:a"), "");
  EXPECT_EQ(make("ranges:b"), "");
  EXPECT_EQ(make("ranges:b"), "TOO_MANY_TASKS");
  ASSERT_TRUE(loop_->CancelJob(first->job.id).ok());
  for (int i = 0; i < 2; ++i) {
    Step();
    for (const FakeLink::Cancel& cancel : std::exchange(link_.cancels, {}))
      cancel.done(absl::NotFoundError(""));
    for (const auto& stream : std::vector<std::shared_ptr<FakeLink::Stream>>(link_.streams)) {
      if (stream->order.job_id == first->job.id && !stream->dropped) Say(*stream, Summary("r", 1, Stopped()));
    }
  }
  EXPECT_EQ(StateOf(first->job.id), JobState::kCancelled);
  EXPECT_EQ(make("all"), "");
}

TEST_F(LoopTest, SpecsOfActiveJobsAreBounded) {
  options_.max_active_spec_bytes = 20;
  Restart();
  const std::string id = Create("ranges:a");
  Create("ranges:b");
  const absl::Status status = loop_->CreateJob("ranges:a", ReadPlan("ranges:a").value(), "").status();
  EXPECT_EQ(ReasonOf(status), "TOO_MANY_SPEC_BYTES");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  Say(*link_.streams[0], Summary("r", 1));
  ASSERT_EQ(StateOf(id), JobState::kSucceeded);
  Create("ranges:a");
}

TEST_F(LoopTest, ANodeWorksWhileItsWindowIsOpen) {
  ToTheFullHour();
  const std::vector<Window> windows = {MakeWindow("0 * * * *", "", absl::Minutes(10)).value()};
  loop_->SetNodeWindows("a", windows);
  // Not known yet.
  loop_->SetNodeWindows("c", windows);
  const std::string id = Create("all");
  ASSERT_EQ(link_.streams.size(), 2u);
  EXPECT_EQ(link_.streams[0]->order.node, "a");
  After(absl::Minutes(10));
  ASSERT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.cancels[0].address, "a:1");
  AnswerCancel(absl::OkStatus());
  Say(*link_.streams[0], Summary("r", 6, Stopped()));
  EXPECT_EQ(ReasonOf(TaskOf(id).error), "WINDOW_CLOSED");
  EXPECT_EQ(link_.streams.size(), 2u);
  After(absl::Minutes(50));
  ASSERT_EQ(link_.streams.size(), 3u);
  EXPECT_EQ(Last().order.node, "a");

  // Another process finds the window closed, and the task still running.
  clock_.Advance(absl::Minutes(30));
  link_.cancels.clear();
  Restart({});
  loop_->SetNodeWindows("a", windows);
  ASSERT_TRUE(loop_->SetTargets("static", {{"a", {"a:1", ""}}, {"b", {"b:1", ""}}}).ok());
  Step();
  ASSERT_EQ(link_.cancels.size(), 1u);
  EXPECT_EQ(link_.cancels[0].address, "a:1");
  AnswerCancel(absl::OkStatus());
  Step();
  // Asked for its last figures.
  FakeLink::Stream& last = **std::find_if(link_.streams.rbegin(), link_.streams.rend(),
                                          [](const auto& stream) { return stream->order.node == "a"; });
  EXPECT_EQ(last.order.attempt, 2u);
  Say(last, Summary("r2", 1, Stopped()));
  const size_t streams = link_.streams.size();
  After(absl::Minutes(5));
  EXPECT_EQ(link_.streams.size(), streams);
  // Without windows it goes on at once.
  loop_->SetNodeWindows("a", {});
  Step();
  EXPECT_EQ(link_.streams.size(), streams + 1);
  EXPECT_EQ(Last().order.node, "a");
}

TEST_F(LoopTest, ProbesOncePerInterval) {
  const int before = link_.probes;
  for (int i = 0; i < 10; ++i) After(absl::Seconds(1));
  EXPECT_EQ(link_.probes, before + 2);
}

TEST_F(LoopTest, ActiveJobsAreBounded) {
  options_.max_active_jobs = 1;
  Restart();
  Create("names:a");
  EXPECT_EQ(ReasonOf(loop_->CreateJob("names:b", ReadPlan("names:b").value(), "").status()), "TOO_MANY_JOBS");
}

}  // namespace
}  // namespace cowherd
