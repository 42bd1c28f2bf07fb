#ifndef COWHERD_SERVER_SCAN_STORAGE_SCAN_H_
#define COWHERD_SERVER_SCAN_STORAGE_SCAN_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/fs/storage_map.h"
#include "server/scan/pace.h"
#include "server/scan/scan_state.h"
#include "server/scan/scan_types.h"
#include "server/scan/space_won.h"

namespace cowherd {

// Files whose data has no checksums, ascending.
struct UncheckedFiles {
  std::vector<FileKey> files;
  bool all = true;  // false: there are more, which are for later scans
};

// The scan of a filesystem that keeps checksums: reads no data to find duplicates. Goes through the storage
// by address, at each extent once however many files and snapshots share it; extents whose space would come
// back are planned in batches, and each batch is carried out before the next. An extent is compared with
// those before it; where it stays nevertheless, those are looked at once more, now and then and at the end,
// as they may share with it instead; one that lies wholly in others, of which more might go free, waits
// until then. Of those that overlap as many go free as leave little twice, see ExtentsToKeep (a dry run of
// more duplicate extents than it can remember, 65,536 or more, leaves that out). `wanted` says by its path
// whether a file is within the scan. Else as ScanTree; `won` has begun, and is measured now and then, and
// bytes_found of `totals` is what is in use on the filesystem. Returns the files that have no checksums;
// beyond 262,144 with the default budget some are counted as skipped, others in each scan.
//
// With `state` (null: none), extents that were there when the last scan ended are not looked at again: only
// what is newer is, against the anchors kept; and a scan that was cut short goes on from its last checkpoint.
// Such a scan misses what only a full one would find, since it comes about without new data: duplicates in
// old extents that files outside the scan held then, or that were too small a part of their extent; in files
// that were renamed into the scan or grew to the least size; and new data whose only equal is old, was no
// anchor, or became one only when another went.
absl::StatusOr<UncheckedFiles> ScanStorage(ExtentOps& ops, FileTree& tree, StorageMap& map,
                                           const ScanRequest& request,
                                           const std::function<bool(const std::string&)>& wanted,
                                           size_t index_budget, ScanStateFile* state, Pace& pace,
                                           const Stop& stop, SharedTotals& totals, SpaceWon& won,
                                           absl::FunctionRef<void(const Duplicate&)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_STORAGE_SCAN_H_
