#include "client/size.h"

#include <limits>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

absl::StatusOr<uint64_t> ParseSize(absl::string_view argument, absl::string_view text) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  const absl::Status bad =
      FieldError(argument, absl::StrCat("\"", text,
                                        "\" is not a size; give bytes, or a number with k, m, g or t "
                                        "(1024-based), such as 4096 or 64m"));
  absl::string_view digits = text;
  int shift = 0;
  if (!digits.empty()) {
    switch (absl::ascii_tolower(static_cast<unsigned char>(digits.back()))) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      case 't':
        shift = 40;
        break;
      default:
        break;
    }
    if (shift != 0) digits.remove_suffix(1);
  }
  if (digits.empty()) return bad;
  uint64_t value = 0;
  for (const char c : digits) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) return bad;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (value > (kMost - digit) / 10) {
      return FieldError(argument, absl::StrCat(text, " is too large; a file ends before 8 EiB"));
    }
    value = value * 10 + digit;
  }
  if (value > (kMost >> shift)) {
    return FieldError(argument, absl::StrCat(text, " is too large; a file ends before 8 EiB"));
  }
  return value << shift;
}

absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view argument, absl::string_view text) {
  absl::Duration timeout;
  double seconds = 0;
  if (absl::SimpleAtod(text, &seconds)) {
    timeout = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &timeout)) {
    timeout = absl::ZeroDuration();
  }
  if (timeout <= absl::ZeroDuration() || timeout == absl::InfiniteDuration()) {
    return FieldError(argument,
                      absl::StrCat("\"", text,
                                   "\" is not a time above 0; give seconds, or a number with ms, s, "
                                   "m or h, such as 90 or 5m"));
  }
  return timeout;
}

}  // namespace cowherd
