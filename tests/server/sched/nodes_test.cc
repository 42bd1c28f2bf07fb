// The nodes known: how they are found, named, heard of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "server/base/status.h"
#include "server/sched/discovery.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_registry.h"

namespace cowherd {
namespace {

TEST(ParseNode, TakesWhatItSays) {
  EXPECT_EQ(ParseNode("n1=10.0.0.1:7400")->name, "n1");
  EXPECT_EQ(ParseNode("n1=10.0.0.1:7400")->endpoint.address, "10.0.0.1:7400");
  EXPECT_EQ(ParseNode("host:7400")->name, "host:7400");
  EXPECT_EQ(ParseNode("[::1]:7400")->endpoint.address, "[::1]:7400");
  EXPECT_EQ(ParseNode("n=unix:/run/x=y")->endpoint.address, "unix:/run/x=y");
  EXPECT_EQ(ParseNode("unix:/run/x=y")->endpoint.address, "unix:/run/x=y");
  for (const char* bad : {"", "host", "host:", "host:0", "host:70000", ":1", "=host:1", "a b=host:1",
                          "::1:7400", "n=", "unix:", "n=[::1:2"}) {
    EXPECT_EQ(FieldOf(ParseNode(bad).status()), "--node") << bad;
  }
  EXPECT_EQ(ParseDnsName("nodes.svc:7400")->host, "nodes.svc");
  EXPECT_EQ(FieldOf(ParseDnsName("nodes.svc").status()), "--node_dns");
}

TEST(Resolve, Numbers) {
  EXPECT_EQ(Resolve({"127.0.0.1", "5"}).value(), std::vector<std::string>{"127.0.0.1:5"});
  EXPECT_EQ(Resolve({"::1", "5"}).value(), std::vector<std::string>{"[::1]:5"});
}

TEST(DnsWatch, TellsTargetsAgainAndAgainButNoFailure) {
  std::mutex mutex;
  std::condition_variable changed;
  int asked = 0;
  std::vector<std::vector<Target>> told;
  {
    DnsWatch watch(
        {"nodes", "1"}, absl::Milliseconds(1),
        [&](const DnsName& name) -> absl::StatusOr<std::vector<std::string>> {
          EXPECT_EQ(name.host, "nodes");
          std::lock_guard<std::mutex> lock(mutex);
          if (++asked == 2) return absl::UnavailableError("no answer");
          return std::vector<std::string>{"1.1.1.1:1", "1.1.1.2:1"};
        },
        [&](std::vector<Target> targets) {
          std::lock_guard<std::mutex> lock(mutex);
          told.push_back(std::move(targets));
          changed.notify_all();
        });
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return told.size() >= 2; });
    EXPECT_GE(asked, 3);
  }
  EXPECT_EQ(told[0].size(), 2u);
  EXPECT_EQ(told[0][1].endpoint.address, "1.1.1.2:1");
  EXPECT_EQ(told[0][1].endpoint.tls_name, "nodes");
  EXPECT_EQ(told[0][1].name, "");
}

Target At(const std::string& name, const std::string& address) { return {name, {address, ""}}; }

NodeFacts Called(const std::string& name, const std::string& instance = "i") {
  NodeFacts facts;
  facts.name = name;
  facts.instance_id = instance;
  return facts;
}

const absl::Status kGone = absl::UnavailableError("gone");
const absl::Time kNow = absl::FromUnixSeconds(1000);
constexpr absl::Duration kLostAfter = absl::Minutes(10);

class NodeRegistryTest : public ::testing::Test {
 protected:
  void Set(const std::string& source, const std::vector<Target>& targets) {
    ASSERT_TRUE(nodes_.SetTargets(source, targets, now_).ok());
  }
  std::vector<std::string> Hear(const std::string& address, const absl::StatusOr<NodeFacts>& answer) {
    return nodes_.Heard(address, answer, now_);
  }
  NodeState StateOf(const std::string& name) { return nodes_.Find(name)->state; }
  std::string ReasonOfNode(const std::string& name) { return ReasonOf(nodes_.Find(name)->error); }
  std::string AddressOf(const std::string& name) { return nodes_.Find(name)->endpoint.address; }

  using Names = std::vector<std::string>;
  absl::Time now_ = kNow;
  NodeRegistry nodes_{kLostAfter};
};

TEST_F(NodeRegistryTest, WhatIsSetAsideIsRefusedUntilAnotherInstanceAnswers) {
  const absl::Status why = MakeError(absl::StatusCode::kFailedPrecondition, "STALE_EPOCH", "another");
  EXPECT_FALSE(nodes_.SetAside("n1", why, now_));
  Set("static", {At("n1", "a:1")});
  EXPECT_FALSE(nodes_.SetAside("n1", why, now_));
  Hear("a:1", Called("own", "one"));
  EXPECT_TRUE(nodes_.SetAside("n1", why, now_));
  EXPECT_FALSE(nodes_.SetAside("n1", why, now_));
  EXPECT_EQ(StateOf("n1"), NodeState::kRefused);
  EXPECT_EQ(ReasonOfNode("n1"), "STALE_EPOCH");
  EXPECT_TRUE(nodes_.Find("n1")->set_aside);
  EXPECT_TRUE(nodes_.UpNames().empty());
  Hear("a:1", kGone);
  EXPECT_EQ(StateOf("n1"), NodeState::kDown);
  EXPECT_FALSE(nodes_.Find("n1")->set_aside);
  Hear("a:1", Called("own", "one"));
  EXPECT_EQ(StateOf("n1"), NodeState::kRefused);
  EXPECT_EQ(Hear("a:1", Called("own", "two")), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  EXPECT_TRUE(nodes_.Find("n1")->error.ok());
}

TEST_F(NodeRegistryTest, GoesUpAndDown) {
  Set("static", {At("n1", "a:1")});
  EXPECT_EQ(StateOf("n1"), NodeState::kUnknown);
  EXPECT_TRUE(nodes_.UpNames().empty());
  EXPECT_EQ(Hear("a:1", Called("own")), Names{"n1"});
  EXPECT_EQ(Hear("a:1", Called("own")), Names{});
  EXPECT_EQ(nodes_.UpNames(), std::set<std::string>{"n1"});
  EXPECT_EQ(nodes_.Find("own"), nullptr);
  now_ += absl::Seconds(5);
  EXPECT_EQ(Hear("a:1", kGone), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kDown);
  EXPECT_TRUE(nodes_.UpNames().empty());
  EXPECT_EQ(nodes_.Find("n1")->last_seen, kNow);
  EXPECT_EQ(nodes_.Find("n1")->facts->name, "own");
  EXPECT_TRUE(absl::IsUnavailable(nodes_.Find("n1")->error));
  EXPECT_EQ(Hear("unheard:1", Called("x")), Names{});
}

TEST_F(NodeRegistryTest, OneAddressHasOneName) {
  Set("static", {At("n0", "z:1")});
  const absl::Status status = nodes_.SetTargets("static", {At("n1", "a:1"), At("n2", "a:1")}, now_);
  EXPECT_EQ(ReasonOf(status), "ADDRESS_TAKEN");
  EXPECT_EQ(nodes_.addresses().count("a:1"), 0u);
  EXPECT_NE(nodes_.Find("n0"), nullptr);
}

TEST_F(NodeRegistryTest, AddressesOfOneNodeAreTriedInTurn) {
  Set("static", {At("n1", "a:1"), At("n1", "b:1"), At("n1", "c:1")});
  EXPECT_EQ(nodes_.nodes().size(), 1u);
  Hear("a:1", kGone);
  EXPECT_EQ(StateOf("n1"), NodeState::kUnknown);
  EXPECT_EQ(Hear("b:1", Called("own")), Names{"n1"});
  EXPECT_EQ(AddressOf("n1"), "b:1");
  // Another that answers too is no reason to change.
  now_ += absl::Seconds(10);
  EXPECT_EQ(Hear("a:1", Called("own")), Names{});
  EXPECT_EQ(AddressOf("n1"), "b:1");
  now_ += absl::Seconds(10);
  Hear("c:1", Called("own"));
  // The one that has answered longest takes over, at once, and the node stays up.
  EXPECT_EQ(Hear("b:1", kGone), Names{});
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  EXPECT_EQ(AddressOf("n1"), "a:1");
  now_ += absl::Seconds(10);
  Hear("b:1", Called("own"));
  EXPECT_EQ(AddressOf("n1"), "a:1");
  // b failed since c answered first.
  Hear("a:1", kGone);
  EXPECT_EQ(AddressOf("n1"), "c:1");
  Hear("c:1", kGone);
  now_ += absl::Seconds(10);
  EXPECT_EQ(AddressOf("n1"), "b:1");
  EXPECT_EQ(Hear("b:1", kGone), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kDown);
  // None answers: the one that was heard of last.
  EXPECT_EQ(AddressOf("n1"), "b:1");
}

TEST_F(NodeRegistryTest, FromDnsTheyNameThemselves) {
  Set("dns", {At("", "a:1"), At("", "b:1"), At("", "c:1")});
  EXPECT_EQ(nodes_.Find(""), nullptr);
  EXPECT_TRUE(nodes_.nodes().empty());
  EXPECT_EQ(Hear("a:1", Called("n1")), Names{"n1"});
  EXPECT_EQ(AddressOf("n1"), "a:1");
  // Two networks of one node.
  EXPECT_EQ(Hear("b:1", Called("n1")), Names{});
  EXPECT_EQ(nodes_.Find("n1")->addresses, (std::set<std::string>{"a:1", "b:1"}));
  Hear("c:1", Called(""));
  EXPECT_EQ(ReasonOf(nodes_.addresses().at("c:1").error), "NODE_UNNAMED");
  EXPECT_EQ(nodes_.addresses().at("c:1").state, NodeState::kDown);
  // Another node at an address that was n1's.
  EXPECT_EQ(Hear("b:1", Called("n2", "j")), Names{"n2"});
  EXPECT_EQ(nodes_.Find("n1")->addresses, std::set<std::string>{"a:1"});
  EXPECT_EQ(Hear("a:1", Called("n2", "j")), Names{"n1"});
  EXPECT_EQ(ReasonOfNode("n1"), "NODE_VANISHED");
}

TEST_F(NodeRegistryTest, TwoNodesOfOneNameAreBothRefused) {
  Set("static", {At("n1", "a:1")});
  Set("dns", {At("", "b:1")});
  Hear("a:1", Called("n1", "i"));
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  // It may have been started anew: no tasks until the other address has said so.
  EXPECT_EQ(Hear("b:1", Called("n1", "j")), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kUnknown);
  EXPECT_EQ(Hear("a:1", Called("n1", "i")), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kRefused);
  EXPECT_EQ(ReasonOfNode("n1"), "NODE_NAME_TAKEN");
  EXPECT_THAT(std::string(nodes_.Find("n1")->error.message()), ::testing::HasSubstr("a:1, b:1"));
  EXPECT_TRUE(nodes_.UpNames().empty());
  EXPECT_EQ(AddressOf("n1"), "a:1");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Hear("b:1", Called("n1", "j")), Names{});
    EXPECT_EQ(Hear("a:1", Called("n1", "i")), Names{});
  }
  // Refused, not lost.
  now_ += 2 * kLostAfter;
  EXPECT_EQ(nodes_.Expire(now_), Names{});
  // One of them gone, the other is the node.
  EXPECT_EQ(Hear("a:1", kGone), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  EXPECT_EQ(AddressOf("n1"), "b:1");
}

TEST_F(NodeRegistryTest, TheSameInstanceStartedTwiceIsTwo) {
  NodeFacts one = Called("n1");
  NodeFacts copy = one;
  one.started = kNow;
  copy.started = kNow + absl::Seconds(1);
  Set("dns", {At("", "a:1"), At("", "b:1")});
  Hear("a:1", one);
  Hear("b:1", copy);
  Hear("a:1", one);
  EXPECT_EQ(StateOf("n1"), NodeState::kRefused);
}

TEST_F(NodeRegistryTest, ANodeThatWasStartedAnewIsNotTwo) {
  Set("static", {At("n1", "a:1"), At("n1", "b:1")});
  for (const char* instance : {"i", "j", "k"}) {
    for (const char* address : {"a:1", "b:1", "a:1"}) Hear(address, Called("own", instance));
    EXPECT_EQ(StateOf("n1"), NodeState::kUp) << instance;
  }
  // Also where only one address still answers.
  EXPECT_EQ(Hear("b:1", Called("own", "l")), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kUnknown);
  EXPECT_EQ(Hear("a:1", kGone), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
}

TEST_F(NodeRegistryTest, ANodeThatStaysDownIsLost) {
  Set("static", {At("n1", "a:1"), At("n2", "b:1")});
  Hear("a:1", Called("own"));
  now_ += absl::Minutes(1);
  Hear("a:1", kGone);
  EXPECT_EQ(nodes_.next_expiry(), kNow + kLostAfter);
  // Never heard of.
  EXPECT_EQ(nodes_.Expire(kNow + kLostAfter - absl::Seconds(1)), Names{});
  EXPECT_EQ(nodes_.Expire(kNow + kLostAfter), (Names{"n1", "n2"}));
  EXPECT_EQ(nodes_.Expire(kNow + kLostAfter), Names{});
  EXPECT_EQ(ReasonOfNode("n1"), "NODE_LOST");
  EXPECT_THAT(std::string(nodes_.Find("n1")->error.message()), ::testing::HasSubstr("gone"));
  // Still lost, and never forgotten while it is named.
  now_ += absl::Hours(100);
  EXPECT_EQ(Hear("a:1", kGone), Names{});
  EXPECT_EQ(nodes_.Expire(now_), Names{});
  EXPECT_EQ(StateOf("n1"), NodeState::kLost);
  EXPECT_EQ(Hear("a:1", Called("own")), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  // The time counts from when it was up last.
  now_ += absl::Minutes(1);
  Hear("a:1", kGone);
  EXPECT_EQ(StateOf("n1"), NodeState::kDown);
  EXPECT_EQ(nodes_.next_expiry(), now_ - absl::Minutes(1) + kLostAfter);
}

TEST_F(NodeRegistryTest, ANodeThatVanishesIsLostThenForgotten) {
  Set("dns", {At("", "a:1")});
  Hear("a:1", Called("n1"));
  Set("dns", {});
  EXPECT_TRUE(nodes_.addresses().empty());
  EXPECT_EQ(StateOf("n1"), NodeState::kDown);
  EXPECT_EQ(ReasonOfNode("n1"), "NODE_VANISHED");
  EXPECT_EQ(AddressOf("n1"), "");
  now_ += kLostAfter;
  EXPECT_EQ(nodes_.Expire(now_), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kLost);
  // Back at another address.
  Set("dns", {At("", "b:1")});
  Hear("b:1", Called("n1", "j"));
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  Set("dns", {});
  now_ += kLostAfter;
  EXPECT_EQ(nodes_.Expire(now_), Names{"n1"});
  EXPECT_EQ(nodes_.next_expiry(), now_ + absl::Hours(24));
  now_ += absl::Hours(24);
  EXPECT_EQ(nodes_.Expire(now_), Names{});
  EXPECT_EQ(nodes_.Find("n1"), nullptr);
  EXPECT_EQ(nodes_.next_expiry(), absl::InfiniteFuture());
}

// As when the controller slept for days: who hears that a node is lost still finds it.
TEST_F(NodeRegistryTest, ANodeIsNotForgottenAtOnceWhenItIsLost) {
  Set("dns", {At("", "a:1")});
  Hear("a:1", Called("n1"));
  Set("dns", {});
  now_ += kLostAfter + absl::Hours(48);
  EXPECT_EQ(nodes_.Expire(now_), Names{"n1"});
  EXPECT_EQ(StateOf("n1"), NodeState::kLost);
  EXPECT_EQ(nodes_.Expire(now_), Names{});
  EXPECT_EQ(nodes_.Find("n1"), nullptr);
}

TEST_F(NodeRegistryTest, AnExpectedNodeIsLostUnlessItComes) {
  nodes_.Expect("n1", now_);
  nodes_.Expect("n2", now_);
  EXPECT_EQ(ReasonOfNode("n1"), "NODE_VANISHED");
  Set("dns", {At("", "a:1")});
  Hear("a:1", Called("n1"));
  nodes_.Expect("n1", now_);
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  EXPECT_EQ(nodes_.Expire(now_ + kLostAfter), Names{"n2"});
}

TEST_F(NodeRegistryTest, SourcesDoNotDisturbEachOther) {
  Set("static", {At("n1", "a:1")});
  Hear("a:1", Called("x"));
  Set("dns", {At("", "a:1"), At("", "b:1")});
  EXPECT_EQ(nodes_.addresses().size(), 2u);
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  Set("dns", {});
  EXPECT_EQ(nodes_.addresses().size(), 1u);
  Set("static", {At("n1", "a:1"), At("n2", "c:1")});
  EXPECT_EQ(StateOf("n1"), NodeState::kUp);
  EXPECT_EQ(StateOf("n2"), NodeState::kUnknown);
}

TEST(Mailbox, BoundsCallsOnly) {
  Mailbox mailbox(2);
  int done = 0;
  EXPECT_TRUE(mailbox.PostCall([&] { ++done; }).ok());
  EXPECT_TRUE(mailbox.PostCall([&] { ++done; }).ok());
  const absl::Status full = mailbox.PostCall([&] { ++done; });
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_EQ(ReasonOf(full), "BUSY");
  mailbox.PostNews([&] { ++done; });
  for (Mailbox::Work& work : mailbox.Take()) work();
  EXPECT_EQ(done, 3);
  EXPECT_TRUE(mailbox.PostCall([&] { ++done; }).ok());
  EXPECT_TRUE(mailbox.Wait(absl::InfiniteDuration()));
  mailbox.Close();
  EXPECT_FALSE(mailbox.Wait(absl::InfiniteDuration()));
  EXPECT_EQ(ReasonOf(mailbox.PostCall([&] { ++done; })), "STOPPING");
  mailbox.PostNews([&] { ++done; });
  EXPECT_EQ(mailbox.Take().size(), 1u);
}

}  // namespace
}  // namespace cowherd
