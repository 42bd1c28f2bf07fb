#ifndef COWHERD_SERVER_SCAN_SHARE_WORKER_H_
#define COWHERD_SERVER_SCAN_SHARE_WORKER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/scan/pace.h"
#include "server/scan/scan_files.h"
#include "server/scan/share.h"

namespace cowherd {

// Groups to be carried out, each once. Any thread.
class ShareQueue {
 public:
  explicit ShareQueue(std::vector<ShareGroup> groups) : groups_(std::move(groups)) {}

  // Null: there are no more.
  const ShareGroup* Next() {
    const size_t next = next_++;
    return next < groups_.size() ? &groups_[next] : nullptr;
  }

 private:
  const std::vector<ShareGroup> groups_;
  std::atomic<size_t> next_{0};
};

// Shares places with their sources. Opens files and has them read while earlier groups are compared: one
// after the other, each would take the disk's latency. What that brings into the page cache is taken out
// again. One thread; several workers may empty one queue, at some 100 MiB of page cache and 400 open files
// each.
class ShareWorker {
 public:
  struct Source {
    int fd = -1;
    uint64_t size = 0;
    uint64_t offset = 0;
  };
  struct Place {
    Share share;
    std::shared_ptr<const OpenFile> file;
  };

  ShareWorker(ExtentOps& ops, ScanFiles& files, uint32_t block_size, Pace& pace, const Stop& stop,
              SharedTotals& totals)
      : ops_(ops), files_(files), block_size_(block_size), pace_(pace), stop_(stop), totals_(totals) {}

  // Until the queue is empty or `stop` says to end. The shares are duplicates: they count in the totals, and
  // what differs is halved until the odd block is alone.
  void Empty(ShareQueue& queue);

  // Shares copies of what is to be moved; nothing is counted.
  void ShareCopies(const Source& source, absl::Span<const Place> places) {
    ShareWith(source, places, /*duplicates=*/false);
  }

  // What could not be shared since the last call, because it differs or is not whole blocks.
  std::vector<Share> TakeLeftover() { return std::exchange(leftover_, {}); }

 private:
  struct ReadyGroup {
    std::shared_ptr<const OpenFile> source;
    uint64_t offset = 0;  // in the source
    std::vector<Place> places;
    uint64_t bytes = 0;
  };

  struct CachedRange {
    std::shared_ptr<const OpenFile> file;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  absl::optional<ReadyGroup> Open(const ShareGroup& group);
  void Read(const std::shared_ptr<const OpenFile>& file, uint64_t offset, uint64_t length);
  // Takes the oldest out of the page cache, until so much is left.
  void ForgetUntil(size_t ranges, uint64_t bytes);
  void ShareWith(const Source& source, absl::Span<const Place> places, bool duplicates);
  void Bisect(const Source& source, int destination, const Share& share);

  ExtentOps& ops_;
  ScanFiles& files_;
  const uint32_t block_size_;
  Pace& pace_;
  const Stop& stop_;
  SharedTotals& totals_;
  std::vector<Share> leftover_;
  std::deque<CachedRange> brought_in_;  // into the page cache, by this worker
  uint64_t brought_bytes_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SHARE_WORKER_H_
