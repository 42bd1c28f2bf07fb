#ifndef COWHERD_SERVER_DEDUPE_RUN_H_
#define COWHERD_SERVER_DEDUPE_RUN_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/read_ahead.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

// Makes the calls of `plan` until every target has its outcome or `stop` says to end (checked between calls).
// `targets` are those of the plan, by index; those that the plan knows as failed are not touched.
// OK: each target has its outcome. An error: the kernel refused the very first call as a whole; nothing was
// tried.
absl::Status RunDedupe(ExtentOps& ops, const DedupeRange& range, absl::Span<const DedupeTarget> targets,
                       const Stop& stop, DedupePlan& plan);

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_RUN_H_
