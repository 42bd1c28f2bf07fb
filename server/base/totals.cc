#include "server/base/totals.h"

#include <algorithm>
#include <iterator>

namespace cowherd {
namespace {

constexpr uint64_t Totals::*kCounters[] = {
    &Totals::files_scanned,  &Totals::files_skipped,    &Totals::files_failed,    &Totals::bytes_scanned,
    &Totals::bytes_found,    &Totals::duplicate_ranges, &Totals::duplicate_bytes, &Totals::bytes_requested,
    &Totals::bytes_accepted, &Totals::ranges_deduped,   &Totals::ranges_differ,   &Totals::ranges_failed,
};

}  // namespace

Totals& Totals::operator+=(const Totals& other) {
  for (uint64_t Totals::*counter : kCounters) this->*counter += other.*counter;
  bytes_won += other.bytes_won;
  elapsed += other.elapsed;
  return *this;
}

bool operator==(const Totals& a, const Totals& b) {
  return a.bytes_won == b.bytes_won && a.elapsed == b.elapsed &&
         std::all_of(std::begin(kCounters), std::end(kCounters),
                     [&](uint64_t Totals::*counter) { return a.*counter == b.*counter; });
}

}  // namespace cowherd
