#include "server/scan/page_cache_share.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr char kMeminfo[] =
    "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4194304 kB\n";

TEST(PageCacheShareTest, AQuarterOfWhatTheMachineHas) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, "", "", ""), 1024 * kMiB);
  EXPECT_EQ(PageCacheShareOf(kMeminfo, "max\n", "1000\n", "file 0\n"), 1024 * kMiB);
}

TEST(PageCacheShareTest, AQuarterOfWhatTheGroupHasLeft) {
  // 1 GiB, of which 600 MiB are used, 400 MiB of that for cached files.
  EXPECT_EQ(PageCacheShareOf(kMeminfo, "1073741824\n", "629145600\n", "anon 5\nfile 419430400\nkernel 7\n"),
            206 * kMiB);
}

TEST(PageCacheShareTest, NeverLessOrMoreThanTheBounds) {
  EXPECT_EQ(PageCacheShareOf(kMeminfo, "1048576\n", "2097152\n", "file 0\n"), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf("", "", "", ""), kMinPageCache);
  EXPECT_EQ(PageCacheShareOf("MemAvailable: 999999999 kB", "max", "", ""), kMaxPageCache);
}

TEST(PageCacheShareTest, ThisMachineIsWithinTheBounds) {
  EXPECT_GE(PageCacheShare(), kMinPageCache);
  EXPECT_LE(PageCacheShare(), kMaxPageCache);
}

}  // namespace
}  // namespace cowherd
