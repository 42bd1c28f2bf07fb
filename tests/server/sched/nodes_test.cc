// The nodes known: how they are found, named, heard of.
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

NodeFacts Called(const std::string& name) {
  NodeFacts facts;
  facts.name = name;
  return facts;
}

const absl::Time kNow = absl::FromUnixSeconds(1000);

TEST(NodeRegistry, GoesUpAndDown) {
  NodeRegistry nodes;
  ASSERT_TRUE(nodes.SetTargets("static", {At("n1", "a:1")}).ok());
  EXPECT_EQ(nodes.Find("n1")->state, NodeState::kUnknown);
  EXPECT_TRUE(nodes.UpNames().empty());
  EXPECT_TRUE(nodes.Heard("a:1", Called("own"), kNow));
  EXPECT_FALSE(nodes.Heard("a:1", Called("own"), kNow));
  EXPECT_EQ(nodes.UpNames(), std::set<std::string>{"n1"});
  EXPECT_EQ(nodes.Find("own"), nullptr);
  EXPECT_TRUE(nodes.Heard("a:1", absl::UnavailableError("gone"), kNow + absl::Seconds(5)));
  EXPECT_EQ(nodes.Find("n1")->state, NodeState::kDown);
  EXPECT_EQ(nodes.Find("n1")->last_seen, kNow);
  EXPECT_EQ(nodes.Find("n1")->facts->name, "own");
  EXPECT_TRUE(absl::IsUnavailable(nodes.Find("n1")->error));
  EXPECT_FALSE(nodes.Heard("unheard:1", Called("x"), kNow));
}

TEST(NodeRegistry, TwoOfOneNameInTheList) {
  NodeRegistry nodes;
  const absl::Status status = nodes.SetTargets("static", {At("n1", "a:1"), At("n1", "b:1")});
  EXPECT_EQ(ReasonOf(status), "NODE_NAME_TAKEN");
  EXPECT_TRUE(nodes.nodes().empty());
}

TEST(NodeRegistry, FromDnsTheyNameThemselves) {
  NodeRegistry nodes;
  ASSERT_TRUE(nodes.SetTargets("dns", {At("", "a:1"), At("", "b:1"), At("", "c:1")}).ok());
  EXPECT_EQ(nodes.Find(""), nullptr);
  EXPECT_TRUE(nodes.Heard("a:1", Called("n1"), kNow));
  EXPECT_EQ(nodes.Find("n1")->endpoint.address, "a:1");
  // The second one of that name is refused while the first is up.
  EXPECT_TRUE(nodes.Heard("b:1", Called("n1"), kNow));
  EXPECT_EQ(nodes.nodes().at("b:1").state, NodeState::kDown);
  EXPECT_EQ(ReasonOf(nodes.nodes().at("b:1").error), "NODE_NAME_TAKEN");
  EXPECT_EQ(nodes.Find("n1")->endpoint.address, "a:1");
  // It takes over once the first is down.
  nodes.Heard("a:1", absl::UnavailableError("gone"), kNow);
  EXPECT_TRUE(nodes.Heard("b:1", Called("n1"), kNow));
  EXPECT_EQ(nodes.Find("n1")->endpoint.address, "b:1");
  EXPECT_TRUE(nodes.Heard("c:1", Called(""), kNow));
  EXPECT_EQ(ReasonOf(nodes.nodes().at("c:1").error), "NODE_UNNAMED");
}

TEST(NodeRegistry, SourcesDoNotDisturbEachOther) {
  NodeRegistry nodes;
  ASSERT_TRUE(nodes.SetTargets("static", {At("n1", "a:1")}).ok());
  nodes.Heard("a:1", Called("x"), kNow);
  ASSERT_TRUE(nodes.SetTargets("dns", {At("", "a:1"), At("", "b:1")}).ok());
  EXPECT_EQ(nodes.nodes().size(), 2u);
  EXPECT_EQ(nodes.Find("n1")->state, NodeState::kUp);
  // A name given in the list is nobody else's.
  nodes.Heard("b:1", Called("n1"), kNow);
  EXPECT_EQ(nodes.nodes().at("b:1").state, NodeState::kDown);
  ASSERT_TRUE(nodes.SetTargets("dns", {}).ok());
  EXPECT_EQ(nodes.nodes().size(), 1u);
  ASSERT_TRUE(nodes.SetTargets("static", {At("n1", "a:1"), At("n2", "c:1")}).ok());
  EXPECT_EQ(nodes.Find("n1")->state, NodeState::kUp);
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
