#ifndef COWHERD_SERVER_DEDUPE_SHARED_TOTALS_H_
#define COWHERD_SERVER_DEDUPE_SHARED_TOTALS_H_

#include <mutex>

#include "absl/functional/function_ref.h"
#include "server/base/totals.h"

namespace cowherd {

// Totals that one side adds to while another reads. Any thread.
class SharedTotals {
 public:
  Totals Get() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return totals_;
  }
  void Update(absl::FunctionRef<void(Totals&)> change) {
    std::lock_guard<std::mutex> lock(mutex_);
    change(totals_);
  }

 private:
  mutable std::mutex mutex_;
  Totals totals_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_SHARED_TOTALS_H_
