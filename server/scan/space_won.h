#ifndef COWHERD_SERVER_SCAN_SPACE_WON_H_
#define COWHERD_SERVER_SCAN_SPACE_WON_H_

#include <chrono>
#include <cstdint>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

// Measures the free space that a scan won and keeps it in its totals. `root` as FileTree::root_fd. Any
// thread.
class SpaceWon {
 public:
  SpaceWon(ExtentOps& ops, int root, SharedTotals& totals) : ops_(ops), root_(root), totals_(totals) {}

  // Commits, then counts from here on.
  absl::Status Begin();
  // Commits and counts.
  absl::Status Measure();
  // Measures if the last time is half a minute ago and nobody else does: that takes a commit.
  void MeasureNowAndThen();

 private:
  absl::StatusOr<uint64_t> CommittedFree();

  ExtentOps& ops_;
  const int root_;
  SharedTotals& totals_;
  std::mutex mutex_;
  uint64_t before_ = 0;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SPACE_WON_H_
