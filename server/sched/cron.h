#ifndef COWHERD_SERVER_SCHED_CRON_H_
#define COWHERD_SERVER_SCHED_CRON_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace cowherd {

// Times that come again and again, as in crontab(5): minute, hour, day of month, month, day of week. A field
// is a list of numbers, ranges and "*", the latter two with a step if need be: "0,30", "9-17", "*/5",
// "10-50/20". Months and days of week also go by their first three letters; Sunday is 0 and 7. Where both
// day fields do not start with "*", a day that fits either of them will do. "@hourly", "@daily"
// ("@midnight"),
// "@weekly", "@monthly" and "@yearly" ("@annually") stand for their usual five fields.
//
// The fields are about a clock on the wall, which zones turn twice a year. Every time that the wall shows
// counts once:
// - one that a turn forward leaves out counts at the moment of the turn, at once with others of that moment;
// - one that the wall shows twice after a turn back counts the first time only.
// So "30 2 * * *" comes every day of the year, and "*/10 * * * *" rests during the hour that is repeated.
//
// A value; cheap to copy. Pure.
class Cron {
 public:
  // INVALID_ARGUMENT of "cron" names the field at fault; also for a day that never comes, such as 31 Feb.
  static absl::StatusOr<Cron> Parse(absl::string_view text);

  // The first time after `after`, which must be within the years 1 to 9000. At most some 15,000 steps of a
  // few nanoseconds, for a 29 Feb on a given weekday; usually some ten.
  absl::Time Next(absl::Time after, const absl::TimeZone& zone) const;

  // The last time that is after `after` and not after `until`; absl::InfinitePast() if there is none. Calls
  // Next some 2 log2(until - after) times.
  absl::Time Latest(absl::Time after, absl::Time until, const absl::TimeZone& zone) const;

 private:
  Cron() = default;
  absl::Status ReadFields(absl::string_view text);
  bool DayFits(absl::CivilDay day) const;
  absl::CivilMinute FirstFrom(absl::CivilMinute from) const;

  // Bit n: the value n.
  uint64_t minutes_ = 0;
  uint64_t hours_ = 0;
  uint64_t days_ = 0;
  uint64_t months_ = 0;
  uint64_t weekdays_ = 0;
  bool either_day_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_CRON_H_
