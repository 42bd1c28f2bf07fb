#ifndef COWHERD_SERVER_BASE_CLOCK_H_
#define COWHERD_SERVER_BASE_CLOCK_H_

#include <mutex>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/boot_clock.h"

namespace cowherd {

// Two readings of the time. Any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // For what waits or takes time. Goes at the pace of time and never jumps, whatever is done to the machine's
  // clock. It is the time of day only if that was right when this clock was made.
  virtual absl::Time Now() const = 0;
  // For what people plan by or read, and what is kept for them: the machine's clock as it is set. It may
  // jump, also back.
  virtual absl::Time Wall() const = 0;
};

class RealClock final : public Clock {
 public:
  absl::Time Now() const override { return begin_ + (SinceBoot() - boot_); }
  absl::Time Wall() const override { return absl::Now(); }

 private:
  const absl::Time begin_ = absl::Now();
  const absl::Duration boot_ = SinceBoot();
};

// Stands still until moved. For tests.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time now) : now_(now) {}
  absl::Time Now() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return now_;
  }
  absl::Time Wall() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return now_ + ahead_;
  }
  // Time passes.
  void Advance(absl::Duration by) {
    std::lock_guard<std::mutex> lock(mutex_);
    now_ += by;
  }
  // Somebody sets the machine's clock; no time passes.
  void Turn(absl::Duration by) {
    std::lock_guard<std::mutex> lock(mutex_);
    ahead_ += by;
  }

 private:
  mutable std::mutex mutex_;
  absl::Time now_;
  absl::Duration ahead_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_CLOCK_H_
