#include "server/base/totals.h"

#include <algorithm>
#include <iterator>

namespace cowherd {
namespace {

constexpr TotalsCounter kCounters[] = {
    {"files_scanned", &Totals::files_scanned, RunRule::kMost},
    {"files_skipped", &Totals::files_skipped, RunRule::kMost},
    {"files_failed", &Totals::files_failed, RunRule::kMost},
    {"files_read", &Totals::files_read, RunRule::kMost},
    {"bytes_scanned", &Totals::bytes_scanned, RunRule::kLast},
    {"bytes_found", &Totals::bytes_found, RunRule::kLast},
    {"duplicate_ranges", &Totals::duplicate_ranges, RunRule::kMost},
    {"duplicate_bytes", &Totals::duplicate_bytes, RunRule::kMost},
    {"bytes_freeable", &Totals::bytes_freeable, RunRule::kMost},
    {"bytes_moved", &Totals::bytes_moved, RunRule::kMost},
    {"bytes_read", &Totals::bytes_read, RunRule::kMost},
    {"bytes_held", &Totals::bytes_held, RunRule::kMost},
    {"bytes_unprofitable", &Totals::bytes_unprofitable, RunRule::kMost},
    {"bytes_fragmenting", &Totals::bytes_fragmenting, RunRule::kMost},
    {"bytes_requested", &Totals::bytes_requested, RunRule::kSum},
    {"bytes_accepted", &Totals::bytes_accepted, RunRule::kSum},
    {"ranges_deduped", &Totals::ranges_deduped, RunRule::kSum},
    {"ranges_differ", &Totals::ranges_differ, RunRule::kSum},
    {"ranges_failed", &Totals::ranges_failed, RunRule::kSum},
    {"rate_wait_ns", &Totals::rate_wait_ns, RunRule::kSum},
    {"pressure_wait_ns", &Totals::pressure_wait_ns, RunRule::kSum},
    {"work_planned", &Totals::work_planned, RunRule::kSum},
    {"work_done", &Totals::work_done, RunRule::kSum},
    {"files_unchanged", &Totals::files_unchanged, RunRule::kLast},
    {"bytes_unchanged", &Totals::bytes_unchanged, RunRule::kLast},
};

struct Others {
  int64_t bytes_won;
  absl::Duration elapsed;
};
static_assert(sizeof(Totals) == std::size(kCounters) * sizeof(uint64_t) + sizeof(Others), "one is missing");

}  // namespace

absl::Span<const TotalsCounter> TotalsCounters() { return kCounters; }

Totals& Totals::operator+=(const Totals& other) {
  for (const TotalsCounter& counter : kCounters) this->*counter.value += other.*counter.value;
  bytes_won += other.bytes_won;
  elapsed += other.elapsed;
  return *this;
}

Totals OverRuns(const Totals& before, const Totals& last) {
  Totals over = before;
  over.work_planned = before.work_done;
  for (const TotalsCounter& counter : kCounters) {
    uint64_t& value = over.*counter.value;
    switch (counter.over_runs) {
      case RunRule::kSum:
        value += last.*counter.value;
        break;
      case RunRule::kMost:
        value = std::max(value, last.*counter.value);
        break;
      case RunRule::kLast:
        value = last.*counter.value;
        break;
    }
  }
  over.bytes_won += last.bytes_won;
  over.elapsed += last.elapsed;
  return over;
}

bool operator==(const Totals& a, const Totals& b) {
  return a.bytes_won == b.bytes_won && a.elapsed == b.elapsed &&
         std::all_of(std::begin(kCounters), std::end(kCounters),
                     [&](const TotalsCounter& counter) { return a.*counter.value == b.*counter.value; });
}

}  // namespace cowherd
