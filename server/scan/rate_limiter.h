#ifndef COWHERD_SERVER_SCAN_RATE_LIMITER_H_
#define COWHERD_SERVER_SCAN_RATE_LIMITER_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace cowherd {

// Says when the next bytes may be read. Pure: the caller waits. A pause is not saved up for a burst later,
// but for a tenth of a second's worth. Any thread.
class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // 0: no limit.
  explicit RateLimiter(uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  // Books `bytes` at `now`; they may be read from the returned time on.
  Time Book(uint64_t bytes, Time now) {
    if (bytes_per_second_ == 0) return now;
    std::lock_guard<std::mutex> lock(mutex_);
    next_ = std::max(next_, now - std::chrono::milliseconds(100));
    const Time start = std::max(next_, now);
    // No longer than some months: the sum of what many threads book fits as well.
    constexpr double kMost = 1e16;
    const double takes = 1e9 * static_cast<double>(bytes) / static_cast<double>(bytes_per_second_);
    next_ += std::chrono::nanoseconds(static_cast<int64_t>(std::min(takes, kMost)));
    return start;
  }

  // As much as should be booked at a time: what is read in one go makes others wait.
  uint64_t step() const {
    constexpr uint64_t kLeast = 128 << 10;
    constexpr uint64_t kMost = 4 << 20;
    if (bytes_per_second_ == 0) return UINT64_MAX;
    return std::clamp(bytes_per_second_ / 64, kLeast, kMost);
  }

 private:
  const uint64_t bytes_per_second_;
  std::mutex mutex_;
  Time next_{};
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_RATE_LIMITER_H_
