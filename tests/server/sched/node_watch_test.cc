// Nodes are asked how they are, and who is told of it.
#include "server/sched/node_watch.h"

#include <gtest/gtest.h>

#include "tests/testing/fake_link.h"

namespace cowherd {
namespace {

using Strings = std::vector<std::string>;
using Counts = std::map<std::string, uint64_t>;

class NodeWatchTest : public ::testing::Test {
 protected:
  NodeWatchTest() {
    link_.nodes["a:1"].name = "a";
    SetTargets({{"a", {"a:1", ""}}, {"b", {"b:1", ""}}});
  }
  void SetTargets(const std::vector<Target>& targets) {
    ASSERT_TRUE(watch_.SetTargets("static", targets, clock_.Now()).ok());
  }
  // Asks, and hears the answers.
  void Probe() {
    watch_.Probe(clock_.Now());
    for (Mailbox::Work& work : mailbox_->Take()) work();
  }

  FakeClock clock_{absl::FromUnixSeconds(1'000)};
  FakeLink link_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>(100);
  Strings changed_;
  Strings answered_;
  NodeWatch watch_{link_,
                   clock_,
                   mailbox_,
                   {absl::Seconds(10), absl::Minutes(1)},
                   [this](const std::string& node) { changed_.push_back(node); },
                   [this](const std::string& node) { answered_.push_back(node); }};
};

TEST_F(NodeWatchTest, TellsWhatHasChangedAndWhoAnswered) {
  Probe();
  EXPECT_EQ(changed_, (Strings{"a", "b"}));
  EXPECT_EQ(answered_, (Strings{"a"}));
  EXPECT_EQ(watch_.nodes().Find("a")->state, NodeState::kUp);
  EXPECT_EQ(watch_.nodes().Find("b")->state, NodeState::kDown);
  EXPECT_EQ(watch_.wake(), clock_.Now() + absl::Seconds(10));
  EXPECT_EQ(*watch_.TakeCounts(), (Counts{{"up", 1}, {"down", 1}}));
  EXPECT_FALSE(watch_.TakeCounts());
  // Not before its time, but for one that is hurried.
  Probe();
  EXPECT_EQ(link_.probes, 2);
  watch_.Hurry("a");
  watch_.Hurry("nobody");
  Probe();
  EXPECT_EQ(link_.probes, 3);
  EXPECT_EQ(answered_, (Strings{"a", "a"}));
  EXPECT_EQ(changed_.size(), 2u);
}

TEST_F(NodeWatchTest, AddressesThatAreGoneAreForgotten) {
  Probe();
  changed_.clear();
  SetTargets({{"b", {"b:1", ""}}});
  EXPECT_EQ(link_.forgotten, (Strings{"a:1"}));
  EXPECT_EQ(watch_.TakeCounts()->count("up"), 0u);
  // An answer that comes after that is dropped.
  SetTargets({{"a", {"a:1", ""}}, {"b", {"b:1", ""}}});
  watch_.Probe(clock_.Now());
  SetTargets({{"b", {"b:1", ""}}});
  for (Mailbox::Work& work : mailbox_->Take()) work();
  EXPECT_EQ(answered_, (Strings{"a"}));
}

TEST_F(NodeWatchTest, DiscoversUntilEachAddressWasAskedOnce) {
  EXPECT_FALSE(watch_.Discovers(clock_.Now()));
  watch_.Await("dns", clock_.Now());
  EXPECT_TRUE(watch_.Discovers(clock_.Now()));
  Probe();
  EXPECT_TRUE(watch_.Discovers(clock_.Now()));
  ASSERT_TRUE(watch_.SetTargets("dns", {{"", {"c:1", ""}}, {"", {"d:1", ""}}}, clock_.Now()).ok());
  EXPECT_TRUE(watch_.Discovers(clock_.Now()));
  link_.nodes["c:1"].name = "c";
  watch_.Probe(clock_.Now());
  std::deque<Mailbox::Work> answers = mailbox_->Take();
  ASSERT_EQ(answers.size(), 2u);
  answers[0]();
  EXPECT_TRUE(watch_.Discovers(clock_.Now()));
  // One that is down was asked.
  answers[1]();
  EXPECT_FALSE(watch_.Discovers(clock_.Now()));
}

TEST_F(NodeWatchTest, DiscoversForAWhileOnly) {
  watch_.Await("dns", clock_.Now());
  clock_.Advance(absl::Seconds(19));
  EXPECT_TRUE(watch_.Discovers(clock_.Now()));
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(watch_.Discovers(clock_.Now()));
}

TEST_F(NodeWatchTest, NodesThatStayAwayAreLost) {
  Probe();
  changed_.clear();
  EXPECT_TRUE(watch_.Expire(clock_.Now()).empty());
  EXPECT_EQ(watch_.next_expiry(), clock_.Now() + absl::Minutes(1));
  clock_.Advance(absl::Minutes(1));
  EXPECT_EQ(watch_.Expire(clock_.Now()), (Strings{"b"}));
  EXPECT_EQ(changed_, (Strings{"b"}));
  EXPECT_EQ(*watch_.TakeCounts(), (Counts{{"up", 1}, {"lost", 1}}));
}

}  // namespace
}  // namespace cowherd
