// Maintenance windows: when they are open, and until when.
#include "server/sched/window.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/base/status.h"

namespace cowherd {
namespace {

absl::Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << text << ": " << error;
  return time;
}

Window Make(const std::string& cron, const std::string& zone, absl::Duration duration) {
  const absl::StatusOr<Window> window = MakeWindow(cron, zone, duration);
  EXPECT_TRUE(window.ok()) << cron << ": " << window.status();
  return *window;
}

struct Row {
  std::string what;
  std::vector<Window> windows;
  std::string now;
  bool open;
  std::string until;
};

TEST(Window, OpensAndCloses) {
  const Window night = Make("0 22 * * *", "UTC", absl::Hours(6));
  const Window noon = Make("0 12 * * *", "UTC", absl::Hours(1));
  const Window late = Make("0 3 * * *", "UTC", absl::Hours(3));
  const Window weekend = Make("0 0 * * sat", "UTC", absl::Hours(48));
  const Window quarter = Make("*/15 * * * *", "UTC", absl::Minutes(40));
  const Window leap = Make("0 0 29 2 *", "UTC", absl::Hours(24));
  Window gone = noon;
  gone.unknown_zone = "Europe/Atlantis";
  const Row rows[] = {
      {"one whose zone is not known", {gone}, "2025-06-02T12:30:00Z", false, "infinite-future"},
      {"the other opens", {gone, night}, "2025-06-02T12:30:00Z", false, "2025-06-02T22:00:00Z"},
      {"the other is open", {night, gone}, "2025-06-02T22:30:00Z", true, "2025-06-03T04:00:00Z"},
      {"before", {night}, "2025-06-01T21:59:59.999Z", false, "2025-06-01T22:00:00Z"},
      {"the first moment", {night}, "2025-06-01T22:00:00Z", true, "2025-06-02T04:00:00Z"},
      {"over midnight", {night}, "2025-06-02T00:30:00Z", true, "2025-06-02T04:00:00Z"},
      {"the last moment", {night}, "2025-06-02T03:59:59.999Z", true, "2025-06-02T04:00:00Z"},
      {"the end", {night}, "2025-06-02T04:00:00Z", false, "2025-06-02T22:00:00Z"},
      {"two: the next of both", {night, noon}, "2025-06-02T04:00:00Z", false, "2025-06-02T12:00:00Z"},
      {"two: the other", {night, noon}, "2025-06-02T12:59:00Z", true, "2025-06-02T13:00:00Z"},
      {"overlapping ones are one", {night, late}, "2025-06-01T23:00:00Z", true, "2025-06-02T06:00:00Z"},
      {"in any order", {late, night}, "2025-06-01T23:00:00Z", true, "2025-06-02T06:00:00Z"},
      {"one within another", {weekend, noon}, "2025-06-07T12:30:00Z", true, "2025-06-09T00:00:00Z"},
      {"one that touches",
       {weekend, Make("0 0 * * mon", "UTC", absl::Hours(2))},
       "2025-06-07T12:30:00Z",
       true,
       "2025-06-09T02:00:00Z"},
      {"from 29 Feb", {leap}, "2024-02-29T12:00:00Z", true, "2024-03-01T00:00:00Z"},
      {"to 29 Feb", {leap}, "2024-03-01T00:00:00Z", false, "2028-02-29T00:00:00Z"},
      {"zones differ",
       {Make("0 22 * * *", "Asia/Tokyo", absl::Hours(1)), night},
       "2025-06-02T12:00:00Z",
       false,
       "2025-06-02T13:00:00Z"},
  };
  for (const Row& row : rows) {
    const WindowState state = StateAt(row.windows, At(row.now));
    EXPECT_EQ(state.open, row.open) << row.what;
    EXPECT_EQ(state.until, At(row.until)) << row.what;
  }
  // They never close: the end is a time to ask again.
  const absl::Time now = At("2025-06-02T12:01:00Z");
  const WindowState always = StateAt({quarter}, now);
  EXPECT_TRUE(always.open);
  EXPECT_GE(always.until, now + absl::Hours(8 * 24));
  EXPECT_TRUE(StateAt({quarter}, always.until).open);
}

TEST(Window, NoneAtAllIsOpenForEver) {
  const WindowState state = StateAt({}, At("2025-06-02T12:00:00Z"));
  EXPECT_TRUE(state.open);
  EXPECT_EQ(state.until, absl::InfiniteFuture());
}

TEST(Window, LastsAsLongAlsoWhereClocksAreTurned) {
  const std::vector<Window> night = {Make("0 22 * * *", "Europe/Berlin", absl::Hours(6))};
  // Six hours after 22:00: 05:00 in spring and 03:00 in autumn, else 04:00.
  EXPECT_EQ(StateAt(night, At("2025-03-29T23:00:00+01:00")).until, At("2025-03-30T05:00:00+02:00"));
  EXPECT_EQ(StateAt(night, At("2025-10-25T23:00:00+02:00")).until, At("2025-10-26T03:00:00+01:00"));
  EXPECT_EQ(StateAt(night, At("2025-06-01T23:00:00+02:00")).until, At("2025-06-02T04:00:00+02:00"));
  // One that opens in the hour that is left out opens at the turn; in the hour that comes twice, once.
  const std::vector<Window> early = {Make("30 2 * * *", "Europe/Berlin", absl::Minutes(45))};
  EXPECT_EQ(StateAt(early, At("2025-03-30T01:59:00+01:00")).until, At("2025-03-30T03:00:00+02:00"));
  EXPECT_EQ(StateAt(early, At("2025-03-30T03:10:00+02:00")).until, At("2025-03-30T03:45:00+02:00"));
  EXPECT_EQ(StateAt(early, At("2025-10-26T02:40:00+02:00")).until, At("2025-10-26T02:15:00+01:00"));
  const WindowState second = StateAt(early, At("2025-10-26T02:30:00+01:00"));
  EXPECT_FALSE(second.open);
  EXPECT_EQ(second.until, At("2025-10-27T02:30:00+01:00"));
}

TEST(Window, AgreesWithLookingAtEveryMinute) {
  const std::vector<Window> windows = {Make("0 22 * * 1-5", "Europe/Berlin", absl::Hours(6)),
                                       Make("30 3 * * *", "Europe/Berlin", absl::Minutes(90)),
                                       Make("15 */6 * * sun", "America/New_York", absl::Minutes(200))};
  const absl::Time begin = At("2025-10-20T00:00:00Z");
  std::vector<bool> open;
  const int minutes = 21 * 24 * 60;
  for (int i = 0; i < minutes; ++i) {
    const absl::Time time = begin + absl::Minutes(i);
    bool any = false;
    for (const Window& window : windows) {
      any = any || window.opens.Next(time - window.duration, window.zone) <= time;
    }
    open.push_back(any);
  }
  for (int i = 0; i < minutes - 8 * 24 * 60; ++i) {
    const WindowState state = StateAt(windows, begin + absl::Minutes(i));
    ASSERT_EQ(state.open, open[i]) << begin + absl::Minutes(i);
    int end = i;
    while (open[end] == open[i]) ++end;
    ASSERT_EQ(state.until, begin + absl::Minutes(end)) << begin + absl::Minutes(i);
  }
}

TEST(Window, IsQuickAlsoForAMinuteEveryMinute) {
  const std::vector<Window> windows = {Make("* * * * *", "Europe/Berlin", absl::Minutes(1))};
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(StateAt(windows, At("2025-06-02T12:00:00Z")).open);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(Window, ErrorsNameTheField) {
  EXPECT_EQ(FieldOf(MakeWindow("x", "UTC", absl::Hours(1)).status()), "cron");
  EXPECT_EQ(FieldOf(MakeWindow("@daily", "Mars", absl::Hours(1)).status()), "time_zone");
  for (const absl::Duration duration : {absl::ZeroDuration(), absl::Seconds(59), absl::Hours(-1),
                                        absl::Hours(168) + absl::Nanoseconds(1), absl::InfiniteDuration()}) {
    EXPECT_EQ(FieldOf(MakeWindow("@daily", "UTC", duration).status()), "duration") << duration;
  }
  EXPECT_TRUE(MakeWindow("@daily", "", absl::Minutes(1)).ok());
  EXPECT_TRUE(MakeWindow("@weekly", "", absl::Hours(168)).ok());
}

}  // namespace
}  // namespace cowherd
