#include "server/node/node_service.h"

#include <grpcpp/grpcpp.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cowherd/v1/node.grpc.pb.h"
#include "server/base/grpc_status.h"
#include "tests/server/node/node_under_test.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using std::chrono::system_clock;
using testing::Blocks;
using testing::Gate;
using testing::HasErrno;
using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::kBlock;
using testing::NodeUnderTest;
using testing::StatusIs;

// A served node and a client of it, in one process.
class NodeServiceTest : public ::testing::Test {
 protected:
  NodeServiceTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::NodeService::NewStub(server_->InProcessChannel(grpc::ChannelArguments()));
  }
  ~NodeServiceTest() override { server_->Shutdown(system_clock::now()); }

  // /data/0 to /data/COUNT-1, all equal.
  void AddCopies(int count, uint64_t blocks) {
    for (int i = 0; i < count; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(1, blocks));
  }

  Gate gate_;
  NodeUnderTest under_test_;
  FakeFilesystem& fs_ = under_test_.fs;
  WorkPool calls_{2, 100};
  WorkPool lookups_{2, 100};
  WorkPool scans_{1, 2};
  NodeService service_{*under_test_.node, calls_, lookups_, scans_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::NodeService::Stub> stub_;
  grpc::ClientContext context_;
};

TEST_F(NodeServiceTest, DedupeRanges) {
  AddCopies(2, 4);
  v1::DedupeRangesResponse response;
  const auto request = NodeUnderTest::Ranges("0", 4 * kBlock, {"1", "\xff\xfe"});
  ASSERT_TRUE(stub_->DedupeRanges(&context_, request, &response).ok());
  EXPECT_EQ(response.results(0).outcome(), v1::DEDUPED);
  EXPECT_EQ(response.results(1).outcome(), v1::FAILED);
  EXPECT_EQ(response.results(1).error().errno_name(), "ENOENT");
  EXPECT_EQ(response.results(1).destination().path(), "/data/\xff\xfe");
}

TEST_F(NodeServiceTest, RefusalsKeepReasonFieldAndErrno) {
  v1::DedupeRangesResponse response;
  const absl::Status status =
      FromGrpc(stub_->DedupeRanges(&context_, NodeUnderTest::Ranges("\xff", 1, {"1"}), &response));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(status, HasErrno(ENOENT));
  EXPECT_THAT(status, HasField("source.path"));
}

TEST_F(NodeServiceTest, DeadlineStopsTheRestAndTheAnswerComesInTime) {
  AddCopies(2, 64);
  auto request = NodeUnderTest::Ranges("0", 64 * kBlock, {"1"});
  request.set_max_bytes_per_call(128 << 10);
  const auto deadline = system_clock::now() + std::chrono::milliseconds(700);
  context_.set_deadline(deadline);
  // The first comparison takes until the node should stop.
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) {
    std::this_thread::sleep_until(deadline - std::chrono::milliseconds(240));
  });
  v1::DedupeRangesResponse response;
  ASSERT_THAT(FromGrpc(stub_->DedupeRanges(&context_, request, &response)), IsOk());
  EXPECT_EQ(response.results(0).outcome(), v1::STOPPED);
  EXPECT_EQ(response.results(0).bytes_accepted(), uint64_t{128} << 10);
  EXPECT_EQ(response.results(0).error().reason(), "DEADLINE_EXCEEDED");
}

TEST_F(NodeServiceTest, CancelByTheClientStopsBetweenTwoComparisons) {
  constexpr uint64_t kBlocks = 4096;
  AddCopies(2, kBlocks);
  fs_.LimitProgress(kBlock);
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  std::thread canceller([this] {
    gate_.AwaitSomeoneWaiting();
    context_.TryCancel();
  });
  auto request = NodeUnderTest::Ranges("0", kBlocks * kBlock, {"1"});
  request.set_max_bytes_per_call(128 << 10);
  v1::DedupeRangesResponse response;
  EXPECT_THAT(FromGrpc(stub_->DedupeRanges(&context_, request, &response)),
              StatusIs(absl::StatusCode::kCancelled));
  canceller.join();
  gate_.Open();
  server_->Shutdown(system_clock::now());  // waits for the call
  EXPECT_LT(fs_.dedupe_calls().size(), kBlocks);
}

TEST_F(NodeServiceTest, StreamAnswersInOrderAndGoesOnAfterABadRequest) {
  AddCopies(101, 4);
  auto stream = stub_->DedupeRangesStream(&context_);
  std::thread writer([&] {
    for (uint64_t i = 0; i < 100; ++i) {
      v1::DedupeRangesStreamRequest request;
      request.set_id(1000 + i);
      *request.mutable_request() =
          NodeUnderTest::Ranges("0", i == 50 ? 0 : 4 * kBlock, {i == 60 ? "absent" : absl::StrCat(i + 1)});
      EXPECT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });
  v1::DedupeRangesStreamResponse response;
  uint64_t answered = 0;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.id(), 1000 + answered);
    if (answered == 50) {
      EXPECT_EQ(response.error().field(), "length");
    } else {
      EXPECT_EQ(response.response().results(0).outcome(), answered == 60 ? v1::FAILED : v1::DEDUPED)
          << answered;
    }
    ++answered;
  }
  writer.join();
  EXPECT_EQ(answered, 100U);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(NodeServiceTest, StreamGivenUpByItsClientEnds) {
  AddCopies(2, 4);
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  auto stream = stub_->DedupeRangesStream(&context_);
  v1::DedupeRangesStreamRequest request;
  *request.mutable_request() = NodeUnderTest::Ranges("0", 4 * kBlock, {"1"});
  ASSERT_TRUE(stream->Write(request));
  gate_.AwaitSomeoneWaiting();
  context_.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  gate_.Open();  // the destructor would hang if the call lived on
}

TEST_F(NodeServiceTest, StreamTakesInMoreWhileItServesAndKeepsNothingOpen) {
  AddCopies(2, 4);
  // The second and later requests are read while the first is served.
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  auto stream = stub_->DedupeRangesStream(&context_);
  constexpr int kRequests = 300;  // more than a stream takes in at a time
  std::thread writer([&] {
    v1::DedupeRangesStreamRequest request;
    *request.mutable_request() = NodeUnderTest::Ranges("0", 4 * kBlock, {"1"});
    for (int i = 0; i < kRequests; ++i) EXPECT_TRUE(stream->Write(request));
    stream->WritesDone();
  });
  gate_.AwaitSomeoneWaiting();
  gate_.Open();
  v1::DedupeRangesStreamResponse response;
  int answered = 0;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.response().results(0).outcome(), v1::DEDUPED);
    ++answered;
  }
  writer.join();
  EXPECT_EQ(answered, kRequests);
  EXPECT_TRUE(stream->Finish().ok());
  // Nothing is kept: the root may go, and that is noticed.
  fs_.Remove("/data");
  grpc::ClientContext after;
  auto again = stub_->DedupeRangesStream(&after);
  v1::DedupeRangesStreamRequest request;
  *request.mutable_request() = NodeUnderTest::Ranges("0", 4 * kBlock, {"1"});
  ASSERT_TRUE(again->Write(request));
  ASSERT_TRUE(again->Read(&response));
  EXPECT_EQ(response.error().reason(), "ROOT_ABSENT");
  again->WritesDone();
  EXPECT_TRUE(again->Finish().ok());
}

TEST_F(NodeServiceTest, StreamGivenUpWithRequestsWaitingEnds) {
  AddCopies(2, 4);
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  auto stream = stub_->DedupeRangesStream(&context_);
  v1::DedupeRangesStreamRequest request;
  *request.mutable_request() = NodeUnderTest::Ranges("0", 4 * kBlock, {"1"});
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(stream->Write(request));
  gate_.AwaitSomeoneWaiting();
  context_.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  gate_.Open();
  server_->Shutdown();  // waits for the call: it would hang if that lived on
}

TEST_F(NodeServiceTest, FindDuplicatesToASlowReaderWithTheSummaryLast) {
  AddCopies(1000, 4);  // more than wait unsent
  v1::FindDuplicatesRequest request;
  request.mutable_scan()->set_root("data");
  auto stream = stub_->FindDuplicates(&context_, request);
  int duplicates = 0;
  bool largest = false;
  bool summary = false;
  v1::FindDuplicatesResponse response;
  while (stream->Read(&response)) {
    EXPECT_FALSE(summary);
    if (response.has_duplicate()) {
      ++duplicates;
      EXPECT_EQ(response.duplicate().length(), 4 * kBlock);
    }
    if (response.has_largest()) {
      largest = true;
      ASSERT_EQ(response.largest().groups_size(), 1);
      EXPECT_EQ(response.largest().groups(0).source().path(), "/data/0");
      EXPECT_EQ(response.largest().groups(0).copies(), 999U);
      EXPECT_EQ(response.largest().groups(0).bytes_freeable(), 999 * 4 * kBlock);
    }
    if (response.has_summary()) {
      summary = true;
      EXPECT_TRUE(largest);
      EXPECT_EQ(response.summary().bytes_freeable(), 999 * 4 * kBlock);
      EXPECT_EQ(response.summary().duplicate_ranges(), 999U);
      EXPECT_EQ(response.summary().bytes_won(), 0);
    }
    for (int i = 0; i < 10; ++i) std::this_thread::yield();
  }
  EXPECT_THAT(FromGrpc(stream->Finish()), IsOk());
  EXPECT_EQ(duplicates, 999);
  EXPECT_TRUE(summary);
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

TEST_F(NodeServiceTest, FindDuplicatesRefuses) {
  v1::FindDuplicatesRequest request;
  request.mutable_scan()->set_root("none");
  EXPECT_THAT(FromGrpc(stub_->FindDuplicates(&context_, request)->Finish()), HasReason("ROOT_UNKNOWN"));
  request.mutable_scan()->set_root("more");
  grpc::ClientContext second;
  EXPECT_THAT(FromGrpc(stub_->FindDuplicates(&second, request)->Finish()), HasReason("ROOT_ABSENT"));
}

TEST_F(NodeServiceTest, FindDuplicatesGivenUpByItsClientEndsTheScan) {
  AddCopies(2000, 4);
  v1::FindDuplicatesRequest request;
  request.mutable_scan()->set_root("data");
  auto stream = stub_->FindDuplicates(&context_, request);
  v1::FindDuplicatesResponse response;
  ASSERT_TRUE(stream->Read(&response));
  context_.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  // The one scan thread is free again: a second scan is served to its end.
  grpc::ClientContext second;
  auto again = stub_->FindDuplicates(&second, request);
  bool summary = false;
  while (again->Read(&response)) summary = response.has_summary();
  EXPECT_TRUE(again->Finish().ok());
  EXPECT_TRUE(summary);
}

TEST_F(NodeServiceTest, TooManyScansAreRefused) {
  AddCopies(2, 4);
  v1::FindDuplicatesRequest request;
  request.mutable_scan()->set_root("data");
  ASSERT_THAT(scans_.Submit([this] { gate_.Pass(); }), IsOk());
  gate_.AwaitSomeoneWaiting();
  for (int i = 0; i < 2; ++i) ASSERT_THAT(scans_.Submit([] {}), IsOk());
  EXPECT_THAT(FromGrpc(stub_->FindDuplicates(&context_, request)->Finish()), HasReason("BUSY"));
  gate_.Open();
}

TEST_F(NodeServiceTest, RunTaskIsSharedByItsReadersAndOutlivesThem) {
  AddCopies(2, 16);
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  const auto request = NodeUnderTest::ScanTask("t");
  auto first = stub_->RunTask(&context_, request);
  v1::RunTaskResponse from_first;
  ASSERT_TRUE(first->Read(&from_first));
  EXPECT_TRUE(from_first.has_progress());
  EXPECT_EQ(from_first.run_id().size(), 32U);
  gate_.AwaitSomeoneWaiting();

  grpc::ClientContext second_context;
  auto second = stub_->RunTask(&second_context, request);
  v1::RunTaskResponse from_second;
  ASSERT_TRUE(second->Read(&from_second));
  EXPECT_TRUE(from_second.has_progress());
  EXPECT_EQ(from_second.run_id(), from_first.run_id());

  context_.TryCancel();
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::CANCELLED);
  gate_.Open();
  while (second->Read(&from_second)) EXPECT_EQ(from_second.run_id(), from_first.run_id());
  EXPECT_TRUE(second->Finish().ok());
  ASSERT_TRUE(from_second.has_summary());
  EXPECT_EQ(from_second.summary().totals().bytes_won(), static_cast<int64_t>(16 * kBlock));

  // Asked again after the end: the summary at once.
  grpc::ClientContext third_context;
  auto third = stub_->RunTask(&third_context, request);
  v1::RunTaskResponse from_third;
  ASSERT_TRUE(third->Read(&from_third));
  EXPECT_TRUE(from_third.has_summary());
  EXPECT_EQ(from_third.run_id(), from_first.run_id());
  EXPECT_FALSE(third->Read(&from_third));
  EXPECT_TRUE(third->Finish().ok());
}

TEST_F(NodeServiceTest, ALaterControllerIsGivenTheRunAndTheEarlierOneIsSentAway) {
  AddCopies(2, 16);
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  v1::RunTaskRequest request = NodeUnderTest::ScanTask("t");
  request.set_epoch(5);
  auto earlier = stub_->RunTask(&context_, request);
  v1::RunTaskResponse from_earlier;
  ASSERT_TRUE(earlier->Read(&from_earlier));
  gate_.AwaitSomeoneWaiting();

  request.set_epoch(6);
  grpc::ClientContext later_context;
  auto later = stub_->RunTask(&later_context, request);
  v1::RunTaskResponse from_later;
  ASSERT_TRUE(later->Read(&from_later));
  EXPECT_EQ(from_later.run_id(), from_earlier.run_id());

  const system_clock::time_point begin = system_clock::now();
  while (earlier->Read(&from_earlier)) EXPECT_TRUE(from_earlier.has_progress());
  EXPECT_THAT(FromGrpc(earlier->Finish()), HasReason("STALE_EPOCH"));
  EXPECT_LT(system_clock::now() - begin, std::chrono::milliseconds(900));
  request.set_epoch(5);
  grpc::ClientContext again_context;
  EXPECT_THAT(FromGrpc(stub_->RunTask(&again_context, request)->Finish()), HasReason("STALE_EPOCH"));
  EXPECT_EQ(under_test_.kept_epochs, (std::vector<uint64_t>{5, 6}));

  gate_.Open();
  while (later->Read(&from_later)) EXPECT_EQ(from_later.run_id(), from_earlier.run_id());
  EXPECT_TRUE(later->Finish().ok());
  EXPECT_EQ(from_later.summary().totals().bytes_won(), static_cast<int64_t>(16 * kBlock));
}

TEST_F(NodeServiceTest, CancelTask) {
  // Of two sources: places of one source would share in the same call of the kernel.
  for (uint64_t seed : {1, 2}) {
    for (const char* name : {"one", "two"}) fs_.AddFile(absl::StrCat("/data/", name, seed), Blocks(seed, 16));
  }
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { gate_.Pass(); });
  v1::RunTaskRequest request = NodeUnderTest::ScanTask("t");
  request.mutable_scan()->mutable_options()->set_workers(1);
  auto stream = stub_->RunTask(&context_, request);
  gate_.AwaitSomeoneWaiting();
  v1::CancelTaskRequest cancel;
  cancel.set_task_id("t");
  v1::CancelTaskResponse nothing;
  grpc::ClientContext cancel_context;
  EXPECT_TRUE(stub_->CancelTask(&cancel_context, cancel, &nothing).ok());
  gate_.Open();
  v1::RunTaskResponse last;
  while (stream->Read(&last)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(last.summary().error().reason(), "CANCELLED");
  EXPECT_EQ(last.summary().totals().ranges_deduped(), 1U);

  cancel.set_task_id("none");
  grpc::ClientContext unknown_context;
  EXPECT_THAT(FromGrpc(stub_->CancelTask(&unknown_context, cancel, &nothing)), HasReason("TASK_UNKNOWN"));
}

TEST_F(NodeServiceTest, RunTaskRefuses) {
  v1::RunTaskRequest request;
  EXPECT_THAT(FromGrpc(stub_->RunTask(&context_, request)->Finish()), HasField("task_id"));
}

TEST_F(NodeServiceTest, GetNodeAndGetExtents) {
  AddCopies(1, 4);
  v1::Node node;
  ASSERT_TRUE(stub_->GetNode(&context_, v1::GetNodeRequest(), &node).ok());
  EXPECT_EQ(node.name(), "n1");
  EXPECT_EQ(node.instance_id(), "i1");
  v1::GetExtentsRequest request;
  request.set_path("/data/0");
  v1::GetExtentsResponse response;
  grpc::ClientContext good;
  ASSERT_TRUE(stub_->GetExtents(&good, request, &response).ok());
  EXPECT_EQ(response.extents_size(), 1);
  EXPECT_EQ(response.file_size(), 4 * kBlock);
  request.set_path("/etc/passwd");
  grpc::ClientContext bad;
  EXPECT_THAT(FromGrpc(stub_->GetExtents(&bad, request, &response)), HasReason("OUTSIDE_ROOTS"));
}

TEST_F(NodeServiceTest, FullPoolsRefuseAtOnce) {
  for (WorkPool* pool : {&calls_, &lookups_}) {
    for (int i = 0; i < 2; ++i) ASSERT_THAT(pool->Submit([this] { gate_.Pass(); }), IsOk());
  }
  gate_.AwaitSomeoneWaiting(4);
  for (WorkPool* pool : {&calls_, &lookups_}) {
    int queued = 0;
    while (pool->Submit([] {}).ok()) ++queued;
    EXPECT_GE(queued, 98);
  }
  grpc::ClientContext run;
  EXPECT_THAT(FromGrpc(stub_->RunTask(&run, NodeUnderTest::ScanTask("t"))->Finish()), HasReason("BUSY"));
  v1::Node node;
  EXPECT_THAT(FromGrpc(stub_->GetNode(&context_, v1::GetNodeRequest(), &node)), HasReason("BUSY"));
  grpc::ClientContext dedupe;
  v1::DedupeRangesResponse response;
  EXPECT_THAT(FromGrpc(stub_->DedupeRanges(&dedupe, NodeUnderTest::Ranges("0", 1, {"1"}), &response)),
              HasReason("BUSY"));
  grpc::ClientContext stream_context;
  auto stream = stub_->DedupeRangesStream(&stream_context);
  ASSERT_TRUE(stream->Write(v1::DedupeRangesStreamRequest()));
  v1::DedupeRangesStreamResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.error().reason(), "BUSY");
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  gate_.Open();
}

}  // namespace
}  // namespace cowherd
