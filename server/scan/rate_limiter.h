#ifndef COWHERD_SERVER_SCAN_RATE_LIMITER_H_
#define COWHERD_SERVER_SCAN_RATE_LIMITER_H_

#include <chrono>
#include <cstdint>
#include <mutex>

namespace cowherd {

// Says when the next bytes may be read. Pure: the caller waits. A pause is not saved up for a burst later,
// but for one second's worth. Any thread.
class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // 0: no limit.
  explicit RateLimiter(uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  // Books `bytes` at `now`; they may be read from the returned time on.
  Time Book(uint64_t bytes, Time now) {
    if (bytes_per_second_ == 0) return now;
    std::lock_guard<std::mutex> lock(mutex_);
    next_ = std::max(next_, now - std::chrono::seconds(1));
    const Time start = std::max(next_, now);
    next_ += std::chrono::nanoseconds(
        static_cast<int64_t>(1e9 * static_cast<double>(bytes) / static_cast<double>(bytes_per_second_)));
    return start;
  }

 private:
  const uint64_t bytes_per_second_;
  std::mutex mutex_;
  Time next_{};
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_RATE_LIMITER_H_
