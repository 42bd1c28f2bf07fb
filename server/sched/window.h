#ifndef COWHERD_SERVER_SCHED_WINDOW_H_
#define COWHERD_SERVER_SCHED_WINDOW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/sched/cron.h"

namespace cowherd {

inline constexpr absl::Duration kMinWindow = absl::Minutes(1);
inline constexpr absl::Duration kMaxWindow = absl::Hours(7 * 24);

// A stretch of time that comes again and again: it opens at the times of `opens` and closes `duration` later.
// The duration is time that passes: where the clock on the wall is turned meanwhile, the window closes an
// hour earlier or later by that clock.
struct Window {
  Cron opens;
  absl::TimeZone zone;
  absl::Duration duration;
  // A zone that this machine does not know any more: the window stays closed, for no other hours are meant.
  std::string unknown_zone = {};
};

// INVALID_ARGUMENT of "cron", "time_zone" or "duration" (not within kMinWindow and kMaxWindow).
absl::StatusOr<Window> MakeWindow(absl::string_view cron, absl::string_view time_zone,
                                  absl::Duration duration);

struct WindowState {
  bool open = true;
  // When that changes. Windows that follow one another without a pause may still be open then: ask again.
  absl::Time until = absl::InfiniteFuture();
  // Of those that are closed, one's Window::unknown_zone.
  std::string unknown_zone = {};
};

// Whether any of the windows is open: from the moment it opens up to, and without, the moment it closes. No
// windows at all are always open. Pure; takes microseconds, and some milliseconds for windows of a minute
// that follow one another for days.
WindowState StateAt(const std::vector<Window>& windows, absl::Time now);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_WINDOW_H_
