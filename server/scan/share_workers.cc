#include "server/scan/share_workers.h"

#include <algorithm>
#include <utility>

#include "server/base/on_threads.h"
#include "server/scan/cached_ranges.h"
#include "server/scan/share_queue.h"

namespace cowherd {

ShareWorkers::ShareWorkers(unsigned count, ExtentOps& ops, FileTree& tree, ScanFiles& files,
                           uint32_t block_size, Pace& pace, const Stop& stop, SharedTotals& totals)
    : ops_(ops), pace_(pace), stop_(stop), totals_(totals) {
  for (unsigned i = 0; i < count; ++i)
    workers_.emplace_back(ops, tree, files, block_size, pace, stop, totals);
}

Leftover ShareWorkers::CarryOut(std::vector<ShareGroup> groups) {
  const uint64_t done = totals_.Get().work_done + WorkOf(groups);
  ShareQueue queue(std::move(groups), pace_.step());
  OnThreads(workers_.size(), [&](size_t i) {
    workers_[i].Empty(queue);
    workers_[i].FinishCopies();
  });
  const std::vector<CachedRange> cached = queue.AllDone();
  if (!cached.empty()) {
    const size_t threads = std::min(workers_.size(), cached.size());
    OnThreads(threads, [&](size_t first) {
      for (size_t i = first; i < cached.size(); i += threads) Forget(ops_, cached[i]);
    });
  }
  Leftover leftover;
  failed_.clear();
  for (ShareWorker& worker : workers_) {
    leftover.Add(worker.TakeLeftover());
    for (const FailedShare& share : worker.TakeFailed()) failed_.push_back(share);
  }
  if (stop_.Check().ok()) totals_.Update([done](Totals& t) { t.work_done = done; });
  return leftover;
}

std::vector<StorageExtent> ShareWorkers::TakeMoved() {
  std::vector<StorageExtent> moved;
  for (ShareWorker& worker : workers_) {
    for (const StorageExtent& extent : worker.TakeMoved()) moved.push_back(extent);
  }
  return moved;
}

}  // namespace cowherd
