#include "server/scan/top_groups.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

Duplicate Of(const std::string& source, uint64_t offset, uint64_t freeable) {
  return {source, offset, "copy", 0, 4096, freeable};
}

TEST(TopGroups, CountsCopiesOfOneSource) {
  TopGroups top;
  EXPECT_TRUE(top.Largest(10).empty());
  for (int i = 0; i < 3; ++i) top.Add(Of("a", 0, 100));
  top.Add(Of("a", 4096, 1000));
  top.Add(Of("b", 0, 50));
  const auto groups = top.Largest(10);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].source_path, "a");
  EXPECT_EQ(groups[0].source_offset, 4096u);
  EXPECT_EQ(groups[0].copies, 1u);
  EXPECT_EQ(groups[1].source_offset, 0u);
  EXPECT_EQ(groups[1].length, 4096u);
  EXPECT_EQ(groups[1].copies, 3u);
  EXPECT_EQ(groups[1].freeable, 300u);
  EXPECT_EQ(groups[2].source_path, "b");
}

TEST(TopGroups, PiecesThatFollowEachOtherAreOne) {
  TopGroups top;
  // Of two copies of a file of four pieces; the second begins at 1 MiB of its file.
  for (uint64_t at = 0; at < 16384; at += 4096) top.Add({"a", at, "b", at, 4096, 4096});
  for (uint64_t at = 0; at < 16384; at += 4096) top.Add({"a", at, "c", (1 << 20) + at, 4096, 4096});
  // Follows in one of the files only.
  top.Add({"a", 16384, "d", 0, 4096, 100});
  top.Add({"e", 0, "d", 4096, 4096, 10});
  const auto groups = top.Largest(10);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].source_offset, 0u);
  EXPECT_EQ(groups[0].length, 16384u);
  EXPECT_EQ(groups[0].copies, 2u);
  EXPECT_EQ(groups[0].freeable, 32768u);
  ASSERT_EQ(groups[0].destinations.size(), 2u);
  EXPECT_EQ(groups[0].destinations[0].path, "b");
  EXPECT_EQ(groups[0].destinations[1].path, "c");
  EXPECT_EQ(groups[0].destinations[1].offset, uint64_t{1} << 20);
  EXPECT_EQ(groups[1].freeable, 100u);
  EXPECT_EQ(groups[2].source_path, "e");
}

TEST(TopGroups, NamesTheFirstDestinations) {
  TopGroups top;
  for (int i = 0; i < 10; ++i) top.Add({"a", 0, absl::StrCat("copy", i), 0, 4096, 1});
  const auto groups = top.Largest(1);
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].copies, 10u);
  ASSERT_EQ(groups[0].destinations.size(), TopGroups::kNamed);
  EXPECT_EQ(groups[0].destinations[2].path, "copy2");
}

TEST(TopGroups, NoMoreThanAskedFor) {
  TopGroups top;
  for (uint64_t i = 0; i < 100; ++i) top.Add(Of("a", i, i));
  const auto groups = top.Largest(2);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].freeable, 99u);
  EXPECT_EQ(groups[1].freeable, 98u);
}

// Copies come in one by one among a hundred times as many groups as are counted.
TEST(TopGroups, LargeGroupsAreFoundAmongMany) {
  TopGroups top;
  constexpr uint64_t kMany = 100 * TopGroups::kCounted;
  for (uint64_t i = 0; i < kMany; ++i) {
    top.Add(Of(absl::StrCat("small", i), 0, 100));
    if (i % 100 == 0) top.Add(Of("large", 0, 1000));
    if (i % 200 == 0) top.Add(Of("next", 0, 1000));
  }
  const auto groups = top.Largest(kMany);
  ASSERT_EQ(groups.size(), TopGroups::kCounted);
  EXPECT_EQ(groups[0].source_path, "large");
  EXPECT_EQ(groups[1].source_path, "next");
  // Never more than there is.
  EXPECT_LE(groups[0].freeable, kMany / 100 * 1000);
  EXPECT_GE(groups[0].freeable, kMany / 100 * 1000 * 9 / 10);
  for (const DuplicateGroup& group : groups) {
    const bool is_small = group.source_path != "large" && group.source_path != "next";
    EXPECT_EQ(is_small, group.freeable == 100u);
  }
}

}  // namespace
}  // namespace cowherd
