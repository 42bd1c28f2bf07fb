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
