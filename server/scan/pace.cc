#include "server/scan/pace.h"

#include <chrono>
#include <utility>

#include "server/base/log.h"

namespace cowherd {
namespace {

constexpr auto kTryAgainAfter = std::chrono::minutes(1);

uint64_t NanosecondsSince(RateLimiter::Time begin) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count());
}

}  // namespace

PressureGate::Time PressurePause::Ask(PressureGate::Time now) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (now < try_again_) return now;
  if (now >= gate_.next_look()) {
    absl::StatusOr<std::string> text = read_();
    absl::StatusOr<std::chrono::microseconds> stalled =
        text.ok() ? ParseStalled(*text) : absl::StatusOr<std::chrono::microseconds>(text.status());
    if (!stalled.ok()) {
      if (!failed_) {
        Log(LogLevel::kWarning, "scans do not pause under I/O pressure: it cannot be read now",
            {{"error", stalled.status()}});
      }
      failed_ = true;
      try_again_ = now + kTryAgainAfter;
      return now;
    }
    if (std::exchange(failed_, false)) Log(LogLevel::kInfo, "scans pause under I/O pressure again");
    const bool was_paused = gate_.paused();
    gate_.Look(now, *stalled);
    if (gate_.paused() != was_paused) {
      Log(LogLevel::kDebug, gate_.paused() ? "scans pause" : "scans go on", {{"reason", "I/O pressure"}});
    }
  }
  return gate_.paused() ? gate_.next_look() : now;
}

void PressurePause::Wait(const Stop& stop) {
  while (stop.Check().ok()) {
    const PressureGate::Time now = std::chrono::steady_clock::now();
    const PressureGate::Time until = Ask(now);
    if (until <= now) return;
    stop.SleepUntil(until);
  }
}

void Pace::Wait(uint64_t bytes, const Stop& stop) {
  const RateLimiter::Time now = std::chrono::steady_clock::now();
  const RateLimiter::Time start = bytes == 0 ? now : limiter_.Book(bytes, now);
  if (start > now) {
    stop.SleepUntil(start);
    totals_.Update([&](Totals& t) { t.rate_wait_ns += NanosecondsSince(now); });
  }
  if (pressure_ == nullptr) return;
  const RateLimiter::Time before = std::chrono::steady_clock::now();
  pressure_->Wait(stop);
  const uint64_t waited = NanosecondsSince(before);
  // Less is the time it takes to ask.
  if (waited > 1'000'000) totals_.Update([&](Totals& t) { t.pressure_wait_ns += waited; });
}

}  // namespace cowherd
