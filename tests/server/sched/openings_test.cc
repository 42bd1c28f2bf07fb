// What opens and closes by windows, and when it is looked at.
#include "server/sched/openings.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace cowherd {
namespace {

using Names = std::vector<std::string>;

absl::Time At(int minute) { return absl::FromUnixSeconds(1'748'822'400) + absl::Minutes(minute); }

// Open from this minute of each hour on.
std::vector<Window> From(const std::string& minute, int minutes) {
  return {MakeWindow(minute + " * * * *", "", absl::Minutes(minutes)).value()};
}

TEST(Openings, WithoutWindowsAllIsOpen) {
  Openings<std::string> openings;
  EXPECT_TRUE(openings.IsOpen("a"));
  EXPECT_EQ(openings.wake(), absl::InfiniteFuture());
  openings.Set("a", {}, At(0));
  EXPECT_TRUE(openings.IsOpen("a"));
  EXPECT_EQ(openings.Update(At(100)), Names{});
}

TEST(Openings, TellsWhatChanged) {
  Openings<std::string> openings;
  openings.Set("a", From("10", 20), At(0));
  openings.Set("b", From("0", 20), At(0));
  EXPECT_FALSE(openings.IsOpen("a"));
  EXPECT_TRUE(openings.IsOpen("b"));
  EXPECT_EQ(openings.wake(), At(10));
  EXPECT_EQ(openings.Update(At(9)), Names{});
  EXPECT_EQ(openings.Update(At(10)), Names{"a"});
  EXPECT_TRUE(openings.IsOpen("a"));
  EXPECT_EQ(openings.StateOf("a").until, At(30));
  EXPECT_EQ(openings.Update(At(10)), Names{});
  EXPECT_EQ(openings.Update(At(35)), (Names{"b", "a"}));
  // Nothing that changed and changed back.
  EXPECT_EQ(openings.Update(At(35 + 60)), Names{});
  EXPECT_EQ(openings.wake(), At(120));
}

TEST(Openings, NewWindowsAndNone) {
  Openings<std::string> openings;
  openings.Set("a", From("10", 20), At(0));
  openings.Set("a", From("0", 20), At(5));
  EXPECT_TRUE(openings.IsOpen("a"));
  EXPECT_EQ(openings.wake(), At(20));
  openings.Remove("a");
  openings.Remove("a");
  EXPECT_EQ(openings.wake(), absl::InfiniteFuture());
  EXPECT_EQ(openings.Update(At(30)), Names{});
  EXPECT_TRUE(openings.IsOpen("a"));
}

TEST(Openings, FollowAClockThatGoesBack) {
  Openings<std::string> openings;
  openings.Set("a", From("10", 20), At(0));
  EXPECT_EQ(openings.Update(At(15)), Names{"a"});
  EXPECT_EQ(openings.Update(At(5)), Names{"a"});
  EXPECT_FALSE(openings.IsOpen("a"));
  EXPECT_EQ(openings.wake(), At(10));
}

}  // namespace
}  // namespace cowherd
