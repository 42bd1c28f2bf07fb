#ifndef COWHERD_SERVER_SCAN_SHARE_WORKERS_H_
#define COWHERD_SERVER_SCAN_SHARE_WORKERS_H_

#include <cstdint>
#include <deque>
#include <vector>

#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/fs/storage_map.h"
#include "server/scan/pace.h"
#include "server/scan/scan_files.h"
#include "server/scan/share.h"
#include "server/scan/share_worker.h"

namespace cowherd {

// Workers that carry out groups together, each on a thread. One thread calls.
class ShareWorkers {
 public:
  // `count`: 1 or more.
  ShareWorkers(unsigned count, ExtentOps& ops, FileTree& tree, ScanFiles& files, uint32_t block_size,
               Pace& pace, const Stop& stop, SharedTotals& totals);

  // All of these groups, which are kept in the page cache together and have their files open, or until `stop`
  // says to end. As work done in the totals all of it counts, also what could not be read. See
  // ShareWorker::TakeLeftover.
  Leftover CarryOut(std::vector<ShareGroup> groups);

  // Of the last call: see ShareWorker::TakeFailed.
  const std::vector<FailedShare>& failed() const { return failed_; }

  // Since the last call: where moved data lies.
  std::vector<StorageExtent> TakeMoved();

 private:
  ExtentOps& ops_;
  Pace& pace_;
  const Stop& stop_;
  SharedTotals& totals_;
  std::deque<ShareWorker> workers_;
  std::vector<FailedShare> failed_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SHARE_WORKERS_H_
