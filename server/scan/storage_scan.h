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
#include "server/scan/scan_types.h"

namespace cowherd {

// The scan of a filesystem that keeps checksums: reads no data to find duplicates. Goes through the storage
// once, by address, each extent once however many files and snapshots share it; extents whose space would
// come back are planned in batches, and each batch is carried out before the next. `wanted` says by its path
// whether a file is within the scan. Else as ScanTree; the caller measures the space won. Returns the paths
// of files that have no checksums.
absl::StatusOr<std::vector<std::string>> ScanStorage(ExtentOps& ops, FileTree& tree, StorageMap& map,
                                                     const ScanRequest& request,
                                                     const std::function<bool(const std::string&)>& wanted,
                                                     size_t index_budget, const Stop& stop,
                                                     SharedTotals& totals,
                                                     absl::FunctionRef<void(const Duplicate&)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_STORAGE_SCAN_H_
