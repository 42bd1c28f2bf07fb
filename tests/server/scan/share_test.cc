#include "server/scan/share.h"

#include <gtest/gtest.h>

#include <vector>

#include "server/fs/extent_ops.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kMiB = 1 << 20;

Share Make(uint64_t source, uint64_t destination, uint64_t length, uint64_t storage) {
  return {{{5, source}, 0}, {{5, destination}, 0}, length, storage};
}

uint64_t Bytes(const std::vector<ShareGroup>& groups) {
  uint64_t bytes = 0;
  for (const ShareGroup& group : groups) {
    for (const Share& share : group) bytes += share.length;
  }
  return bytes;
}

TEST(ShareTest, RestIsWhatIsBehind) {
  const Share rest = Make(1, 2, 3 * kBlock, 100 * kBlock).Rest(kBlock);
  EXPECT_EQ(rest.source.offset, kBlock);
  EXPECT_EQ(rest.destination.offset, kBlock);
  EXPECT_EQ(rest.length, 2 * kBlock);
  EXPECT_EQ(rest.storage, 101 * kBlock);
}

TEST(ShareTest, NothingMakesNoGroups) { EXPECT_TRUE(GroupShares({}).empty()); }

TEST(ShareTest, PlacesOfOneSourceAreOneCall) {
  const std::vector<ShareGroup> groups =
      GroupShares({Make(1, 2, kBlock, 10), Make(9, 3, kBlock, 20), Make(1, 4, kBlock, 30)});
  ASSERT_EQ(groups.size(), 2u);
  ASSERT_EQ(groups[0].size(), 2u);
  EXPECT_EQ(groups[0][0].destination.file.inode, 2u);
  EXPECT_EQ(groups[0][1].destination.file.inode, 4u);
  EXPECT_EQ(groups[1][0].destination.file.inode, 3u);
  EXPECT_EQ(BytesOf(groups[0]), 3 * kBlock);
}

TEST(ShareTest, OtherLengthsAreOtherGroups) {
  EXPECT_EQ(GroupShares({Make(1, 2, kBlock, 10), Make(1, 3, 2 * kBlock, 20)}).size(), 2u);
}

TEST(ShareTest, InTheOrderOfSources) {
  const std::vector<ShareGroup> groups =
      GroupShares({Make(3, 2, kBlock, 30), Make(1, 3, kBlock, 10), Make(2, 4, kBlock, 20)});
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0][0].source.file.inode, 1u);
  EXPECT_EQ(groups[1][0].source.file.inode, 2u);
  EXPECT_EQ(groups[2][0].source.file.inode, 3u);
}

TEST(ShareTest, NoMorePlacesThanTheKernelTakes) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < kMaxDedupeTargets + 1; ++i) shares.push_back(Make(1, 2 + i, kBlock, i * kBlock));
  const std::vector<ShareGroup> groups = GroupShares(shares);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].size(), kMaxDedupeTargets);
  EXPECT_EQ(groups[1].size(), 1u);
}

TEST(ShareTest, LongRangesAreCut) {
  const std::vector<ShareGroup> groups = GroupShares({Make(1, 2, 40 * kMiB, 0)});
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[1][0].source.offset, 16 * kMiB);
  EXPECT_EQ(groups[1][0].destination.offset, 16 * kMiB);
  EXPECT_EQ(groups[2][0].length, 8 * kMiB);
  EXPECT_EQ(Bytes(groups), 40 * kMiB);
}

TEST(ShareTest, GroupsAreBoundedInBytes) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < 20; ++i) shares.push_back(Make(1, 2 + i, 8 * kMiB, i * 8 * kMiB));
  const std::vector<ShareGroup> groups = GroupShares(shares);
  for (const ShareGroup& group : groups) EXPECT_LE(BytesOf(group), kMaxGroupBytes);
  EXPECT_EQ(Bytes(groups), 160 * kMiB);
}

}  // namespace
}  // namespace cowherd
