#ifndef COWHERD_SERVER_SCAN_RECLAIM_H_
#define COWHERD_SERVER_SCAN_RECLAIM_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/scan/extent_plan.h"
#include "server/scan/pace.h"
#include "server/scan/scan_files.h"
#include "server/scan/share.h"
#include "server/scan/share_workers.h"

namespace cowherd {

// Carries out plans: shares the duplicates with their sources, copies what is unique into unlinked files and
// shares the original places with the copies. The kernel compares all of it, so no content can change; what
// differs by now is counted and moved too. Nothing is copied for an extent that has to stay since a place of
// it refused to share, as all of a snapshot that is being sent do. One thread calls.
class Reclaim {
 public:
  // At most `workers` (1 or more) threads share at a time. `page_cache` bytes are brought into the page cache
  // and kept there until they are shared, with `open_files` files. What was taken for a duplicate and is none
  // is moved too, as long as the extent gives up `freed_per_moved` bytes for each byte.
  Reclaim(ExtentOps& ops, FileTree& tree, ScanFiles& files, uint32_t block_size, unsigned workers,
          uint64_t freed_per_moved, uint64_t page_cache, size_t open_files, Pace& pace, const Stop& stop,
          SharedTotals& totals)
      : ops_(ops),
        tree_(tree),
        workers_(workers, ops, tree, files, block_size, pace, stop, totals),
        freed_per_moved_(freed_per_moved),
        page_cache_(page_cache),
        open_files_(open_files),
        stop_(stop),
        totals_(totals) {}

  // By address. What cannot be shared or moved stays as it is; that is counted and logged. An error:
  // `stop`'s, or the commit's. Ends committed when OK.
  absl::Status Run(const std::map<uint64_t, ExtentPlan>& batch);

  // Where moved data lies since the last call.
  std::vector<StorageExtent> TakeMoved() { return workers_.TakeMoved(); }

 private:
  // What was to be moved of extents that stay; it counts as done.
  void DropStaying(std::vector<std::vector<ShareGroup>>& parts);
  // What is left of duplicates, and of moves, which count as moved already.
  absl::Status MoveLeftover(const std::map<uint64_t, ExtentPlan>& batch, std::vector<Share> duplicates,
                            Leftover moves);
  // Those of extents that still give up enough; the others stay.
  std::vector<Share> WorthMoving(const std::map<uint64_t, ExtentPlan>& batch, std::vector<Share> duplicates);
  // Counts them as planned work.
  std::vector<std::vector<ShareGroup>> PlanParts(std::vector<ShareGroup> groups);
  absl::StatusOr<Leftover> Carry(std::vector<std::vector<ShareGroup>> parts);

  ExtentOps& ops_;
  FileTree& tree_;
  ShareWorkers workers_;
  const uint64_t freed_per_moved_;
  const uint64_t page_cache_;
  const size_t open_files_;
  const Stop& stop_;
  SharedTotals& totals_;
  absl::flat_hash_set<uint64_t> stay_;  // of a batch: addresses of extents that cannot go free
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_RECLAIM_H_
