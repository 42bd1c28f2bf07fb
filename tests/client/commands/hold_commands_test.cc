// node and cluster pause, drain and resume, against a fake controller.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "tests/client/commands/command_line.h"
#include "tests/testing/fake_servers.h"

namespace cowherd::testing {
namespace {

// Answers with what it was asked for.
class FakeHolds final : public v1::HoldService::CallbackService {
 public:
  absl::Status status;
  std::string asked;

  grpc::ServerUnaryReactor* PauseNode(grpc::CallbackServerContext* context,
                                      const v1::PauseNodeRequest* request, v1::NodeHold* response) override {
    response->set_node(request->node());
    return Answer(context, "PauseNode", *request, v1::HOLD_PAUSE, response->mutable_hold());
  }
  grpc::ServerUnaryReactor* DrainNode(grpc::CallbackServerContext* context,
                                      const v1::DrainNodeRequest* request, v1::NodeHold* response) override {
    response->set_node(request->node());
    return Answer(context, "DrainNode", *request, v1::HOLD_DRAIN, response->mutable_hold());
  }
  grpc::ServerUnaryReactor* ResumeNode(grpc::CallbackServerContext* context,
                                       const v1::ResumeNodeRequest* request,
                                       v1::NodeHold* response) override {
    asked = "ResumeNode";
    response->set_node(request->node());
    return Finish(context);
  }
  grpc::ServerUnaryReactor* PauseCluster(grpc::CallbackServerContext* context,
                                         const v1::PauseClusterRequest* request,
                                         v1::ClusterHold* response) override {
    return Answer(context, "PauseCluster", *request, v1::HOLD_PAUSE, response->mutable_hold());
  }
  grpc::ServerUnaryReactor* DrainCluster(grpc::CallbackServerContext* context,
                                         const v1::DrainClusterRequest* request,
                                         v1::ClusterHold* response) override {
    return Answer(context, "DrainCluster", *request, v1::HOLD_DRAIN, response->mutable_hold());
  }
  grpc::ServerUnaryReactor* ResumeCluster(grpc::CallbackServerContext* context,
                                          const v1::ResumeClusterRequest*, v1::ClusterHold*) override {
    asked = "ResumeCluster";
    return Finish(context);
  }

 private:
  template <typename Request>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const char* call,
                                   const Request& request, v1::HoldKind kind, v1::Hold* hold) {
    asked = absl::StrCat(call, " ", request.reason());
    hold->set_kind(kind);
    hold->set_by(request.by().substr(0, request.by().find('@')));
    hold->set_reason(request.reason());
    hold->mutable_since()->set_seconds(1700000000);
    return Finish(context);
  }
  grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }
};

class HoldCommands : public ::testing::Test {
 protected:
  HoldCommands() {
    run.environment["COWHERD_CONTROLLER"] = server.address();
    run.environment["USER"] = "ann";
  }

  FakeHolds holds;
  FakeServer server{holds};
  CommandLine run;
};

TEST_F(HoldCommands, SayWhoAndWhy) {
  struct Row {
    std::vector<std::string> args;
    std::string asked;
    std::string out;
  };
  const Row rows[] = {
      {{"node", "pause", "n1", "--reason", "new disk"},
       "PauseNode new disk",
       "node n1: paused by ann since 2023-11-14 22:13:20Z: new disk\n"},
      {{"node", "drain", "n1"}, "DrainNode ", "node n1: drained by ann since 2023-11-14 22:13:20Z\n"},
      {{"node", "resume", "n1"}, "ResumeNode", "node n1: works\n"},
      {{"cluster", "pause", "--reason", "b"},
       "PauseCluster b",
       "cluster: paused by ann since 2023-11-14 22:13:20Z: b\n"},
      {{"cluster", "drain"}, "DrainCluster ", "cluster: drained by ann since 2023-11-14 22:13:20Z\n"},
      {{"cluster", "resume"}, "ResumeCluster", "cluster: works\n"},
  };
  for (const Row& row : rows) {
    run(row.args);
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(holds.asked, row.asked);
    EXPECT_EQ(run.out, row.out);
  }
  run({"node", "pause", "n1", "-o", "json"});
  EXPECT_TRUE(absl::StrContains(run.out, "\"HOLD_PAUSE\"")) << run.out;
}

TEST_F(HoldCommands, ErrorsAreTold) {
  holds.status = MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN", "no node is called n9");
  run({"node", "drain", "n9"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "no node is called n9")) << run.err;
  run({"node", "drain"});
  EXPECT_EQ(run.code, 2);
}

TEST(HoldTexts, ShownWithNodesAndJobs) {
  FakeController controller;
  FakeServer server(controller);
  CommandLine run;
  run.environment["COWHERD_CONTROLLER"] = server.address();
  controller.job = v1::Job();
  controller.job->set_id("7f3a");
  controller.job->set_state(v1::PAUSED);
  controller.job->mutable_hold()->set_by("ann");
  controller.job->mutable_hold()->set_kind(v1::HOLD_PAUSE);
  controller.job->mutable_hold()->mutable_since()->set_seconds(1700000000);
  run({"job", "get", "7f3a"});
  EXPECT_TRUE(absl::StrContains(run.out, "rests:       paused by ann since 2023-11-14 22:13:20Z\n"))
      << run.out;

  v1::ListNodesResponse nodes;
  *nodes.mutable_cluster_hold() = controller.job->hold();
  v1::NodeStatus& node = *nodes.add_nodes();
  node.set_name("n1");
  node.set_state(v1::NODE_UP);
  node.mutable_hold()->set_kind(v1::HOLD_DRAIN);
  node.mutable_hold()->mutable_since()->set_seconds(1700000000);
  v1::PausedFilesystem& paused = *node.add_paused_filesystems();
  paused.set_uuid("u1");
  paused.mutable_until()->set_seconds(1700000060);
  paused.mutable_error()->set_reason("ENOSPC");
  paused.mutable_error()->set_message("it is full");
  controller.nodes = nodes;
  run({"node", "list"});
  EXPECT_TRUE(absl::StartsWith(run.out, "cluster paused by ann since 2023-11-14 22:13:20Z\n\n")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "UP,DRAINED")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out,
                                "drained since 2023-11-14 22:13:20Z; filesystem u1 left alone until "
                                "2023-11-14 22:14:20Z: ENOSPC: it is full"))
      << run.out;
  run({"cluster", "show"});
  EXPECT_EQ(run.out, "cluster: paused by ann since 2023-11-14 22:13:20Z\n");
  run({"node", "show", "n1"});
  EXPECT_TRUE(absl::StrContains(run.out, "drained since")) << run.out;
}

}  // namespace
}  // namespace cowherd::testing
