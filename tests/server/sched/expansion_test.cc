// From a job to its tasks.
#include "server/sched/expansion.h"

#include <gtest/gtest.h>

#include <random>

#include "server/base/status.h"

namespace cowherd {
namespace {

using Strings = std::vector<std::string>;
const absl::Time kNow = absl::FromUnixSeconds(100);

NodeFacts Facts(const Strings& roots, std::map<std::string, std::string> labels = {}) {
  NodeFacts facts;
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

// "a" has one root, "b" two and a label, "c" has not been heard of.
class ExpansionTest : public ::testing::Test {
 protected:
  ExpansionTest() {
    EXPECT_TRUE(
        nodes_.SetTargets("s", {{"b", {"b:1", ""}}, {"a", {"a:1", ""}}, {"c", {"c:1", ""}}}, kNow).ok());
    Hear("a", Facts({"data"}));
    Hear("b", Facts({"data", "more"}, {{"rack", "2"}}));
  }
  void Hear(const std::string& name, absl::StatusOr<NodeFacts> facts) {
    if (facts.ok()) facts->name = name;
    nodes_.Heard(name + ":1", facts, kNow);
  }
  static Task Whole(uint32_t number, const std::string& node) {
    Task task;
    task.number = number;
    task.node = node;
    return task;
  }
  static JobPlan Labels(const std::string& rack) {
    JobPlan plan;
    plan.select = JobPlan::Select::kLabels;
    plan.labels = {{"rack", rack}};
    return plan;
  }

  NodeRegistry nodes_{absl::Minutes(10)};
};

TEST_F(ExpansionTest, SelectsNodes) {
  EXPECT_EQ(*SelectNodes(JobPlan(), nodes_), (Strings{"a", "b", "c"}));
  // Labels are looked at when the nodes are.
  EXPECT_EQ(*SelectNodes(Labels("2"), nodes_), (Strings{"a", "b", "c"}));
  JobPlan named;
  named.select = JobPlan::Select::kNames;
  named.nodes = {"c", "a"};
  named.node_fields = {"first", "second"};
  EXPECT_EQ(*SelectNodes(named, nodes_), (Strings{"a", "c"}));
  named.nodes[1] = "zzz";
  const absl::Status unknown = SelectNodes(named, nodes_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(unknown));
  EXPECT_EQ(FieldOf(unknown), "second");
  EXPECT_EQ(unknown.message(), "second: no node is called \"zzz\" now; list the nodes to see their names");
}

TEST_F(ExpansionTest, NodesThatNoSourceNamesAreNotSelected) {
  ASSERT_TRUE(nodes_.SetTargets("s", {{"a", {"a:1", ""}}}, kNow).ok());
  EXPECT_EQ(*SelectNodes(JobPlan(), nodes_), (Strings{"a"}));
  JobPlan ranges;
  ranges.ranges = true;
  ranges.nodes = {"b"};
  ranges.node_fields = {"f"};
  EXPECT_EQ(FieldOf(SelectNodes(ranges, nodes_).status()), "f");
  ASSERT_TRUE(nodes_.SetTargets("s", {}, kNow).ok());
  EXPECT_EQ(ReasonOf(SelectNodes(JobPlan(), nodes_).status()), "NO_NODES");
}

TEST_F(ExpansionTest, ANewJobHasATaskForEachNode) {
  std::mt19937_64 random(1);
  const JobRecord record =
      NewJob("spec", JobPlan(), {"a", "b"}, "request", kNow, kNow + absl::Minutes(1), random);
  EXPECT_EQ(record.job.id.size(), 16u);
  EXPECT_EQ(record.job.request_id, "request");
  EXPECT_EQ(record.job.created, kNow);
  EXPECT_EQ(record.job.tasks_made, 2u);
  ASSERT_EQ(record.tasks.size(), 2u);
  EXPECT_EQ(record.tasks[1].number, 1u);
  EXPECT_EQ(record.tasks[1].node, "b");
  EXPECT_FALSE(record.tasks[1].expanded);
  EXPECT_EQ(record.tasks[1].waiting_since, kNow + absl::Minutes(1));
  EXPECT_NE(NewJob("spec", JobPlan(), {"a"}, "", kNow, kNow, random).job.id, record.job.id);
  JobPlan ranges;
  ranges.ranges = true;
  EXPECT_TRUE(NewJob("spec", ranges, {"a"}, "", kNow, kNow, random).tasks[0].expanded);
}

TEST_F(ExpansionTest, OneTaskForEachRoot) {
  const Expansion made = ExpandTasks(JobPlan(), {Whole(0, "a"), Whole(1, "b"), Whole(2, "c")}, 3, 3, nodes_);
  ASSERT_EQ(made.put.size(), 3u);
  EXPECT_EQ(made.put[0].root, "data");
  EXPECT_EQ(made.put[1].number, 1u);
  EXPECT_EQ(made.put[2].number, 3u);
  EXPECT_EQ(made.put[2].root, "more");
  EXPECT_TRUE(made.put[2].expanded);
  EXPECT_EQ(made.tasks_made, 4u);
  EXPECT_TRUE(made.removed.empty());
}

TEST_F(ExpansionTest, WhereNothingMatchesTheTaskGoesButNotTheLast) {
  const Expansion some = ExpandTasks(Labels("2"), {Whole(0, "a"), Whole(1, "b")}, 2, 2, nodes_);
  EXPECT_EQ(some.removed, (std::vector<uint32_t>{0}));
  EXPECT_EQ(some.put.size(), 2u);
  const Expansion none = ExpandTasks(Labels("3"), {Whole(0, "a"), Whole(1, "b")}, 2, 2, nodes_);
  EXPECT_EQ(none.removed, (std::vector<uint32_t>{0}));
  ASSERT_EQ(none.put.size(), 1u);
  EXPECT_EQ(none.put[0].state, TaskState::kFailed);
  EXPECT_EQ(ReasonOf(none.put[0].error), "NO_MATCHING_ROOT");
  // One that the job asked for fails.
  JobPlan named;
  named.select = JobPlan::Select::kNames;
  named.roots = {"other"};
  const Expansion asked = ExpandTasks(named, {Whole(0, "a"), Whole(1, "b")}, 2, 2, nodes_);
  EXPECT_TRUE(asked.removed.empty());
  EXPECT_EQ(asked.put.size(), 2u);
}

TEST_F(ExpansionTest, OfANodeThatIsAwayOnlyItsLabelsTell) {
  Hear("a", absl::UnavailableError("refused"));
  EXPECT_TRUE(ExpandTasks(JobPlan(), {Whole(0, "a")}, 1, 1, nodes_).put.empty());
  EXPECT_EQ(ExpandTasks(Labels("2"), {Whole(0, "a")}, 2, 2, nodes_).removed, (std::vector<uint32_t>{0}));
  Hear("b", absl::UnavailableError("refused"));
  const Expansion waits = ExpandTasks(Labels("2"), {Whole(1, "b")}, 2, 2, nodes_);
  EXPECT_TRUE(waits.put.empty() && waits.removed.empty());
}

}  // namespace
}  // namespace cowherd
