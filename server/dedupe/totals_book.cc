#include "server/dedupe/totals_book.h"

namespace cowherd {
namespace {

void Add(Totals& sum, const Totals& part) {
  sum.files_scanned += part.files_scanned;
  sum.files_skipped += part.files_skipped;
  sum.files_failed += part.files_failed;
  sum.bytes_scanned += part.bytes_scanned;
  sum.bytes_found += part.bytes_found;
  sum.duplicate_ranges += part.duplicate_ranges;
  sum.duplicate_bytes += part.duplicate_bytes;
  sum.bytes_requested += part.bytes_requested;
  sum.bytes_accepted += part.bytes_accepted;
  sum.bytes_won += part.bytes_won;
  sum.ranges_deduped += part.ranges_deduped;
  sum.ranges_differ += part.ranges_differ;
  sum.ranges_failed += part.ranges_failed;
}

}  // namespace

std::shared_ptr<SharedTotals> TotalsBook::Open(const std::string& root) {
  std::shared_ptr<SharedTotals> page(new SharedTotals, [this, root](SharedTotals* totals) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      Account& account = accounts_[root];
      account.open.erase(totals);
      Add(account.closed, totals->Get());
    }
    delete totals;
  });
  std::lock_guard<std::mutex> lock(mutex_);
  accounts_[root].open.insert(page.get());
  return page;
}

std::map<std::string, Totals> TotalsBook::Sums() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::map<std::string, Totals> sums;
  for (const auto& [root, account] : accounts_) {
    Totals& sum = sums[root];
    sum = account.closed;
    for (const SharedTotals* page : account.open) Add(sum, page->Get());
  }
  return sums;
}

}  // namespace cowherd
