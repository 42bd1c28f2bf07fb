#include <cerrno>
#include <string>
#include <vector>

#include "server/fs/fake_filesystem.h"
#include "tests/server/dedupe/neighbours_suite.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::HasErrno;
using testing::HasReason;
using testing::IsOk;
using testing::kBlock;

class NeighboursTest : public ::testing::Test {
 protected:
  NeighboursTest() {
    for (const char* path : {"/data/source", "/data/target"}) fs_.AddFile(path, Blocks(1, 8));
  }

  // One block of the source and the target after the other.
  std::vector<DedupeRequest> EachBlock() {
    std::vector<DedupeRequest> requests;
    for (uint64_t offset = 0; offset < 8 * kBlock; offset += kBlock) {
      DedupeRequest request;
      request.source = {{&data_, "source"}, offset};
      request.length = kBlock;
      request.destinations = {{{&data_, "target"}, offset}};
      requests.push_back(request);
    }
    return requests;
  }

  const Root data_{"data", "/data", "/data"};
  FakeFilesystem fs_;
  OpenPlaces places_{fs_};
  Stop stop_;
};

TEST_F(NeighboursTest, AnswersAreThoseOfRequestsServedApart) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    FakeFilesystem fs;
    NeighboursSuite suite(fs, fs, data_, [&](const std::string& path, const std::string& content) {
      fs.AddFile("/data/" + path, content);
    });
    suite.Run(seed);
    EXPECT_GT(suite.joins(), 0) << seed;
  }
}

TEST_F(NeighboursTest, ShareOneCall) {
  const auto results = DedupeNeighbours(fs_, places_, EachBlock(), stop_);
  ASSERT_EQ(results.size(), 8U);
  for (const auto& result : results) {
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->targets.front().outcome, DedupeOutcome::kDeduped);
    EXPECT_EQ(result->targets.front().bytes_accepted, kBlock);
  }
  EXPECT_EQ(fs_.dedupe_calls().size(), 1U);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/target", 0, 8 * kBlock), 8 * kBlock);
}

TEST_F(NeighboursTest, AnOddOneHasItsAnswerForItself) {
  fs_.Write("/data/target", 5 * kBlock, "odd");
  const auto results = DedupeNeighbours(fs_, places_, EachBlock(), stop_);
  ASSERT_EQ(results.size(), 8U);
  for (size_t i = 0; i < 8; ++i) {
    ASSERT_THAT(results[i], IsOk());
    EXPECT_EQ(results[i]->targets.front().outcome,
              i == 5 ? DedupeOutcome::kDiffers : DedupeOutcome::kDeduped);
  }
  EXPECT_EQ(fs_.dedupe_calls().size(), 9U);
}

TEST_F(NeighboursTest, ACallServedShortGoesOn) {
  fs_.LimitProgress(2 * kBlock);
  const auto results = DedupeNeighbours(fs_, places_, EachBlock(), stop_);
  ASSERT_EQ(results.size(), 8U);
  EXPECT_EQ(results.back()->targets.front().bytes_accepted, kBlock);
  EXPECT_EQ(fs_.dedupe_calls().size(), 4U);
}

TEST_F(NeighboursTest, ARefusalIsToldToEach) {
  fs_.Fail(FakeFilesystem::Operation::kDedupeTarget, "/data/target", ETXTBSY);
  const auto results = DedupeNeighbours(fs_, places_, EachBlock(), stop_);
  ASSERT_EQ(results.size(), 8U);
  for (const auto& result : results) {
    ASSERT_THAT(result, IsOk());
    EXPECT_THAT(result->targets.front().error, HasErrno(ETXTBSY));
  }
}

TEST_F(NeighboursTest, AStopIsToldToEach) {
  stop_.Request();
  const auto results = DedupeNeighbours(fs_, places_, EachBlock(), stop_);
  ASSERT_EQ(results.size(), 8U);
  for (const auto& result : results) {
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->targets.front().outcome, DedupeOutcome::kStopped);
    EXPECT_THAT(result->targets.front().error, HasReason("CANCELLED"));
  }
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

TEST_F(NeighboursTest, AnAbsentRootIsToldToTheFirst) {
  fs_.Remove("/data");
  const auto results = DedupeNeighbours(fs_, places_, EachBlock(), stop_);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_THAT(results.front().status(), HasReason("ROOT_ABSENT"));
}

}  // namespace
}  // namespace cowherd
