#ifndef COWHERD_TESTS_KERNEL_SCAN_LOOP_H_
#define COWHERD_TESTS_KERNEL_SCAN_LOOP_H_

#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/scan/scanner.h"
#include "tests/testing/loop_filesystem.h"

namespace cowherd {

struct Scanned {
  absl::Status status;
  Totals totals;
};

// A scan of all of a loop filesystem.
inline Scanned ScanLoop(const LoopFilesystem& loop, const ScanRequest& request, const Stop& stop,
                        absl::FunctionRef<void(const Duplicate&)> found) {
  LinuxFileTrees trees;
  const auto tree = trees.OpenRoot({"test", loop.path(), loop.path()});
  if (!tree.ok()) return {tree.status(), {}};
  LinuxExtentOps ops;
  SharedTotals totals;
  Pace pace(0, nullptr, totals);
  absl::Status status = ScanTree(ops, **tree, request, 1 << 20, pace, stop, totals, found);
  return {std::move(status), totals.Get()};
}

}  // namespace cowherd

#endif  // COWHERD_TESTS_KERNEL_SCAN_LOOP_H_
