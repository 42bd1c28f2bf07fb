// Which addresses are to be asked when.
#include "server/sched/probes.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

using Strings = std::vector<std::string>;
const absl::Time kNow = absl::FromUnixSeconds(100);
const absl::Time kLater = kNow + absl::Seconds(10);

TEST(Probes, OneIsUnderWayAtATime) {
  Probes probes;
  EXPECT_EQ(probes.wake(), absl::InfiniteFuture());
  probes.Add("a");
  probes.Add("b");
  EXPECT_EQ(probes.Due(kNow, 10), (Strings{"a", "b"}));
  EXPECT_EQ(probes.Due(kNow, 1), (Strings{"a"}));
  probes.Sent("a", kLater);
  EXPECT_EQ(probes.wake(), absl::InfinitePast());
  probes.Add("a");
  EXPECT_EQ(probes.Due(kLater, 10), (Strings{"b"}));
  probes.Sent("b", kNow);
  EXPECT_EQ(probes.wake(), absl::InfiniteFuture());
  probes.Done("a");
  EXPECT_EQ(probes.wake(), kLater);
  EXPECT_TRUE(probes.Due(kNow, 10).empty());
  EXPECT_EQ(probes.Due(kLater, 10), (Strings{"a"}));
  // An answer that nobody waits for.
  probes.Done("a");
  EXPECT_EQ(probes.Due(kLater, 10), (Strings{"a"}));
}

TEST(Probes, Hurry) {
  Probes probes;
  probes.Add("a");
  probes.Sent("a", kLater);
  // As soon as the one under way has ended.
  probes.Hurry("a");
  EXPECT_TRUE(probes.Due(kNow, 10).empty());
  probes.Done("a");
  EXPECT_EQ(probes.Due(kNow, 10), (Strings{"a"}));
  probes.Sent("a", kLater);
  probes.Done("a");
  EXPECT_TRUE(probes.Due(kNow, 10).empty());
  probes.Hurry("a");
  probes.Hurry("a");
  EXPECT_EQ(probes.Due(kNow, 10), (Strings{"a"}));
}

TEST(Probes, RetainForgetsTheOthers) {
  Probes probes;
  for (const char* address : {"a", "b", "c"}) probes.Add(address);
  probes.Sent("b", kLater);
  EXPECT_EQ(probes.Retain(std::map<std::string, int>{{"c", 0}, {"d", 0}}), (Strings{"a", "b"}));
  EXPECT_FALSE(probes.Known("b"));
  EXPECT_TRUE(probes.Known("c"));
  EXPECT_EQ(probes.Due(kLater, 10), (Strings{"c"}));
}

}  // namespace
}  // namespace cowherd
