#ifndef COWHERD_SERVER_DEDUPE_TOTALS_BOOK_H_
#define COWHERD_SERVER_DEDUPE_TOTALS_BOOK_H_

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "server/dedupe/shared_totals.h"

namespace cowherd {

// Sums what was done for each root since the process began, running work included. Any thread. Must outlive
// the pages.
class TotalsBook {
 public:
  // Totals for one piece of work. They stay in the sum when the work lets go of them.
  std::shared_ptr<SharedTotals> Open(const std::string& root);

  // By root; those that were opened at least once.
  std::map<std::string, Totals> Sums() const;

 private:
  struct Account {
    Totals closed;
    std::set<const SharedTotals*> open;
  };

  mutable std::mutex mutex_;
  std::map<std::string, Account> accounts_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_TOTALS_BOOK_H_
