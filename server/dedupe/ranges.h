#ifndef COWHERD_SERVER_DEDUPE_RANGES_H_
#define COWHERD_SERVER_DEDUPE_RANGES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/stop.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/request.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"

namespace cowherd {

struct RangesResult {
  std::vector<TargetResult> targets;  // as the request's destinations
  std::vector<uint64_t> shared;       // with measure_shared: bytes on the source's storage; else empty
};

// One DedupeRanges request from open to answer. Holds files open only while it runs; 127 destinations at a
// time. OK: every destination has its outcome, also where it could not be opened. An error: nothing was
// tried.
absl::StatusOr<RangesResult> DedupeRanges(ExtentOps& ops, FileTrees& trees, const DedupeRequest& request,
                                          const Stop& stop);

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_RANGES_H_
