#include "server/scan/share.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "server/fs/extent_ops.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kMiB = 1 << 20;

Share Make(uint64_t source, uint64_t destination, uint64_t length, uint64_t storage) {
  return {{{5, source}, 0}, {{5, destination}, 0}, length, storage, source * kMiB};
}

uint64_t Bytes(const std::vector<ShareGroup>& groups) {
  uint64_t bytes = 0;
  for (const ShareGroup& group : groups) {
    for (const Share& share : group.places) bytes += share.length;
  }
  return bytes;
}

TEST(ShareTest, RestIsWhatIsBehind) {
  const Share rest = Make(1, 2, 3 * kBlock, 100 * kBlock).Rest(kBlock);
  EXPECT_EQ(rest.source.offset, kBlock);
  EXPECT_EQ(rest.destination.offset, kBlock);
  EXPECT_EQ(rest.length, 2 * kBlock);
  EXPECT_EQ(rest.storage, 101 * kBlock);
  EXPECT_EQ(rest.source_storage, kMiB + kBlock);
}

TEST(ShareTest, AnErrnoTellsWhetherItIsWorthTryingAgain) {
  using Cause = FailedShare::Cause;
  for (const int error : {ENOSPC, EDQUOT, EAGAIN, ENOMEM, EMFILE, ENFILE, EIO, EROFS, EINTR}) {
    EXPECT_EQ(CauseOf(error), Cause::kPassing) << error;
  }
  for (const int error : {ENOENT, ESTALE}) EXPECT_EQ(CauseOf(error), Cause::kChanged) << error;
  for (const int error : {EPERM, EACCES, EINVAL}) EXPECT_EQ(CauseOf(error), Cause::kDestination) << error;
  // 0: the kernel made no progress.
  for (const int error : {ETXTBSY, EOPNOTSUPP, EXDEV, 0}) EXPECT_EQ(CauseOf(error), Cause::kUnfit) << error;
}

TEST(ShareTest, WhatSharesWithAPlaceThatIsGivenUpComesLater) {
  // 3 shares with 2, which shares with 1; 5 shares with 4, which stays.
  const auto parts = OrderShares({Make(1, 2, kMiB, 0), Make(2, 3, kMiB, 0), Make(4, 5, kMiB, 0),
                                  Make(3, 6, kMiB, 0), Make(1, 7, kMiB, 0)});
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].size(), 3u);
  ASSERT_EQ(parts[1].size(), 1u);
  EXPECT_EQ(parts[1][0].destination.file.inode, 3u);
  ASSERT_EQ(parts[2].size(), 1u);
  EXPECT_EQ(parts[2][0].destination.file.inode, 6u);
  EXPECT_TRUE(OrderShares({}).empty());
}

TEST(ShareTest, PartsOfAPlaceCountToo) {
  Share of_the_end = Make(2, 3, 2 * kBlock, 0);
  of_the_end.source.offset = kMiB - kBlock;
  Share behind_it = Make(2, 4, kBlock, 0);
  behind_it.source.offset = kMiB;
  const auto parts = OrderShares({Make(1, 2, kMiB, 0), of_the_end, behind_it});
  ASSERT_EQ(parts.size(), 2u);
  ASSERT_EQ(parts[1].size(), 1u);
  EXPECT_EQ(parts[1][0].destination.file.inode, 3u);
}

TEST(ShareTest, NothingMakesNoGroups) { EXPECT_TRUE(GroupShares({}).empty()); }

TEST(ShareTest, PlacesOfOneSourceAreOneCall) {
  const std::vector<ShareGroup> groups =
      GroupShares({Make(1, 2, kBlock, 10), Make(9, 3, kBlock, 20), Make(1, 4, kBlock, 30)});
  ASSERT_EQ(groups.size(), 2u);
  ASSERT_EQ(groups[0].places.size(), 2u);
  EXPECT_EQ(groups[0].places[0].destination.file.inode, 2u);
  EXPECT_EQ(groups[0].places[1].destination.file.inode, 4u);
  EXPECT_EQ(groups[1].places[0].destination.file.inode, 3u);
  EXPECT_EQ(BytesOf(groups[0]), 3 * kBlock);
}

TEST(ShareTest, OtherLengthsAreOtherGroups) {
  EXPECT_EQ(GroupShares({Make(1, 2, kBlock, 10), Make(1, 3, 2 * kBlock, 20)}).size(), 2u);
}

TEST(ShareTest, InTheOrderOfSources) {
  const std::vector<ShareGroup> groups =
      GroupShares({Make(3, 2, kBlock, 30), Make(1, 3, kBlock, 10), Make(2, 4, kBlock, 20)});
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].places[0].source.file.inode, 1u);
  EXPECT_EQ(groups[1].places[0].source.file.inode, 2u);
  EXPECT_EQ(groups[2].places[0].source.file.inode, 3u);
}

TEST(ShareTest, NoMorePlacesThanTheKernelTakes) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < kMaxDedupeTargets + 1; ++i) shares.push_back(Make(1, 2 + i, kBlock, i * kBlock));
  const std::vector<ShareGroup> groups = GroupShares(shares);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].places.size(), kMaxDedupeTargets);
  EXPECT_EQ(groups[1].places.size(), 1u);
}

TEST(ShareTest, LongRangesAreCut) {
  const std::vector<ShareGroup> groups = GroupShares({Make(1, 2, 40 * kMiB, 0)});
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[1].places[0].source.offset, 16 * kMiB);
  EXPECT_EQ(groups[1].places[0].destination.offset, 16 * kMiB);
  EXPECT_EQ(groups[2].places[0].length, 8 * kMiB);
  EXPECT_EQ(Bytes(groups), 40 * kMiB);
}

TEST(ShareTest, InTheOrderOfTheSourcesStorage) {
  Share high = Make(1, 2, kBlock, 0);
  Share low = Make(2, 3, kBlock, 0);
  high.source_storage = 9 * kMiB;
  low.source_storage = 4 * kMiB;
  const std::vector<ShareGroup> groups = GroupShares({high, low});
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].places[0].source.file.inode, 2u);
}

TEST(ShareTest, WorkIsWhatIsRead) {
  EXPECT_EQ(WorkOf(std::vector<ShareGroup>{}), 0u);
  // A source that two calls of the kernel share is read once.
  std::vector<Share> shares;
  for (uint64_t i = 0; i < kMaxDedupeTargets + 1; ++i) shares.push_back(Make(1, 100 + i, kBlock, i * kMiB));
  const std::vector<ShareGroup> groups = GroupShares(shares);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(WorkOf(groups), (kMaxDedupeTargets + 2) * kBlock);
  // In different parts it is read for each.
  EXPECT_EQ(WorkOf(SplitGroups(groups, 1, 1)), (kMaxDedupeTargets + 3) * kBlock);
  // What is moved is read to be copied, then at each place.
  const ShareGroup move = {{Make(0, 1, kBlock, 0), Make(0, 2, kBlock, 0)}, /*move=*/true};
  EXPECT_EQ(WorkOf(std::vector<ShareGroup>{move}), 3 * kBlock);
}

TEST(ShareTest, PartsAreBounded) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < 20; ++i) shares.push_back(Make(i, 100 + i, kMiB, i * kMiB));
  const auto by_bytes = SplitGroups(GroupShares(shares), 8 * kMiB, 1000);
  ASSERT_EQ(by_bytes.size(), 5u);
  for (const auto& part : by_bytes) EXPECT_EQ(part.size(), 4u);
  const auto by_ranges = SplitGroups(GroupShares(shares), UINT64_MAX, 10);
  ASSERT_EQ(by_ranges.size(), 4u);
  for (const auto& part : by_ranges) EXPECT_EQ(part.size(), 5u);
  EXPECT_EQ(SplitGroups(GroupShares(shares), UINT64_MAX, 1000).size(), 1u);
  EXPECT_TRUE(SplitGroups({}, 1, 1).empty());
}

TEST(ShareTest, AGroupThatIsMoreThanAPartIsOneAlone) {
  const auto parts = SplitGroups(GroupShares({Make(1, 2, kMiB, 0), Make(3, 4, kMiB, 9 * kMiB)}), kBlock, 1);
  EXPECT_EQ(parts.size(), 2u);
}

TEST(ShareTest, ASourceIsKeptOnce) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < 8; ++i) shares.push_back(Make(1, 2 + i, 8 * kMiB, i * 8 * kMiB));
  // One source of 8 MiB and eight places, in groups of three.
  EXPECT_EQ(SplitGroups(GroupShares(shares), 72 * kMiB, 1000).size(), 1u);
  EXPECT_EQ(SplitGroups(GroupShares(shares), 71 * kMiB, 1000).size(), 2u);
  // A part that begins anew with it reads it again.
  for (const auto& part : SplitGroups(GroupShares(shares), 40 * kMiB, 1000)) EXPECT_LE(WorkOf(part), 40 * kMiB);
}

TEST(ShareTest, WhatIsMovedIsReadOnce) {
  const ShareGroup group = {{Make(0, 2, kMiB, 7), Make(0, 3, kMiB, 7)}, /*move=*/true};
  EXPECT_EQ(BytesOf(group), kMiB);
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
