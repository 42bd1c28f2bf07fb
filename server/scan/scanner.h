#ifndef COWHERD_SERVER_SCAN_SCANNER_H_
#define COWHERD_SERVER_SCAN_SCANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"

namespace cowherd {

// A checked TreeScan. Paths are below the root.
struct ScanRequest {
  std::vector<std::string> paths;  // empty: all
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  uint64_t min_extent_length = 16 << 10;
  uint64_t min_file_size = 4 << 10;
  bool dry_run = false;
  uint64_t bytes_per_second = 0;  // 0: no limit
  unsigned workers = 1;
};

// Two equal ranges that do not share storage.
struct Duplicate {
  std::string source_path;
  uint64_t source_offset = 0;
  std::string destination_path;
  uint64_t destination_offset = 0;
  uint64_t length = 0;
};

// Walks the tree once and, file by file, finds runs of blocks that an earlier place holds too, and shares
// their storage at once, while both sides are in the page cache. Memory is bounded by `index_budget` bytes
// and some MiB a worker.
//
// What cannot be shared is passed over: small files, holes, inline and preallocated stretches, other
// filesystems, files that are not regular, extents looked at before. Files that cannot be read are counted
// and logged; the scan goes on. `found` is called for each duplicate, from any worker, one at a time; if it
// blocks, the scan waits. Ends with OK, with `stop`'s reason, or with an error of the root itself; `totals`
// holds what was done in each case.
absl::Status ScanTree(ExtentOps& ops, FileTree& tree, const ScanRequest& request, size_t index_budget,
                      const Stop& stop, SharedTotals& totals,
                      absl::FunctionRef<void(const Duplicate&)> found);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SCANNER_H_
