#include "server/node/index_budget.h"

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;

}  // namespace

absl::StatusOr<size_t> FitIndexBudget(uint64_t mib, bool given, size_t scans, uint64_t limit) {
  const uint64_t most = limit / 2 / scans / kMiB;
  if (mib <= most) return mib * kMiB;
  if (most == 0) {
    return FieldError(
        "--max_tasks",
        absl::StrCat("an index of 1 MiB for each of ", scans, " scans at once is more than half of the ",
                     limit / kMiB, " MiB that this process may use; lower it, or give it more"));
  }
  if (!given) return most * kMiB;
  return FieldError(
      "--index_budget_mib",
      absl::StrCat(
          mib, " for each of ", scans, " scans at once is more than half of the ", limit / kMiB,
          " MiB that this process may use (the machine's memory, or the control group's limit); give ", most,
          " at most, lower --max_tasks, or give it more"));
}

}  // namespace cowherd
