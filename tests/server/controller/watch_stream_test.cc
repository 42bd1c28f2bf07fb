// What a watch that is refused leaves behind.
#include "server/controller/watch_stream.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <memory>
#include <random>

#include "cowherd/v1/controller.grpc.pb.h"
#include "server/base/clock.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"
#include "server/metrics/controller_metrics.h"
#include "tests/testing/fake_link.h"

namespace cowherd {
namespace {

class Watches final : public v1::ControllerService::CallbackService {
 public:
  Watches(Loop& loop, std::shared_ptr<Mailbox> mailbox) : loop_(loop), mailbox_(std::move(mailbox)) {}

  grpc::ServerWriteReactor<v1::Job>* WatchJob(grpc::CallbackServerContext*,
                                              const v1::WatchJobRequest* request) override {
    return WatchStream::Start(loop_, mailbox_, messages_, request->id());
  }

 private:
  Loop& loop_;
  const std::shared_ptr<Mailbox> mailbox_;
  const std::shared_ptr<JobMessages> messages_ = std::make_shared<JobMessages>();
};

TEST(WatchStream, ARefusedWatchLeavesNothingInTheMailbox) {
  prometheus::Registry registry;
  ControllerMetrics metrics(registry, "1", {}, {});
  MemoryStore store;
  FakeLink link;
  FakeClock clock(absl::FromUnixSeconds(1'000));
  std::mt19937_64 random(1);
  // Nobody takes what is posted, as while the store hangs; one call may wait.
  const auto mailbox = std::make_shared<Mailbox>(1);
  Loop loop(store, link, clock, mailbox, metrics, [](absl::string_view) { return JobPlan(); }, random, {});
  Watches watches(loop, mailbox);
  grpc::ServerBuilder builder;
  builder.RegisterService(&watches);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const auto stub = v1::ControllerService::NewStub(server->InProcessChannel(grpc::ChannelArguments()));
  ASSERT_TRUE(mailbox->PostCall([] {}).ok());
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    v1::Job job;
    const auto reader = stub->WatchJob(&context, request);
    EXPECT_FALSE(reader->Read(&job));
    EXPECT_EQ(ReasonOf(FromGrpc(reader->Finish())), "BUSY");
  }
  server->Shutdown();
  EXPECT_EQ(mailbox->Take().size(), 1u);
}

}  // namespace
}  // namespace cowherd
