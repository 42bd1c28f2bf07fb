// Cron times: the fields, the calendar, and the nights on which clocks are turned.
#include "server/sched/cron.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/base/time_zone.h"

namespace cowherd {
namespace {

absl::TimeZone Zone(const std::string& name) { return FindTimeZone(name).value(); }

absl::Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << text << ": " << error;
  return time;
}

Cron Parse(const std::string& text) {
  const absl::StatusOr<Cron> cron = Cron::Parse(text);
  EXPECT_TRUE(cron.ok()) << text << ": " << cron.status();
  return *cron;
}

// The next times, each "2024-02-29T00:00:00+01:00".
std::vector<std::string> Times(const std::string& text, const std::string& zone, const std::string& after,
                               size_t count) {
  const Cron cron = Parse(text);
  std::vector<std::string> times;
  absl::Time time = At(after);
  while (times.size() < count) {
    time = cron.Next(time, Zone(zone));
    times.push_back(absl::FormatTime("%Y-%m-%dT%H:%M:%S%Ez", time, Zone(zone)));
  }
  return times;
}
using Strings = std::vector<std::string>;

struct Row {
  std::string cron;
  std::string after;
  Strings next;
};

// All in UTC.
TEST(Cron, FieldsMeanWhatCrontabSays) {
  const Row rows[] = {
      {"* * * * *", "2025-01-01T00:00:00Z", {"2025-01-01T00:01:00", "2025-01-01T00:02:00"}},
      {"* * * * *", "2025-01-01T00:00:59.999Z", {"2025-01-01T00:01:00"}},
      {"59 23 31 12 *", "2025-12-31T23:58:59Z", {"2025-12-31T23:59:00", "2026-12-31T23:59:00"}},
      {"5,35 9-10 * * *",
       "2025-03-01T09:05:00Z",
       {"2025-03-01T09:35:00", "2025-03-01T10:05:00", "2025-03-01T10:35:00", "2025-03-02T09:05:00"}},
      {"*/25 * * * *",
       "2025-03-01T09:00:00Z",
       {"2025-03-01T09:25:00", "2025-03-01T09:50:00", "2025-03-01T10:00:00"}},
      {"10-50/20 0 * * *",
       "2025-03-01T00:00:00Z",
       {"2025-03-01T00:10:00", "2025-03-01T00:30:00", "2025-03-01T00:50:00", "2025-03-02T00:10:00"}},
      {"0 0 * FEB,aug *",
       "2025-02-27T12:00:00Z",
       {"2025-02-28T00:00:00", "2025-08-01T00:00:00", "2025-08-02T00:00:00"}},
      // 2025-06-01 is a Sunday.
      {"0 3 * * 0", "2025-06-01T03:00:00Z", {"2025-06-08T03:00:00"}},
      {"0 3 * * 7", "2025-06-01T02:00:00Z", {"2025-06-01T03:00:00", "2025-06-08T03:00:00"}},
      {"0 3 * * Sun", "2025-06-01T02:00:00Z", {"2025-06-01T03:00:00"}},
      {"0 3 * * mon-fri",
       "2025-06-05T03:00:00Z",
       {"2025-06-06T03:00:00", "2025-06-09T03:00:00", "2025-06-10T03:00:00"}},
      {"0 3 * * fri-sun",
       "2025-06-05T03:00:00Z",
       {"2025-06-06T03:00:00", "2025-06-07T03:00:00", "2025-06-08T03:00:00", "2025-06-13T03:00:00"}},
      {"0 3 * * 5-7/2", "2025-06-05T03:00:00Z", {"2025-06-06T03:00:00", "2025-06-08T03:00:00"}},
      // Either of the days; but both where one starts with a star.
      {"0 0 13 * 5",
       "2025-06-01T00:00:00Z",
       {"2025-06-06T00:00:00", "2025-06-13T00:00:00", "2025-06-20T00:00:00"}},
      {"0 0 14 * 5", "2025-06-06T00:00:00Z", {"2025-06-13T00:00:00", "2025-06-14T00:00:00"}},
      {"0 0 */2 * 5", "2025-06-01T00:00:00Z", {"2025-06-13T00:00:00", "2025-06-27T00:00:00"}},
      {"0 0 8-14 * */7", "2025-06-01T00:00:00Z", {"2025-06-08T00:00:00", "2025-07-13T00:00:00"}},
      {"0 0 31 2 1", "2025-02-01T00:00:00Z", {"2025-02-03T00:00:00", "2025-02-10T00:00:00"}},
      {"0 0 31 * *", "2025-03-31T00:00:00Z", {"2025-05-31T00:00:00", "2025-07-31T00:00:00"}},
      {" 0\t12  * * * ", "2025-03-01T12:00:00Z", {"2025-03-02T12:00:00"}},
      {"@hourly", "2025-03-01T12:00:00Z", {"2025-03-01T13:00:00"}},
      {"@daily", "2025-03-01T00:00:00Z", {"2025-03-02T00:00:00"}},
      {"@midnight", "2025-03-01T00:00:00Z", {"2025-03-02T00:00:00"}},
      {"@weekly", "2025-06-01T00:00:00Z", {"2025-06-08T00:00:00"}},
      {"@monthly", "2025-03-01T00:00:00Z", {"2025-04-01T00:00:00"}},
      {"@yearly", "2025-03-01T00:00:00Z", {"2026-01-01T00:00:00"}},
      {"@annually", "2025-03-01T00:00:00Z", {"2026-01-01T00:00:00"}},
  };
  for (const Row& row : rows) {
    Strings next;
    for (const std::string& time : row.next) next.push_back(time + "+00:00");
    EXPECT_EQ(Times(row.cron, "", row.after, next.size()), next) << row.cron << " after " << row.after;
  }
}

TEST(Cron, LeapDays) {
  EXPECT_EQ(Times("0 4 29 2 *", "", "2023-03-01T00:00:00Z", 3),
            (Strings{"2024-02-29T04:00:00+00:00", "2028-02-29T04:00:00+00:00", "2032-02-29T04:00:00+00:00"}));
  // 2100 is none, and neither is 1900; 2000 is one.
  EXPECT_EQ(Times("0 4 29 2 *", "", "2096-02-29T04:00:00Z", 1), Strings{"2104-02-29T04:00:00+00:00"});
  EXPECT_EQ(Times("0 4 29 2 *", "", "1996-02-29T04:00:00Z", 1), Strings{"2000-02-29T04:00:00+00:00"});
  // Sundays only: every 28 years, and 40 over 2100.
  EXPECT_EQ(Times("0 4 29 2 */7", "", "2024-03-01T00:00:00Z", 3),
            (Strings{"2032-02-29T04:00:00+00:00", "2060-02-29T04:00:00+00:00", "2088-02-29T04:00:00+00:00"}));
  EXPECT_EQ(Times("0 4 29 2 */7", "", "2088-02-29T04:00:00Z", 1), Strings{"2128-02-29T04:00:00+00:00"});
}

struct Night {
  std::string cron;
  std::string zone;
  std::string after;
  Strings next;
};

TEST(Cron, ATimeThatIsLeftOutCountsAtTheTurn) {
  const Night nights[] = {
      // Berlin, 2025-03-30: 02:00 becomes 03:00.
      {"30 2 * * *",
       "Europe/Berlin",
       "2025-03-29T00:00:00Z",
       {"2025-03-29T02:30:00+01:00", "2025-03-30T03:00:00+02:00", "2025-03-31T02:30:00+02:00"}},
      // Once, also where more than one is left out and one stands at the turn.
      {"*/20 * * * *",
       "Europe/Berlin",
       "2025-03-30T01:30:00+01:00",
       {"2025-03-30T01:40:00+01:00", "2025-03-30T03:00:00+02:00", "2025-03-30T03:20:00+02:00"}},
      {"15,45 2 * * *",
       "Europe/Berlin",
       "2025-03-30T00:00:00Z",
       {"2025-03-30T03:00:00+02:00", "2025-03-31T02:15:00+02:00"}},
      {"0 2,3 * * *",
       "Europe/Berlin",
       "2025-03-30T00:00:00Z",
       {"2025-03-30T03:00:00+02:00", "2025-03-31T02:00:00+02:00"}},
      // New York, 2025-03-09.
      {"30 2 9 3 *", "America/New_York", "2025-03-01T00:00:00Z", {"2025-03-09T03:00:00-04:00"}},
      // Lord Howe turns by half an hour: 02:00 becomes 02:30.
      {"15 2 * * *",
       "Australia/Lord_Howe",
       "2025-10-04T15:00:00Z",
       {"2025-10-05T02:30:00+11:00", "2025-10-06T02:15:00+11:00"}},
      // Beirut turns at midnight.
      {"0 0 * * *",
       "Asia/Beirut",
       "2025-03-29T12:00:00Z",
       {"2025-03-30T01:00:00+03:00", "2025-03-31T00:00:00+03:00"}},
      // Samoa had no 30 December 2011.
      {"0 12 30 * *",
       "Pacific/Apia",
       "2011-12-01T00:00:00Z",
       {"2011-12-31T00:00:00+14:00", "2012-01-30T12:00:00+14:00"}},
  };
  for (const Night& night : nights) {
    EXPECT_EQ(Times(night.cron, night.zone, night.after, night.next.size()), night.next)
        << night.cron << " in " << night.zone;
  }
}

TEST(Cron, ATimeThatComesTwiceCountsOnce) {
  const Night nights[] = {
      // Berlin, 2025-10-26: 03:00 becomes 02:00.
      {"30 2 * * *",
       "Europe/Berlin",
       "2025-10-25T12:00:00Z",
       {"2025-10-26T02:30:00+02:00", "2025-10-27T02:30:00+01:00"}},
      // Asked during the second time.
      {"30 2 * * *", "Europe/Berlin", "2025-10-26T02:10:00+01:00", {"2025-10-27T02:30:00+01:00"}},
      {"*/30 * * * *",
       "Europe/Berlin",
       "2025-10-26T01:30:00+02:00",
       {"2025-10-26T02:00:00+02:00", "2025-10-26T02:30:00+02:00", "2025-10-26T03:00:00+01:00"}},
      {"0 3 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", {"2025-10-26T03:00:00+01:00"}},
      {"30 1 * * *",
       "America/New_York",
       "2025-11-02T00:00:00Z",
       {"2025-11-02T01:30:00-04:00", "2025-11-03T01:30:00-05:00"}},
      {"45 1 * * *",
       "Australia/Lord_Howe",
       "2025-04-05T00:00:00Z",
       {"2025-04-06T01:45:00+11:00", "2025-04-07T01:45:00+10:30"}},
  };
  for (const Night& night : nights) {
    EXPECT_EQ(Times(night.cron, night.zone, night.after, night.next.size()), night.next)
        << night.cron << " in " << night.zone << " after " << night.after;
  }
}

// The same by looking at every minute, from before one turn to after the other.
TEST(Cron, AgreesWithLookingAtEveryMinute) {
  for (const std::string name : {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}) {
    const absl::TimeZone zone = Zone(name);
    for (const std::string text : {"30 2 * * *", "17 */5 1-7 * *", "*/20 1,2,3 * * sun"}) {
      const Cron cron = Parse(text);
      const absl::Time begin = At("2025-03-01T00:00:00Z");
      absl::Time next = cron.Next(begin, zone);
      absl::CivilMinute shown(absl::ToCivilSecond(begin, zone));
      for (absl::Time time = begin + absl::Minutes(1); time < begin + absl::Hours(24 * 255);
           time += absl::Minutes(1)) {
        // What the wall has passed since the minute before; nothing, while it shows times again.
        const absl::CivilMinute now(absl::ToCivilSecond(time, zone));
        bool due = false;
        for (; shown < now; ++shown) {
          const absl::CivilMinute passed = shown + 1;
          const absl::Time probe = absl::FromCivil(absl::CivilSecond(passed), absl::UTCTimeZone());
          due = due || cron.Next(probe - absl::Minutes(1), absl::UTCTimeZone()) == probe;
        }
        ASSERT_EQ(due, next == time) << text << " in " << name << " at " << time;
        if (due) next = cron.Next(time, zone);
      }
    }
  }
}

TEST(Cron, LatestIsTheLastOne) {
  const absl::TimeZone zone = Zone("Europe/Berlin");
  const absl::Time until = At("2025-10-26T01:10:00Z");
  EXPECT_EQ(Parse("30 2 * * *").Latest(until - absl::Hours(240), until, zone), At("2025-10-26T00:30:00Z"));
  EXPECT_EQ(Parse("* * * * *").Latest(until - absl::Hours(1), until, zone), At("2025-10-26T00:59:00Z"));
  EXPECT_EQ(Parse("30 2 * * *").Latest(At("2025-10-26T00:30:00Z"), until, zone), absl::InfinitePast());
  EXPECT_EQ(Parse("30 2 * * *").Latest(At("2025-10-26T00:29:59Z"), At("2025-10-26T00:30:00Z"), zone),
            At("2025-10-26T00:30:00Z"));
  EXPECT_EQ(Parse("0 4 29 2 *").Latest(At("1970-01-01T00:00:00Z"), until, zone), At("2024-02-29T03:00:00Z"));
  EXPECT_EQ(Parse("*/7 * * * *").Latest(At("1970-01-01T00:00:00Z"), At("2025-06-01T12:00:00Z"), zone),
            At("2025-06-01T12:00:00Z"));
  EXPECT_EQ(Parse("*/7 * * * *").Latest(until, until - absl::Hours(1), zone), absl::InfinitePast());
}

TEST(Cron, TakesNoWalkOverTheMinutes) {
  const absl::TimeZone zone = Zone("America/New_York");
  const auto begin = std::chrono::steady_clock::now();
  absl::Time time = At("2024-03-01T00:00:00Z");
  for (int i = 0; i < 20; ++i) time = Parse("0 4 29 2 */7").Next(time, zone);
  // 2,000 years of minutes would take a minute and more.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_GT(time, At("2500-01-01T00:00:00Z"));
}

TEST(Cron, ErrorsNameTheField) {
  const struct {
    std::string cron;
    std::string message;
  } rows[] = {
      {"", "has 0 fields, not 5"},
      {"* * * *", "has 4 fields, not 5"},
      {"0 * * * * *", "has 6 fields, not 5"},
      {"60 * * * *", "minute: \"60\" is not from 0 to 59"},
      {"* 24 * * *", "hour: \"24\" is not from 0 to 23"},
      {"* * 0 * *", "day of month: \"0\" is not from 1 to 31"},
      {"* * * 13 *", "month: \"13\" is not from 1 to 12"},
      {"* * * * 8", "day of week: \"8\" is not from 0 to 7"},
      {"* * * JANUARY *", "month: \"JANUARY\" is neither a number nor a name of three letters"},
      {"MON * * * *", "minute: \"MON\" is no number"},
      {"-1 * * * *", "minute: \"\" is no number"},
      {"+1 * * * *", "minute: \"+1\" is no number"},
      {"1-2-3 * * * *", "minute: \"1-2-3\" is no range"},
      {"30-10 * * * *", "minute: \"30-10\" is a range that ends before it starts"},
      {"* * * * sat-mon", "day of week: \"sat-mon\" is a range that ends before it starts"},
      {"*/0 * * * *", "minute: \"*/0\" has a step that is not from 1 to 59"},
      {"*/60 * * * *", "minute: \"*/60\" has a step that is not from 1 to 59"},
      {"*/ * * * *", "minute: \"*/\" has a step that is not from 1 to 59"},
      {"*/2/2 * * * *", "minute: \"*/2/2\" has more than one step"},
      {"5/10 * * * *", "minute: \"5/10\" has a step without a range: write 5-59/10 or */10"},
      {"1,,2 * * * *", "minute: \"1,,2\" has an empty entry"},
      {", * * * *", "minute: \",\" has an empty entry"},
      {"* ? * * *", "hour: \"?\" is no number"},
      {"99999999999999999999 * * * *", "minute: \"99999999999999999999\" is no number"},
      {"0 0 31 2 *", "day of month: \"31\" never comes in month \"2\""},
      {"0 0 30 feb *", "day of month: \"30\" never comes in month \"feb\""},
      {"0 0 31 4,6,9,11 *", "day of month: \"31\" never comes in month \"4,6,9,11\""},
      {"0 0 30-31 2 */2", "day of month: \"30-31\" never comes in month \"2\""},
      {"@reboot", "\"@reboot\" is none of @hourly, @daily, @weekly, @monthly and @yearly"},
      {std::string(201, '*'), "longer than 200 bytes"},
  };
  for (const auto& row : rows) {
    const absl::StatusOr<Cron> cron = Cron::Parse(row.cron);
    ASSERT_FALSE(cron.ok()) << row.cron;
    EXPECT_TRUE(absl::IsInvalidArgument(cron.status())) << row.cron;
    EXPECT_EQ(FieldOf(cron.status()), "cron") << row.cron;
    EXPECT_NE(cron.status().message().find(row.message), absl::string_view::npos)
        << row.cron << ": " << cron.status();
  }
}

TEST(TimeZone, KnowsTheDatabaseAndNothingElse) {
  for (const std::string name :
       {"", "UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "America/Port-au-Prince"}) {
    EXPECT_TRUE(FindTimeZone(name).ok()) << name;
  }
  EXPECT_EQ(FindTimeZone("")->name(), "UTC");
  for (const std::string name :
       {"Berlin", "Europe/Nowhere", "localtime", "/usr/share/zoneinfo/UTC", "file:/etc/localtime",
        "libc:localtime", "../zoneinfo/UTC", "Europe/../UTC"}) {
    const absl::StatusOr<absl::TimeZone> zone = FindTimeZone(name);
    ASSERT_FALSE(zone.ok()) << name;
    EXPECT_EQ(FieldOf(zone.status()), "time_zone");
    EXPECT_NE(zone.status().message().find(name), absl::string_view::npos) << zone.status();
  }
  EXPECT_FALSE(FindTimeZone(std::string(65, 'A')).ok());
}

}  // namespace
}  // namespace cowherd
