#include "client/commands/window_text.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "client/format.h"
#include "client/size.h"
#include "server/base/status.h"

namespace cowherd {

absl::StatusOr<v1::Window> ParseWindow(absl::string_view text) {
  std::vector<absl::string_view> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  v1::Window window;
  if (words.size() > 2 && words[words.size() - 2] == "in") {
    window.set_time_zone(std::string(words.back()));
    words.resize(words.size() - 2);
  }
  if (words.size() < 3 || words[words.size() - 2] != "for") {
    return FieldError("--window",
                      absl::StrCat("\"", text,
                                   "\" is not CRON for TIME, such as \"0 22 * * * for 6h\" or \"0 22 * "
                                   "* * for 6h in Europe/Berlin\""));
  }
  ASSIGN_OR_RETURN(const absl::Duration duration, ParseTimeout("--window", words.back()));
  window.mutable_duration()->set_seconds(absl::ToInt64Seconds(duration));
  words.resize(words.size() - 2);
  window.set_cron(absl::StrJoin(words, " "));
  return window;
}

std::string WindowText(const v1::Window& window) {
  return EscapeName(absl::StrCat(window.cron(), " for ",
                                 absl::FormatDuration(absl::Seconds(window.duration().seconds())), " in ",
                                 window.time_zone().empty() ? "UTC" : window.time_zone()));
}

}  // namespace cowherd
