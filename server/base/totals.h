#ifndef COWHERD_SERVER_BASE_TOTALS_H_
#define COWHERD_SERVER_BASE_TOTALS_H_

#include <cstdint>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace cowherd {

// What a run has done, or several together. Units as in TaskTotals of types.proto.
struct Totals {
  uint64_t files_scanned = 0;
  uint64_t files_skipped = 0;
  uint64_t files_failed = 0;
  uint64_t files_read = 0;
  uint64_t bytes_scanned = 0;
  uint64_t bytes_found = 0;
  uint64_t duplicate_ranges = 0;
  uint64_t duplicate_bytes = 0;
  uint64_t bytes_freeable = 0;
  uint64_t bytes_moved = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_held = 0;
  uint64_t bytes_unprofitable = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_accepted = 0;
  int64_t bytes_won = 0;
  uint64_t ranges_deduped = 0;
  uint64_t ranges_differ = 0;
  uint64_t ranges_failed = 0;
  uint64_t rate_wait_ns = 0;
  uint64_t pressure_wait_ns = 0;
  absl::Duration elapsed = absl::ZeroDuration();

  Totals& operator+=(const Totals& other);
  friend Totals operator+(Totals a, const Totals& b) { return a += b; }
  friend bool operator==(const Totals& a, const Totals& b);
  friend bool operator!=(const Totals& a, const Totals& b) { return !(a == b); }
};

// Everything in Totals but bytes_won and elapsed.
struct TotalsCounter {
  const char* name;
  uint64_t Totals::*value;
};
absl::Span<const TotalsCounter> TotalsCounters();

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_TOTALS_H_
