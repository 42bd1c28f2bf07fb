// A controller that does not lead.
#include "server/controller/front.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"

namespace cowherd {
namespace {

JobRecord Numbered(int n) {
  v1::JobSpec spec;
  spec.mutable_scan()->mutable_nodes()->set_all(true);
  JobRecord record;
  record.job.id = absl::StrCat("000000000000000", n);
  record.job.created = absl::UnixEpoch();
  record.spec = spec.SerializeAsString();
  record.tasks.emplace_back();
  record.tasks[0].node = "n1";
  record.job.tasks_made = 1;
  return record;
}

class FrontTest : public ::testing::Test {
 protected:
  FrontTest() {
    auto store = std::make_unique<MemoryStore>();
    store_ = store.get();
    for (int n = 1; n <= 3; ++n) EXPECT_TRUE(store->Create(Numbered(n)).ok());
    fronts_ = std::make_unique<Fronts>(gate_, std::move(store));
    grpc::ServerBuilder builder;
    for (grpc::Service* service : fronts_->services()) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    channel_ = server_->InProcessChannel(grpc::ChannelArguments());
    stub_ = v1::ControllerService::NewStub(channel_);
  }

  std::string leader_ = "other:7400";
  MemoryStore* store_;
  TermGate gate_{[this] { return leader_; }};
  std::unique_ptr<Fronts> fronts_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ControllerService::Stub> stub_;
};

TEST_F(FrontTest, ReadsAreAnsweredFromTheStore) {
  grpc::ClientContext get;
  v1::GetJobRequest which;
  which.set_id("0000000000000002");
  v1::Job job;
  ASSERT_TRUE(stub_->GetJob(&get, which, &job).ok());
  EXPECT_EQ(job.id(), which.id());
  EXPECT_EQ(job.tasks_size(), 1);

  v1::ListJobsRequest request;
  request.set_page_size(2);
  std::vector<std::string> listed;
  do {
    grpc::ClientContext list;
    v1::ListJobsResponse page;
    ASSERT_TRUE(stub_->ListJobs(&list, request, &page).ok());
    for (const v1::Job& one : page.jobs()) listed.push_back(one.id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, (std::vector<std::string>{"0000000000000003", "0000000000000002", "0000000000000001"}));
}

TEST_F(FrontTest, AStoreThatFailsIsSaid) {
  store_->FailWith(absl::UnavailableError("no member answers"));
  grpc::ClientContext context;
  v1::ListJobsResponse page;
  EXPECT_EQ(stub_->ListJobs(&context, {}, &page).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(FrontTest, WritersAreSentToTheLeader) {
  for (const char* leader : {"other:7400", ""}) {
    leader_ = leader;
    grpc::ClientContext create;
    v1::Job job;
    const absl::Status created = FromGrpc(stub_->CreateJob(&create, {}, &job));
    grpc::ClientContext watch;
    const absl::Status watched = FromGrpc(stub_->WatchJob(&watch, {})->Finish());
    for (const absl::Status& status : {created, watched}) {
      EXPECT_TRUE(absl::IsUnavailable(status)) << status;
      EXPECT_EQ(ReasonOf(status), "NOT_LEADER");
      EXPECT_EQ(LeaderOf(status), leader);
    }
  }
}

// A method that is added must be handed on here, too.
TEST_F(FrontTest, EveryMethodIsHandedOn) {
  const auto* file = v1::GetJobRequest::descriptor()->file();
  const std::vector<std::string> names = Fronts::names();
  ASSERT_EQ(fronts_->services().size(), names.size());
  ASSERT_EQ(file->service_count(), static_cast<int>(names.size()));
  for (int s = 0; s < file->service_count(); ++s) {
    // Health is told of it.
    EXPECT_NE(std::find(names.begin(), names.end(), file->service(s)->full_name()), names.end());
    for (int m = 0; m < file->service(s)->method_count(); ++m) {
      const auto* method = file->service(s)->method(m);
      grpc::ClientContext context;
      grpc::CompletionQueue queue;
      grpc::GenericStub stub(channel_);
      const std::string name = absl::StrCat("/", file->service(s)->full_name(), "/", method->name());
      const grpc::Slice nothing("");
      const auto call = stub.PrepareUnaryCall(&context, name, grpc::ByteBuffer(&nothing, 1), &queue);
      call->StartCall();
      grpc::ByteBuffer response;
      grpc::Status status;
      call->Finish(&response, &status, nullptr);
      void* tag = nullptr;
      bool ok = false;
      ASSERT_TRUE(queue.Next(&tag, &ok));
      if (method->name() == "GetJob" || method->name() == "ListJobs") {
        EXPECT_NE(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << name;
      } else {
        EXPECT_EQ(ReasonOf(FromGrpc(status)), "NOT_LEADER") << name;
      }
    }
  }
}

}  // namespace
}  // namespace cowherd
