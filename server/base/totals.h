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
  uint64_t bytes_fragmenting = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_accepted = 0;
  int64_t bytes_won = 0;
  uint64_t ranges_deduped = 0;
  uint64_t ranges_differ = 0;
  uint64_t ranges_failed = 0;
  uint64_t rate_wait_ns = 0;
  uint64_t pressure_wait_ns = 0;
  uint64_t work_planned = 0;
  uint64_t work_done = 0;
  uint64_t files_unchanged = 0;
  uint64_t bytes_unchanged = 0;
  absl::Duration elapsed = absl::ZeroDuration();

  // Of different work. For runs of the same task: OverRuns.
  Totals& operator+=(const Totals& other);
  friend Totals operator+(Totals a, const Totals& b) { return a += b; }
  friend bool operator==(const Totals& a, const Totals& b);
  friend bool operator!=(const Totals& a, const Totals& b) { return !(a == b); }
};

// What a counter of several runs of one task is.
enum class RunRule {
  kSum,   // what was done
  kMost,  // what describes the data, which each run looks at again
  kLast,  // how far a run is
};

// Everything in Totals but bytes_won and elapsed, which are sums.
struct TotalsCounter {
  const char* name;
  uint64_t Totals::*value;
  RunRule over_runs;
};
absl::Span<const TotalsCounter> TotalsCounters();

// Of a task whose earlier runs came to `before` and whose last one to `last`. What the earlier ones planned
// and did not do is taken off: the last one plans it anew. Pure.
Totals OverRuns(const Totals& before, const Totals& last);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_TOTALS_H_
