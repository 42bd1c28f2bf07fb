#ifndef COWHERD_SERVER_SCAN_RECLAIM_H_
#define COWHERD_SERVER_SCAN_RECLAIM_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/scan/extent_plan.h"
#include "server/scan/pace.h"
#include "server/scan/scan_files.h"
#include "server/scan/share.h"
#include "server/scan/share_worker.h"

namespace cowherd {

// Carries out plans: copies what is unique into unlinked files and shares the original places with the
// copies, then shares the duplicates with their sources. The kernel compares all of it, so no content can
// change; what differs by now is counted and moved too. One thread calls.
class Reclaim {
 public:
  // At most `workers` (1 or more) threads share at a time.
  Reclaim(ExtentOps& ops, FileTree& tree, ScanFiles& files, uint32_t block_size, unsigned workers, Pace& pace,
          const Stop& stop, SharedTotals& totals)
      : ops_(ops),
        tree_(tree),
        files_(files),
        block_size_(block_size),
        pace_(pace),
        stop_(stop),
        totals_(totals),
        workers_(workers, ShareWorker(ops, files, block_size, pace, stop, totals)) {}

  // By address. What cannot be copied, since it cannot be read or no space is left, stays as it is; that is
  // counted and logged. An error: `stop`'s, or no scratch file can be made. Ends committed when OK.
  absl::Status Run(const std::map<uint64_t, ExtentPlan>& batch);

  // Where moved data lies since the last call.
  std::vector<StorageExtent> TakeMoved();

 private:
  // A copy in a scratch file, and the places that are to share with it.
  struct Copy {
    size_t scratch = 0;  // index
    uint64_t offset = 0;
    std::vector<Share> places;
  };
  // Copies what is to be moved and adds what is to be shared; with an error, neither.
  absl::Status Prepare(const ExtentPlan& plan, std::vector<Share>& shares);
  // Ends committed.
  absl::Status CarryOut(std::vector<Share> shares, std::vector<Share> leftover);
  // Copies what the first of the places holds; all have the same length and storage.
  absl::Status CopyOut(const std::vector<Share>& places);
  // Those that could not be shared with their copy as a whole are added to `leftover`.
  absl::Status FinishCopies(std::vector<Share>& leftover);
  absl::Status MoveLeftover(std::vector<Share> leftover);
  absl::Status ShareAll(std::vector<Share> shares, std::vector<Share>& leftover);

  ExtentOps& ops_;
  FileTree& tree_;
  ScanFiles& files_;
  const uint32_t block_size_;
  Pace& pace_;
  const Stop& stop_;
  SharedTotals& totals_;
  std::vector<ShareWorker> workers_;
  std::vector<Fd> scratch_;  // the first takes whole blocks, each other one tail
  uint64_t scratch_size_ = 0;
  std::vector<Copy> copies_;
  std::vector<StorageExtent> moved_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_RECLAIM_H_
