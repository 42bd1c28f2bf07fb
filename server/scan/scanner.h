#ifndef COWHERD_SERVER_SCAN_SCANNER_H_
#define COWHERD_SERVER_SCAN_SCANNER_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/scan/pace.h"
#include "server/scan/scan_types.h"

namespace cowherd {

// Finds runs of blocks that an earlier place holds too, and shares their storage: by the filesystem's own
// checksums (storage_scan.h) where there are any and this process may read them, by reading (reading_scan.h)
// elsewhere; the log says which, and why. Memory is bounded by `index_budget` bytes, and 64 MiB for what is
// in hand.
//
// What cannot be shared is passed over: small files, holes, inline and preallocated stretches, other
// filesystems, files that are not regular, extents looked at before. Files that cannot be read are counted
// and logged; the scan goes on. `found` is called for each duplicate; if it blocks, the scan waits. Ends with
// OK, with `stop`'s reason, or with an error of the root itself; `totals` holds what was done in each case.
// EOPNOTSUPP, in a dry run too: the filesystem cannot share ranges. EROFS: it is mounted read-only.
absl::Status ScanTree(ExtentOps& ops, FileTree& tree, const ScanRequest& request, size_t index_budget,
                      Pace& pace, const Stop& stop, SharedTotals& totals,
                      absl::FunctionRef<void(const Duplicate&)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SCANNER_H_
