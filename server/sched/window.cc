#include "server/sched/window.h"

#include <algorithm>

#include "server/base/status.h"
#include "server/base/time_zone.h"

namespace cowherd {
namespace {

// No farther is looked for the end of windows that follow one another.
constexpr absl::Duration kHorizon = absl::Hours(8 * 24);

// When the windows that are open at `time` have closed; `time` itself if none is open.
absl::Time CloseOf(const std::vector<Window>& windows, absl::Time time) {
  absl::Time close = time;
  for (const Window& window : windows) {
    if (!window.unknown_zone.empty()) continue;
    const absl::Time opened = window.opens.Latest(time - window.duration, time, window.zone);
    close = std::max(close, opened + window.duration);
  }
  return close;
}

}  // namespace

absl::StatusOr<Window> MakeWindow(absl::string_view cron, absl::string_view time_zone,
                                  absl::Duration duration) {
  ASSIGN_OR_RETURN(const Cron opens, Cron::Parse(cron));
  ASSIGN_OR_RETURN(const absl::TimeZone zone, FindTimeZone(time_zone));
  if (duration < kMinWindow || duration > kMaxWindow) {
    return FieldError("duration", "not within one minute and seven days");
  }
  return Window{opens, zone, duration};
}

WindowState StateAt(const std::vector<Window>& windows, absl::Time now) {
  WindowState state;
  if (windows.empty()) return state;
  state.until = now;
  while (state.until < now + kHorizon) {
    const absl::Time close = CloseOf(windows, state.until);
    if (close == state.until) break;
    state.until = close;
  }
  state.open = state.until > now;
  if (state.open) return state;
  state.until = absl::InfiniteFuture();
  for (const Window& window : windows) {
    if (!window.unknown_zone.empty()) {
      state.unknown_zone = window.unknown_zone;
      continue;
    }
    state.until = std::min(state.until, window.opens.Next(now, window.zone));
  }
  return state;
}

}  // namespace cowherd
