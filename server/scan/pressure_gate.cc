#include "server/scan/pressure_gate.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kFirstLook = seconds(10);
constexpr auto kLongestOpen = seconds(80);
constexpr auto kOpenAfterOthers = seconds(2);
constexpr auto kWatch = seconds(1);
// Reads of one range, at most 16 MiB for each worker, end in that time on anything that is not overloaded.
constexpr auto kSettle = milliseconds(200);
constexpr auto kFirstMeasure = milliseconds(300);
constexpr auto kMeasure = seconds(1);
constexpr auto kLongestPause = seconds(60);
// Nobody asked for so long: there was no scan.
constexpr auto kForgotten = seconds(5);

}  // namespace

absl::StatusOr<std::chrono::microseconds> ParseStalled(absl::string_view text) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, "some ")) continue;
    for (absl::string_view word : absl::StrSplit(line, ' ')) {
      int64_t total = 0;
      if (absl::ConsumePrefix(&word, "total=") && absl::SimpleAtoi(word, &total) && total >= 0) {
        return std::chrono::microseconds(total);
      }
    }
  }
  return MakeError(absl::StatusCode::kInternal, "PRESSURE_UNREADABLE",
                   "the kernel's text about I/O pressure has no total");
}

void PressureGate::Look(Time now, Duration stalled) {
  if (state_ == State::kOpen && (next_look_ == Time() || now - next_look_ > kForgotten)) {
    open_for_ = kFirstLook;
    Enter(State::kOpen, now, stalled, open_for_);
    return;
  }
  const Duration span = now - since_;
  const double pressure = span > Duration::zero() ? static_cast<double>((stalled - stalled_since_).count()) /
                                                        static_cast<double>(span.count())
                                                  : 0;
  switch (state_) {
    case State::kOpen:
      Enter(State::kWatching, now, stalled, kWatch);
      return;
    case State::kWatching:
      if (span > kWatch + kForgotten) {
        state_ = State::kOpen;
        next_look_ = Time();
        Look(now, stalled);
      } else if (pressure <= limit_) {
        Enter(State::kWatching, now, stalled, kWatch);
      } else {
        pause_began_ = now;
        others_ = false;
        Enter(State::kSettling, now, stalled, kSettle);
      }
      return;
    case State::kSettling:
      Enter(State::kPaused, now, stalled, kFirstMeasure);
      return;
    case State::kPaused: {
      const bool goes_on = pressure > (others_ ? limit_ / 2 : limit_);
      others_ = others_ || goes_on;
      if (goes_on && now - pause_began_ < kLongestPause) {
        Enter(State::kPaused, now, stalled, kMeasure);
        return;
      }
      open_for_ = others_ ? Duration(kOpenAfterOthers) : std::min<Duration>(2 * open_for_, kLongestOpen);
      Enter(State::kOpen, now, stalled, open_for_);
      return;
    }
  }
}

void PressureGate::Enter(State state, Time now, Duration stalled, Duration look_after) {
  state_ = state;
  since_ = now;
  stalled_since_ = stalled;
  next_look_ = now + look_after;
}

}  // namespace cowherd
