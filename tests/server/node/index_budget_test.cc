#include "server/node/index_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/memory_limit.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasField;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

TEST(FitIndexBudget, WithoutALimit) {
  EXPECT_EQ(*FitIndexBudget(256, false, 6, kNoMemoryLimit), 256 * kMiB);
  EXPECT_EQ(*FitIndexBudget(1 << 20, true, 1024, kNoMemoryLimit), (kMiB << 20));
}

TEST(FitIndexBudget, HalfOfTheLimitIsTheScans) {
  EXPECT_EQ(*FitIndexBudget(256, true, 4, 2048 * kMiB), 256 * kMiB);
  const auto refused = FitIndexBudget(257, true, 4, 2048 * kMiB);
  EXPECT_THAT(refused, HasField("--index_budget_mib"));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("more than half of the 2048 MiB that this process may use"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("give 256 at most"));
}

TEST(FitIndexBudget, TheDefaultIsLowered) {
  EXPECT_EQ(*FitIndexBudget(256, false, 4, 1000 * kMiB), 125 * kMiB);
  EXPECT_EQ(*FitIndexBudget(256, false, 4, 8 * kMiB), 1 * kMiB);
}

TEST(FitIndexBudget, NoRoomAtAll) {
  for (const bool given : {false, true}) {
    EXPECT_THAT(FitIndexBudget(1, given, 4, 7 * kMiB), HasField("--max_tasks"));
  }
}

}  // namespace
}  // namespace cowherd
