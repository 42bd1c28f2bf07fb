// Which tasks are to be told to stop, and how far that is.
#include "server/sched/stops.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

using Step = Stops::Step;

const TaskKey kTask{1, 2};
const absl::Time kNow = absl::FromUnixSeconds(100);

NodeEntry Node(NodeState state) {
  NodeEntry node;
  node.state = state;
  node.addresses = {"a:1"};
  return node;
}

TEST(Stops, AreDueByTheirTimes) {
  Stops stops;
  EXPECT_EQ(stops.wake(), absl::InfiniteFuture());
  stops.Later({1, 1}, kNow + absl::Seconds(1));
  stops.Later({1, 2}, kNow);
  EXPECT_EQ(stops.wake(), kNow);
  EXPECT_EQ(stops.Due(kNow), (std::vector<TaskKey>{{1, 2}}));
  stops.Hurry({1, 1});
  EXPECT_EQ(stops.Due(kNow), (std::vector<TaskKey>{{1, 1}, {1, 2}}));
  stops.Rest({1, 1});
  stops.Forget({1, 2});
  EXPECT_TRUE(stops.Due(absl::InfiniteFuture()).empty());
  EXPECT_EQ(stops.wake(), absl::InfiniteFuture());
}

TEST(Stops, ANewRunIsToldAnewAtOnce) {
  Stops stops;
  // One that nobody wants stopped.
  stops.NewRun(kTask);
  EXPECT_EQ(stops.wake(), absl::InfiniteFuture());
  stops.Sent(kTask, kNow);
  EXPECT_TRUE(stops.in_flight(kTask));
  stops.Taken(kTask);
  EXPECT_FALSE(stops.in_flight(kTask));
  EXPECT_TRUE(stops.taken(kTask));
  stops.NewRun(kTask);
  EXPECT_FALSE(stops.taken(kTask));
  EXPECT_EQ(stops.wake(), absl::InfinitePast());
  stops.Sent(kTask, kNow);
  stops.NotTaken(kTask);
  EXPECT_FALSE(stops.in_flight(kTask));
  EXPECT_FALSE(stops.taken(kTask));
}

TEST(Stops, NextStep) {
  const NodeEntry up = Node(NodeState::kUp);
  const NodeEntry down = Node(NodeState::kDown);
  const NodeEntry lost = Node(NodeState::kLost);
  NodeEntry vanished = Node(NodeState::kUp);
  vanished.addresses.clear();

  Stops stops;
  EXPECT_EQ(stops.NextStep(kTask, &up, /*has_stream=*/true, /*has_end=*/false), Step::kSend);
  EXPECT_EQ(stops.NextStep(kTask, &up, false, false), Step::kSend);
  EXPECT_EQ(stops.NextStep(kTask, &down, false, false), Step::kSend);
  EXPECT_EQ(stops.NextStep(kTask, &vanished, false, false), Step::kWait);
  // One with a stream is heard of.
  for (const NodeEntry* gone : {static_cast<const NodeEntry*>(nullptr), &lost}) {
    EXPECT_EQ(stops.NextStep(kTask, gone, true, false), Step::kWait);
    EXPECT_EQ(stops.NextStep(kTask, gone, false, false), Step::kGone);
  }
  stops.Sent(kTask, kNow);
  EXPECT_EQ(stops.NextStep(kTask, &up, true, false), Step::kWait);
  stops.Taken(kTask);
  // The stream will bring the end; it is told again meanwhile.
  EXPECT_EQ(stops.NextStep(kTask, &up, true, false), Step::kSend);
  EXPECT_EQ(stops.NextStep(kTask, &up, false, false), Step::kAttach);
  EXPECT_EQ(stops.NextStep(kTask, &up, false, true), Step::kWait);
  EXPECT_EQ(stops.NextStep(kTask, &down, false, false), Step::kSend);
}

}  // namespace
}  // namespace cowherd
