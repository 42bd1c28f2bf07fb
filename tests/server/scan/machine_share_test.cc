#include "server/scan/machine_share.h"

#include <gtest/gtest.h>

#include "server/base/memory_limit.h"

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr char kMeminfo[] =
    "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4194304 kB\n";

TEST(PageCacheShareTest, AQuarterOfWhatTheMachineHas) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kNoMemoryLimit), 1024 * kMiB);
  EXPECT_EQ(PageCacheShareOf(kMeminfo, 100000 * kMiB), 1024 * kMiB);
}

TEST(PageCacheShareTest, AQuarterOfTheLimit) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, 800 * kMiB), 200 * kMiB);
}

TEST(PageCacheShareTest, NeverLessOrMoreThanTheBounds) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, kMiB), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf("", kNoMemoryLimit), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf("MemAvailable: 999999999 kB", kNoMemoryLimit), kMaxPageCache);
}

TEST(PageCacheShareTest, ThisMachineIsWithinTheBounds) {
  EXPECT_GE(PageCacheShare(), kMinPageCache);
  EXPECT_LE(PageCacheShare(), kMaxPageCache);
}

}  // namespace
}  // namespace cowherd
