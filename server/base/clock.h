#ifndef COWHERD_SERVER_BASE_CLOCK_H_
#define COWHERD_SERVER_BASE_CLOCK_H_

#include <algorithm>
#include <chrono>
#include <mutex>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace cowherd {

// The wall clock. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

// Follows the machine's clock forward, but never goes back, or whatever waits for a time would wait for as
// long as that clock was set back: instead it goes at half the pace until the other has caught up.
class RealClock final : public Clock {
 public:
  absl::Time Now() const override;

  // What to show after `last` was shown, `elapsed` ago, while the machine's clock shows `wall`. Pure.
  static absl::Time Next(absl::Time last, absl::Duration elapsed, absl::Time wall) {
    return std::max(wall, last + elapsed / 2);
  }

 private:
  mutable std::mutex mutex_;
  mutable absl::Time last_ = absl::Now();
  mutable std::chrono::steady_clock::time_point read_ = std::chrono::steady_clock::now();
};

inline absl::Time RealClock::Now() const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  last_ = Next(last_, absl::FromChrono(now - read_), absl::Now());
  read_ = now;
  return last_;
}

// Stands still until moved. For tests.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now) : now_(now) {}
  absl::Time Now() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return now_;
  }
  void Advance(absl::Duration by) {
    std::lock_guard<std::mutex> lock(mutex_);
    now_ += by;
  }

 private:
  mutable std::mutex mutex_;
  absl::Time now_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_CLOCK_H_
