#ifndef COWHERD_SERVER_DEDUPE_TOTALS_H_
#define COWHERD_SERVER_DEDUPE_TOTALS_H_

#include <cstdint>
#include <mutex>

#include "absl/functional/function_ref.h"

namespace cowherd {

// What a task has done. The fields mean what TaskTotals in types.proto says.
struct Totals {
  uint64_t files_scanned = 0;
  uint64_t files_skipped = 0;
  uint64_t files_failed = 0;
  uint64_t bytes_scanned = 0;
  uint64_t bytes_found = 0;
  uint64_t duplicate_ranges = 0;
  uint64_t duplicate_bytes = 0;
  uint64_t bytes_requested = 0;
  uint64_t bytes_accepted = 0;
  int64_t bytes_won = 0;
  uint64_t ranges_deduped = 0;
  uint64_t ranges_differ = 0;
  uint64_t ranges_failed = 0;
};

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

#endif  // COWHERD_SERVER_DEDUPE_TOTALS_H_
