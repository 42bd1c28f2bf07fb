#include "server/scan/machine_share.h"

#include <gtest/gtest.h>

#include "server/base/memory_limit.h"

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr char kMeminfo[] =
    "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4194304 kB\n";

TEST(PageCacheShareTest, AQuarterOfWhatTheMachineHas) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kNoMemoryLimit, 1), 1024 * kMiB);
  EXPECT_EQ(PageCacheShareOf(kMeminfo, 100000 * kMiB, 1), 1024 * kMiB);
}

TEST(PageCacheShareTest, AQuarterOfTheLimit) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, 800 * kMiB, 1), 200 * kMiB);
}

TEST(PageCacheShareTest, ScansAtOnceTakeHalfTogether) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kNoMemoryLimit, 2), 1024 * kMiB);
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kNoMemoryLimit, 8), 256 * kMiB);
  EXPECT_EQ(PageCacheShareOf(kMeminfo, 1200 * kMiB, 4), 150 * kMiB);
}

TEST(PageCacheShareTest, NeverLessOrMoreThanTheBounds) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kMiB, 1), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kNoMemoryLimit, 1024), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf("", kNoMemoryLimit, 1), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf("MemAvailable: 999999999 kB", kNoMemoryLimit, 6), kMaxPageCache);
}

TEST(PageCacheShareTest, ThisMachineIsWithinTheBounds) {
  EXPECT_GE(PageCacheShare(1), kMinPageCache);
  EXPECT_LE(PageCacheShare(1), kMaxPageCache);
}

TEST(OpenFileShareTest, ScansAtOnceTakeHalfTogether) {
  EXPECT_EQ(OpenFileShareOf(4096, 1), 1024u);
  EXPECT_EQ(OpenFileShareOf(4096, 2), 1024u);
  EXPECT_EQ(OpenFileShareOf(4096, 8), 256u);
}

TEST(OpenFileShareTest, NeverLessOrMoreThanTheBounds) {
  EXPECT_EQ(OpenFileShareOf(256, 1), 128u);
  EXPECT_EQ(OpenFileShareOf(4096, 1024), 128u);
  EXPECT_EQ(OpenFileShareOf(UINT64_MAX, 6), 8192u);
}

}  // namespace
}  // namespace cowherd
