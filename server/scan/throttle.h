#ifndef COWHERD_SERVER_SCAN_THROTTLE_H_
#define COWHERD_SERVER_SCAN_THROTTLE_H_

#include <chrono>
#include <cstdint>

#include "server/base/stop.h"
#include "server/scan/rate_limiter.h"

namespace cowherd {

// Waits until `bytes` may be read, or until `stop` says to end. Any thread.
inline void Throttle(RateLimiter& limiter, uint64_t bytes, const Stop& stop) {
  if (bytes == 0) return;
  const RateLimiter::Time now = std::chrono::steady_clock::now();
  const RateLimiter::Time start = limiter.Book(bytes, now);
  if (start > now) stop.SleepUntil(start);
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_THROTTLE_H_
