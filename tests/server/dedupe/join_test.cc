#include "server/dedupe/join.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;

class JoinTest : public ::testing::Test {
 protected:
  // So many neighbours, from block 3 of "a" to block 7 of "b".
  std::vector<DedupeRequest> Neighbours(size_t count, uint64_t length = kBlock) const {
    std::vector<DedupeRequest> requests;
    for (uint64_t i = 0; i < count; ++i) {
      DedupeRequest request;
      request.source = {{&root_, "a"}, 3 * kBlock + i * length};
      request.length = length;
      request.destinations = {{{&root_, "b"}, 7 * kBlock + i * length}};
      requests.push_back(request);
    }
    return requests;
  }

  // With the third of five changed.
  size_t CountWith(const std::function<void(DedupeRequest&)>& change) const {
    std::vector<DedupeRequest> requests = Neighbours(5);
    change(requests[2]);
    return CountNeighbours(requests, kBlock);
  }

  const Root root_{"data", "/data", "/data"};
  const Root other_{"more", "/more", "/more"};
};

TEST_F(JoinTest, NeighboursAreJoined) {
  EXPECT_EQ(CountNeighbours(Neighbours(1), kBlock), 1U);
  EXPECT_EQ(CountNeighbours(Neighbours(5), kBlock), 5U);
  const DedupeRequest joined = Join(Neighbours(5));
  EXPECT_EQ(joined.source.path.relative, "a");
  EXPECT_EQ(joined.source.offset, 3 * kBlock);
  EXPECT_EQ(joined.length, 5 * kBlock);
  ASSERT_EQ(joined.destinations.size(), 1U);
  EXPECT_EQ(joined.destinations[0].path.relative, "b");
  EXPECT_EQ(joined.destinations[0].offset, 7 * kBlock);
}

TEST_F(JoinTest, WhatIsNoNeighbourEndsThem) {
  EXPECT_EQ(CountWith([](DedupeRequest&) {}), 5U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.source.path.relative = "c"; }), 2U);
  EXPECT_EQ(CountWith([this](DedupeRequest& r) { r.source.path.root = &other_; }), 2U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.destinations[0].path.relative = "c"; }), 2U);
  EXPECT_EQ(CountWith([this](DedupeRequest& r) { r.destinations[0].path.root = &other_; }), 2U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.source.offset += kBlock; }), 2U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.source.offset -= kBlock; }), 2U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.destinations[0].offset += kBlock; }), 2U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.destinations.push_back(r.destinations[0]); }), 2U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.measure_shared = true; }), 2U);
  // The next one begins elsewhere, then.
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.length += kBlock; }), 3U);
  EXPECT_EQ(CountWith([](DedupeRequest& r) { r.length += 1; }), 2U);
}

TEST_F(JoinTest, TheFirstMayStandAlone) {
  std::vector<DedupeRequest> requests = Neighbours(3);
  requests[0].measure_shared = true;
  EXPECT_EQ(CountNeighbours(requests, kBlock), 1U);
  requests = Neighbours(3);
  requests[0].destinations.push_back(requests[0].destinations[0]);
  EXPECT_EQ(CountNeighbours(requests, kBlock), 1U);
}

TEST_F(JoinTest, PartsOfBlocksAreNotJoined) {
  // The kernel would refuse the second of them, but not the whole.
  EXPECT_EQ(CountNeighbours(Neighbours(4, kBlock / 2), kBlock), 1U);
  EXPECT_EQ(CountNeighbours(Neighbours(4), 4 * kBlock), 1U);
  std::vector<DedupeRequest> requests = Neighbours(4);
  for (DedupeRequest& request : requests) request.destinations[0].offset += 512;
  EXPECT_EQ(CountNeighbours(requests, kBlock), 1U);
}

TEST_F(JoinTest, RangesOfOneFileAreNotJoined) {
  std::vector<DedupeRequest> requests = Neighbours(4);
  for (DedupeRequest& request : requests) request.destinations[0].path.relative = "a";
  EXPECT_EQ(CountNeighbours(requests, kBlock), 1U);
}

TEST_F(JoinTest, NoMoreThanOneCallTakes) {
  EXPECT_EQ(CountNeighbours(Neighbours(40, 1 << 20), kBlock), 16U);
  EXPECT_EQ(CountNeighbours(Neighbours(3, 16 << 20), kBlock), 1U);
  EXPECT_EQ(CountNeighbours(Neighbours(3, 32 << 20), kBlock), 1U);
  EXPECT_EQ(CountNeighbours(Neighbours(3, uint64_t{1} << 62), kBlock), 1U);
}

TEST_F(JoinTest, NoMoreThanEachAllowsForACall) {
  std::vector<DedupeRequest> requests = Neighbours(100);
  requests[1].max_bytes_per_call = 32 * kBlock;
  EXPECT_EQ(CountNeighbours(requests, kBlock), 32U);
  EXPECT_EQ(Join(absl::MakeConstSpan(requests).first(32)).max_bytes_per_call, 32 * kBlock);
  // One that comes too late does not end what is there.
  requests[1].max_bytes_per_call = kDefaultBytesPerCall;
  requests[40].max_bytes_per_call = 32 * kBlock;
  EXPECT_EQ(CountNeighbours(requests, kBlock), 40U);
}

}  // namespace
}  // namespace cowherd
