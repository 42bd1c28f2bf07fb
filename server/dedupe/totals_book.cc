#include "server/dedupe/totals_book.h"

namespace cowherd {
std::shared_ptr<SharedTotals> TotalsBook::Open(const std::string& root) {
  std::shared_ptr<SharedTotals> page(new SharedTotals, [this, root](SharedTotals* totals) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      Account& account = accounts_[root];
      account.open.erase(totals);
      account.closed += totals->Get();
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
    for (const SharedTotals* page : account.open) sum += page->Get();
  }
  return sums;
}

}  // namespace cowherd
