#include "server/scan/pace.h"

#include <chrono>

#include "server/base/log.h"

namespace cowherd {
namespace {

uint64_t NanosecondsSince(RateLimiter::Time begin) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count());
}

}  // namespace

PressureGate::Time PressurePause::Until(PressureGate::Time now) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (failed_) return now;
  if (now >= gate_.next_look()) {
    absl::StatusOr<std::string> text = read_();
    absl::StatusOr<std::chrono::microseconds> stalled =
        text.ok() ? ParseStalled(*text) : absl::StatusOr<std::chrono::microseconds>(text.status());
    if (!stalled.ok()) {
      Log(LogLevel::kWarning, "scans do not pause under I/O pressure", {{"error", stalled.status()}});
      failed_ = true;
      return now;
    }
    const bool was_paused = gate_.paused();
    gate_.Look(now, *stalled);
    if (gate_.paused() != was_paused) {
      Log(LogLevel::kDebug, gate_.paused() ? "scans pause" : "scans go on", {{"reason", "I/O pressure"}});
    }
  }
  return gate_.paused() ? gate_.next_look() : now;
}

void Pace::Wait(uint64_t bytes, const Stop& stop) {
  const RateLimiter::Time now = std::chrono::steady_clock::now();
  const RateLimiter::Time start = bytes == 0 ? now : limiter_.Book(bytes, now);
  if (start > now) {
    stop.SleepUntil(start);
    totals_.Update([&](Totals& t) { t.rate_wait_ns += NanosecondsSince(now); });
  }
  while (pressure_ != nullptr && stop.Check().ok()) {
    const PressureGate::Time asked = std::chrono::steady_clock::now();
    const PressureGate::Time until = pressure_->Until(asked);
    if (until <= asked) return;
    stop.SleepUntil(until);
    totals_.Update([&](Totals& t) { t.pressure_wait_ns += NanosecondsSince(asked); });
  }
}

}  // namespace cowherd
