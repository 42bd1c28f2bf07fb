#include "server/scan/seen_links.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

TEST(SeenLinks, ASecondNameIsTold) {
  SeenLinks links(1 << 10);
  EXPECT_FALSE(links.Meet({1, 7}));
  EXPECT_TRUE(links.Meet({1, 7}));
  EXPECT_FALSE(links.Meet({2, 7}));
  EXPECT_FALSE(links.Meet({1, 8}));
}

TEST(SeenLinks, StaysWithinItsBudget) {
  SeenLinks links(1 << 10);
  for (uint64_t inode = 0; inode < 1000; ++inode) EXPECT_FALSE(links.Meet({1, inode}));
  size_t kept = 0;
  for (uint64_t inode = 0; inode < 1000; ++inode) kept += links.Meet({1, inode}) ? 1 : 0;
  EXPECT_GE(kept, 10U);
  EXPECT_LE(kept * sizeof(FileKey), 1U << 10);
  EXPECT_TRUE(links.Meet({1, 0}));
}

}  // namespace
}  // namespace cowherd
