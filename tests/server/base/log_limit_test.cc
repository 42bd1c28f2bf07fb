#include "server/base/log_limit.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

constexpr uint64_t kMost = LogLimit::kLinesAMinute;

TEST(LogLimit, SoManyOfEachMessageAMinute) {
  LogLimit limit;
  const absl::Time begin = absl::UnixEpoch();
  for (uint64_t i = 0; i < kMost; ++i) EXPECT_EQ(limit.Take("a", begin + absl::Seconds(i)), 0U);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limit.Take("a", begin + absl::Seconds(59)));
  EXPECT_EQ(limit.Take("b", begin + absl::Seconds(59)), 0U);
  EXPECT_EQ(limit.Take("a", begin + absl::Seconds(60)), 5U);
  EXPECT_EQ(limit.Take("a", begin + absl::Seconds(60)), 0U);
}

TEST(LogLimit, TellsOnceWhatWasLeftOut) {
  LogLimit limit;
  for (uint64_t i = 0; i < kMost + 3; ++i) limit.Take("a", absl::UnixEpoch());
  limit.Take("b", absl::UnixEpoch());
  EXPECT_EQ(limit.TakeLeftOut(), (std::map<std::string, uint64_t>{{"a", 3}}));
  EXPECT_TRUE(limit.TakeLeftOut().empty());
  EXPECT_EQ(limit.Take("a", absl::UnixEpoch() + absl::Minutes(1)), 0U);
}

TEST(LogLimit, AClockThatIsSetBackSilencesNothing) {
  LogLimit limit;
  for (uint64_t i = 0; i <= kMost; ++i) limit.Take("a", absl::UnixEpoch() + absl::Hours(1));
  EXPECT_EQ(limit.Take("a", absl::UnixEpoch()), 1U);
}

}  // namespace
}  // namespace cowherd
