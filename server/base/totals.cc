#include "server/base/totals.h"

#include <algorithm>
#include <iterator>

namespace cowherd {
namespace {

constexpr TotalsCounter kCounters[] = {
    {"files_scanned", &Totals::files_scanned},
    {"files_skipped", &Totals::files_skipped},
    {"files_failed", &Totals::files_failed},
    {"files_read", &Totals::files_read},
    {"bytes_scanned", &Totals::bytes_scanned},
    {"bytes_found", &Totals::bytes_found},
    {"duplicate_ranges", &Totals::duplicate_ranges},
    {"duplicate_bytes", &Totals::duplicate_bytes},
    {"bytes_freeable", &Totals::bytes_freeable},
    {"bytes_moved", &Totals::bytes_moved},
    {"bytes_read", &Totals::bytes_read},
    {"bytes_held", &Totals::bytes_held},
    {"bytes_unprofitable", &Totals::bytes_unprofitable},
    {"bytes_requested", &Totals::bytes_requested},
    {"bytes_accepted", &Totals::bytes_accepted},
    {"ranges_deduped", &Totals::ranges_deduped},
    {"ranges_differ", &Totals::ranges_differ},
    {"ranges_failed", &Totals::ranges_failed},
    {"rate_wait_ns", &Totals::rate_wait_ns},
    {"pressure_wait_ns", &Totals::pressure_wait_ns},
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

bool operator==(const Totals& a, const Totals& b) {
  return a.bytes_won == b.bytes_won && a.elapsed == b.elapsed &&
         std::all_of(std::begin(kCounters), std::end(kCounters),
                     [&](const TotalsCounter& counter) { return a.*counter.value == b.*counter.value; });
}

}  // namespace cowherd
