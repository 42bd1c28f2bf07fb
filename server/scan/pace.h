#ifndef COWHERD_SERVER_SCAN_PACE_H_
#define COWHERD_SERVER_SCAN_PACE_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/scan/pressure_gate.h"
#include "server/scan/rate_limiter.h"

namespace cowherd {

// Pauses all scans of this process while others wait for I/O; see PressureGate. Any thread.
class PressurePause {
 public:
  using ReadText = std::function<absl::StatusOr<std::string>()>;

  // `read` gives the text of /proc/pressure/io: the whole machine's, since a cgroup's own would not tell how
  // others fare. Asked at most once a second while scans go on. If it fails there is no pause, and it is
  // tried again after a minute; the log has once that it failed, and that it does no more.
  PressurePause(const PressureGate& gate, ReadText read) : gate_(gate), read_(std::move(read)) {}

  // Waits while there is a pause, or until `stop` says to end.
  void Wait(const Stop& stop);

  // When to ask again; `now` or earlier: go on.
  PressureGate::Time Ask(PressureGate::Time now);

 private:
  std::mutex mutex_;
  PressureGate gate_;
  const ReadText read_;
  bool failed_ = false;  // the last time
  PressureGate::Time try_again_{};
};

// How fast one scan goes. Counts in the totals how long it was held back. Any thread.
class Pace {
 public:
  // 0: as many bytes as the disk gives. Null: pressure does not matter.
  Pace(uint64_t bytes_per_second, PressurePause* pressure, SharedTotals& totals)
      : limiter_(bytes_per_second), pressure_(pressure), totals_(totals) {}

  // Waits until `bytes` may be read, or until `stop` says to end. To be called before each range of at most
  // 16 MiB; with 0 bytes where nothing new is read and a pause is to act all the same.
  void Wait(uint64_t bytes, const Stop& stop);

  // As much as should be waited for at a time.
  uint64_t step() const { return limiter_.step(); }

 private:
  RateLimiter limiter_;
  PressurePause* const pressure_;
  SharedTotals& totals_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_PACE_H_
