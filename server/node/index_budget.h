#ifndef COWHERD_SERVER_NODE_INDEX_BUDGET_H_
#define COWHERD_SERVER_NODE_INDEX_BUDGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

namespace cowherd {

// The index budget of one scan, in bytes, if `scans` run at once within `limit`: the indexes may take half of
// it together, and the rest is for what scans hold beside them, up to 64 MiB each, and for all else. What the
// operator gave is refused if it does not fit, naming the flag; the default is lowered. Pure.
absl::StatusOr<size_t> FitIndexBudget(uint64_t mib, bool given, size_t scans, uint64_t limit);

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_INDEX_BUDGET_H_
