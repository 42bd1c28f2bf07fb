#ifndef COWHERD_SERVER_NODE_INDEX_BUDGET_H_
#define COWHERD_SERVER_NODE_INDEX_BUDGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

namespace cowherd {

// The index budget of one scan, in bytes, if `scans` run at once within `limit`: they may take half of it
// together. What the operator gave is refused if it does not fit, naming the flag; the default is lowered.
// Pure.
absl::StatusOr<size_t> FitIndexBudget(uint64_t mib, bool given, size_t scans, uint64_t limit);

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_INDEX_BUDGET_H_
