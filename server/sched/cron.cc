#include "server/sched/cron.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxText = 200;

constexpr absl::string_view kMonthNames[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                             "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr absl::string_view kWeekdayNames[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  absl::string_view name;
  int least;
  int most;
  // Of least, least + 1, ...
  absl::Span<const absl::string_view> words;
};

constexpr Field kFields[] = {{"minute", 0, 59, {}},
                             {"hour", 0, 23, {}},
                             {"day of month", 1, 31, {}},
                             {"month", 1, 12, kMonthNames},
                             {"day of week", 0, 7, kWeekdayNames}};

struct Nickname {
  absl::string_view name;
  absl::string_view fields;
};

constexpr Nickname kNicknames[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

constexpr int kDaysOf[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

absl::Status Wrong(const Field& field, absl::string_view text, absl::string_view why) {
  return FieldError("cron", absl::StrCat(field.name, ": \"", text, "\" ", why));
}

bool IsDigits(absl::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos;
}

absl::StatusOr<int> ReadValue(const Field& field, absl::string_view text) {
  for (size_t i = 0; i < field.words.size(); ++i) {
    if (absl::EqualsIgnoreCase(text, field.words[i])) return field.least + static_cast<int>(i);
  }
  int value = 0;
  if (!IsDigits(text) || !absl::SimpleAtoi(text, &value)) {
    return Wrong(field, text,
                 field.words.empty() ? "is no number" : "is neither a number nor a name of three letters");
  }
  if (value < field.least || value > field.most) {
    return Wrong(field, text, absl::StrCat("is not from ", field.least, " to ", field.most));
  }
  return value;
}

// One entry of a list.
absl::StatusOr<uint64_t> ReadEntry(const Field& field, absl::string_view entry) {
  const std::vector<absl::string_view> parts = absl::StrSplit(entry, '/');
  if (parts.size() > 2) return Wrong(field, entry, "has more than one step");
  int first = field.least;
  int last = field.most;
  bool single = false;
  if (parts[0] != "*") {
    const std::vector<absl::string_view> ends = absl::StrSplit(parts[0], '-');
    if (ends.size() > 2) return Wrong(field, entry, "is no range");
    ASSIGN_OR_RETURN(first, ReadValue(field, ends[0]));
    single = ends.size() == 1;
    last = first;
    if (!single) {
      ASSIGN_OR_RETURN(last, ReadValue(field, ends[1]));
      // "fri-sun".
      if (field.most == 7 && last == 0 && first > 0) last = 7;
      if (last < first) return Wrong(field, entry, "is a range that ends before it starts");
    }
  }
  int step = 1;
  if (parts.size() == 2) {
    if (single) {
      return Wrong(field, entry,
                   absl::StrCat("has a step without a range: write ", parts[0], "-", field.most, "/",
                                parts[1], " or */", parts[1]));
    }
    if (!IsDigits(parts[1]) || !absl::SimpleAtoi(parts[1], &step) || step < 1 || step > field.most) {
      return Wrong(field, entry, absl::StrCat("has a step that is not from 1 to ", field.most));
    }
  }
  uint64_t bits = 0;
  for (int value = first; value <= last; value += step) bits |= uint64_t{1} << value;
  return bits;
}

absl::StatusOr<uint64_t> ReadField(const Field& field, absl::string_view text) {
  uint64_t bits = 0;
  for (const absl::string_view entry : absl::StrSplit(text, ',')) {
    if (entry.empty()) return Wrong(field, text, "has an empty entry");
    ASSIGN_OR_RETURN(const uint64_t more, ReadEntry(field, entry));
    bits |= more;
  }
  return bits;
}

bool Has(uint64_t bits, int value) { return (bits >> value & 1) != 0; }

// The first value from `from` on; -1: none.
int FirstOf(uint64_t bits, int from) {
  const uint64_t rest = bits >> from << from;
  return rest == 0 ? -1 : __builtin_ctzll(rest);
}

absl::Time TimeOf(absl::CivilMinute minute, const absl::TimeZone& zone) {
  const absl::TimeZone::TimeInfo info = zone.At(absl::CivilSecond(minute));
  return info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
}

}  // namespace

absl::StatusOr<Cron> Cron::Parse(absl::string_view text) {
  if (text.size() > kMaxText) return FieldError("cron", absl::StrCat("longer than ", kMaxText, " bytes"));
  Cron cron;
  RETURN_IF_ERROR(cron.ReadFields(text));
  return cron;
}

absl::Status Cron::ReadFields(absl::string_view text) {
  if (absl::StartsWith(text, "@")) {
    const absl::string_view name = text;
    for (const Nickname& nickname : kNicknames) {
      if (nickname.name == name) text = nickname.fields;
    }
    if (text == name) {
      return FieldError(
          "cron", absl::StrCat("\"", name, "\" is none of @hourly, @daily, @weekly, @monthly and @yearly"));
    }
  }
  const std::vector<absl::string_view> texts =
      absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (texts.size() != std::size(kFields)) {
    return FieldError("cron", absl::StrCat("has ", texts.size(),
                                           " fields, not 5: minute, hour, day of month, month, day of week"));
  }
  uint64_t* const values[] = {&minutes_, &hours_, &days_, &months_, &weekdays_};
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSIGN_OR_RETURN(*values[i], ReadField(kFields[i], texts[i]));
  }
  if (Has(weekdays_, 7)) weekdays_ |= 1;
  either_day_ = texts[2][0] != '*' && texts[4][0] != '*';
  if (either_day_) return absl::OkStatus();
  for (int month = 1; month <= 12; ++month) {
    if (Has(months_, month) && FirstOf(days_, 1) <= kDaysOf[month]) return absl::OkStatus();
  }
  return Wrong(kFields[2], texts[2], absl::StrCat("never comes in month \"", texts[3], "\""));
}

bool Cron::DayFits(absl::CivilDay day) const {
  const int weekday = (static_cast<int>(absl::GetWeekday(day)) + 1) % 7;
  const bool by_day = Has(days_, day.day());
  const bool by_weekday = Has(weekdays_, weekday);
  return either_day_ ? by_day || by_weekday : by_day && by_weekday;
}

absl::CivilMinute Cron::FirstFrom(absl::CivilMinute from) const {
  while (true) {
    if (!Has(months_, from.month())) {
      from = absl::CivilMinute(absl::CivilMonth(from) + 1);
      continue;
    }
    const absl::CivilDay day(from);
    const int hour = DayFits(day) ? FirstOf(hours_, from.hour()) : -1;
    if (hour < 0) {
      from = absl::CivilMinute(day + 1);
      continue;
    }
    const int minute = FirstOf(minutes_, hour == from.hour() ? from.minute() : 0);
    if (minute >= 0) return absl::CivilMinute(day.year(), day.month(), day.day(), hour, minute);
    from = absl::CivilMinute(absl::CivilHour(from) + 1);
  }
}

absl::Time Cron::Next(absl::Time after, const absl::TimeZone& zone) const {
  // From here on times only grow, since of two that the wall shows the first counts.
  absl::CivilMinute minute(absl::ToCivilSecond(after, zone));
  while (true) {
    minute = FirstFrom(minute);
    const absl::Time time = TimeOf(minute, zone);
    if (time > after) return time;
    ++minute;
  }
}

absl::Time Cron::Latest(absl::Time after, absl::Time until, const absl::TimeZone& zone) const {
  absl::Time found = absl::InfinitePast();
  // None is after `end` and not after `until`.
  absl::Time end = until;
  for (absl::Time next = Next(after, zone); next <= until; next = Next(found, zone)) {
    found = next;
    const absl::Time middle = found + (end - found) / 2;
    const absl::Time later = Next(middle, zone);
    if (later <= until) {
      found = later;
    } else {
      end = middle;
    }
  }
  return found;
}

}  // namespace cowherd
