#ifndef COWHERD_SERVER_SCAN_PRESSURE_GATE_H_
#define COWHERD_SERVER_SCAN_PRESSURE_GATE_H_

#include <chrono>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// How long tasks have waited for I/O since the machine started: "total" of the line "some" in the text of
// /proc/pressure/io. Pure.
absl::StatusOr<std::chrono::microseconds> ParseStalled(absl::string_view text);

// Decides when scans pause for the sake of others. The pressure on the machine is everybody's, and a scan
// alone makes it high too. So once it is above the limit all scans pause, and what is left of it then is the
// others': above the limit the pause goes on until it is below half of it, else the scans go on and it was
// their own; the next look is taken the later, the more often that was so. Costs a machine that nobody else
// uses half a second after 10 s, then at most one in 20 s to 80 s; scans of less than 10 s never pause. A
// pause ends after a minute at the latest, so that scans get on also where there is always pressure. Pure:
// the caller waits and reads. One thread.
class PressureGate {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  // The part of the time that somebody waits for I/O, 0 to 1.
  explicit PressureGate(double limit) : limit_(limit) {}

  // Not before then is a look worth while.
  Time next_look() const { return next_look_; }
  // Until the next look.
  bool paused() const { return state_ == State::kSettling || state_ == State::kPaused; }

  // With all that tasks have waited up to `now`, which is next_look() or later.
  void Look(Time now, Duration stalled);

 private:
  enum class State {
    kOpen,      // nothing is measured
    kWatching,  // everybody's pressure is
    kSettling,  // what was begun before the pause comes to its end
    kPaused,    // the others' pressure is measured
  };

  void Enter(State state, Time now, Duration stalled, Duration look_after);

  const double limit_;
  State state_ = State::kOpen;
  Time next_look_{};
  Time since_{};  // of the state
  Duration stalled_since_{};
  Time pause_began_{};
  bool others_ = false;  // they made the pressure of this pause
  Duration open_for_{};
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_PRESSURE_GATE_H_
