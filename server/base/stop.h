#ifndef COWHERD_SERVER_BASE_STOP_H_
#define COWHERD_SERVER_BASE_STOP_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/status/status.h"
#include "server/base/status.h"

namespace cowherd {

// Tells work to end early: by a request, or at a deadline. Any thread. Work asks Check() between steps.
class Stop {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  Stop() = default;
  explicit Stop(SteadyTime deadline) : deadline_(deadline) {}
  Stop(const Stop&) = delete;
  Stop& operator=(const Stop&) = delete;

  void Request() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      requested_ = true;
    }
    changed_.notify_all();
  }

  // OK: go on. CANCELLED "CANCELLED" or DEADLINE_EXCEEDED "DEADLINE_EXCEEDED": end now.
  absl::Status Check() const {
    if (requested_)
      return MakeError(absl::StatusCode::kCancelled, "CANCELLED", "cancelled before it was done");
    if (std::chrono::steady_clock::now() >= deadline_) {
      return MakeError(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                       "the deadline came before it was done");
    }
    return absl::OkStatus();
  }

  // Waits until `until`, or until Check() would say to end.
  void SleepUntil(SteadyTime until) const {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_until(lock, std::min(until, deadline_), [this] { return requested_.load(); });
  }

 private:
  const SteadyTime deadline_ = SteadyTime::max();
  std::atomic<bool> requested_{false};
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_STOP_H_
