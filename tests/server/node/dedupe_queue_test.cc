#include "server/node/dedupe_queue.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/server/node/node_under_test.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::Gate;
using testing::HasReason;
using testing::IsOk;
using testing::kBlock;
using testing::NodeUnderTest;

// A queue of requests for one block after the other of /data/source and /data/target, which are equal. The
// kernel takes none before the gate is open.
class DedupeQueueTest : public ::testing::Test {
 protected:
  static constexpr size_t kBlocks = 8;

  DedupeQueueTest() {
    for (const char* path : {"/data/source", "/data/target"}) fs_.AddFile(path, Blocks(1, kBlocks));
    fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) { kernel_.Pass(); });
    for (size_t i = 0; i < kBlocks; ++i) {
      v1::DedupeRangesRequest request = NodeUnderTest::Ranges("source", kBlock, {"target"});
      request.mutable_source()->set_offset(i * kBlock);
      request.mutable_destinations(0)->set_offset(i * kBlock);
      requests_.push_back(request);
    }
  }

  absl::Status Add(size_t block) {
    return queue_->Add(requests_[block], stops_[block],
                       [this, block](absl::StatusOr<v1::DedupeRangesResponse> result) {
                         std::lock_guard<std::mutex> lock(mutex_);
                         order_.push_back(block);
                         results_[block] = std::move(result);
                         changed_.notify_all();
                       });
  }

  void AwaitAnswers(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return order_.size() == count; });
  }

  v1::DedupeOutcome OutcomeOf(size_t block) { return results_[block]->results(0).outcome(); }

  Gate kernel_;
  NodeUnderTest under_test_;
  FakeFilesystem& fs_ = under_test_.fs;
  std::vector<v1::DedupeRangesRequest> requests_;
  Stop stops_[kBlocks];
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<size_t> order_;
  std::vector<absl::StatusOr<v1::DedupeRangesResponse>> results_{kBlocks, absl::UnknownError("no answer")};
  WorkPool pool_{1, 2};
  std::shared_ptr<DedupeQueue> queue_ = std::make_shared<DedupeQueue>(*under_test_.node, pool_);
};

TEST_F(DedupeQueueTest, NeighboursThatWaitTogetherShareACall) {
  ASSERT_THAT(Add(0), IsOk());
  kernel_.AwaitSomeoneWaiting();
  for (size_t i = 1; i < kBlocks; ++i) ASSERT_THAT(Add(i), IsOk());
  kernel_.Open();
  AwaitAnswers(kBlocks);
  EXPECT_EQ(order_, std::vector<size_t>({0, 1, 2, 3, 4, 5, 6, 7}));
  for (size_t i = 0; i < kBlocks; ++i) EXPECT_EQ(OutcomeOf(i), v1::DEDUPED);
  EXPECT_EQ(fs_.dedupe_calls().size(), 2U);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/target", 0, kBlocks * kBlock), kBlocks * kBlock);
}

TEST_F(DedupeQueueTest, OneThatIsStoppedWhileItWaitsStopsNoOther) {
  ASSERT_THAT(Add(0), IsOk());
  kernel_.AwaitSomeoneWaiting();
  for (size_t i = 1; i < 4; ++i) ASSERT_THAT(Add(i), IsOk());
  stops_[2].Request();
  kernel_.Open();
  AwaitAnswers(4);
  for (const size_t i : {0, 1, 3}) EXPECT_EQ(OutcomeOf(i), v1::DEDUPED);
  EXPECT_EQ(OutcomeOf(2), v1::STOPPED);
  EXPECT_EQ(results_[2]->results(0).error().reason(), "CANCELLED");
}

TEST_F(DedupeQueueTest, OneThatIsRefusedIsNoHarmToThoseBehindIt) {
  requests_[1].set_length(0);
  ASSERT_THAT(Add(0), IsOk());
  kernel_.AwaitSomeoneWaiting();
  for (size_t i = 1; i < 4; ++i) ASSERT_THAT(Add(i), IsOk());
  kernel_.Open();
  AwaitAnswers(4);
  EXPECT_EQ(order_, std::vector<size_t>({0, 1, 2, 3}));
  EXPECT_FALSE(results_[1].ok());
  for (const size_t i : {0, 2, 3}) EXPECT_EQ(OutcomeOf(i), v1::DEDUPED);
}

TEST_F(DedupeQueueTest, WhatAFullPoolDoesNotTakeIsNotTaken) {
  ASSERT_THAT(pool_.Submit([this] { kernel_.Pass(); }), IsOk());
  kernel_.AwaitSomeoneWaiting();
  for (int i = 0; i < 2; ++i) ASSERT_THAT(pool_.Submit([] {}), IsOk());
  EXPECT_THAT(Add(0), HasReason("BUSY"));
  kernel_.Open();
  while (!Add(1).ok()) {
  }
  AwaitAnswers(1);
  EXPECT_EQ(order_, std::vector<size_t>({1}));
}

TEST_F(DedupeQueueTest, TooManyThatWaitAreRefused) {
  ASSERT_THAT(Add(0), IsOk());
  kernel_.AwaitSomeoneWaiting();
  const auto nothing = [](const absl::StatusOr<v1::DedupeRangesResponse>&) {};
  size_t taken = 0;
  while (queue_->Add(requests_[1], stops_[1], nothing).ok()) ++taken;
  EXPECT_EQ(taken, 1024U);
  EXPECT_THAT(Add(1), HasReason("BUSY"));
  kernel_.Open();
  AwaitAnswers(1);
}

TEST_F(DedupeQueueTest, EachPairOfFilesHasItsOwnForAsLongAsItIsUsed) {
  QueuesOfFiles queues(*under_test_.node, pool_);
  std::shared_ptr<DedupeQueue> queue = queues.Find("/data/a", "/data/b");
  EXPECT_EQ(queue, queues.Find("/data/a", "/data/b"));
  EXPECT_NE(queue, queues.Find("/data/b", "/data/a"));
  const std::weak_ptr<DedupeQueue> gone = queue;
  queue.reset();
  EXPECT_TRUE(gone.expired());
  for (int i = 0; i < 1000; ++i) queues.Find("/data/a", std::to_string(i));
  EXPECT_NE(queues.Find("/data/a", "/data/b"), nullptr);
}

}  // namespace
}  // namespace cowherd
