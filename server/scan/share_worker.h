#ifndef COWHERD_SERVER_SCAN_SHARE_WORKER_H_
#define COWHERD_SERVER_SCAN_SHARE_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/fs/storage_map.h"
#include "server/scan/cached_ranges.h"
#include "server/scan/copy_out.h"
#include "server/scan/pace.h"
#include "server/scan/scan_files.h"
#include "server/scan/share.h"
#include "server/scan/share_queue.h"

namespace cowherd {

// Carries out what a queue says: reads ranges ahead, shares places with their sources, and moves what is to
// be moved, by copies. What that brings into the page cache is taken out again: a range goes as a whole if
// at most half of it was there before, and stays as a whole otherwise; after a stop what is on its way from
// the disk stays, too. One thread; several workers may empty one queue.
class ShareWorker {
 public:
  ShareWorker(ExtentOps& ops, FileTree& tree, ScanFiles& files, uint32_t block_size, Pace& pace,
              const Stop& stop, SharedTotals& totals)
      : ops_(ops),
        files_(files),
        block_size_(block_size),
        pace_(pace),
        stop_(stop),
        totals_(totals),
        copy_out_(tree, block_size),
        copied_(ops) {}

  // Until the queue is empty or `stop` says to end. Duplicates and what is read count in the totals, and what
  // differs is halved until the odd block is alone. What is to be moved is copied only: see FinishCopies.
  // What cannot be opened, read or copied is counted and logged, but for files that are gone.
  void Empty(ShareQueue& queue);

  // Shares the places of what was copied with the copies, and lets go of these; after a stop, only that.
  void FinishCopies();

  // Since the last call: what could not be shared or moved and does not count as failed.
  Leftover TakeLeftover() { return std::exchange(leftover_, {}); }
  // Since the last call: what failed to share or to be moved, or differs, and where one side is gone. Unless
  // the cause is kChanged the place keeps its storage.
  std::vector<FailedShare> TakeFailed() { return std::exchange(failed_, {}); }
  // Since the last call: where moved data lies.
  std::vector<StorageExtent> TakeMoved() { return std::exchange(moved_, {}); }

 private:
  struct Source {
    int fd = -1;
    uint64_t size = 0;
    uint64_t offset = 0;
  };
  struct Place {
    Share share;
    std::shared_ptr<const OpenFile> file;
  };

  void Begin(ShareQueue& queue, size_t range);
  // Short ranges that follow each other.
  void BeginTogether(ShareQueue& queue, size_t first, size_t count);
  void Await(ShareQueue& queue, size_t range);
  // How much to begin to read at once.
  uint64_t PieceAt(uint64_t offset, uint64_t left) const;
  // Begins to read it, unless all of it is cached. Tells what of it was.
  CachedPart StartReading(int fd, uint64_t offset, uint64_t length);
  // To share these places, which are given up if it cannot be opened: null.
  std::shared_ptr<const OpenFile> Open(const FileKey& file, absl::Span<const Share> places);
  // Counts.
  void Fail(absl::Span<const Share> places, FailedShare::Cause cause);
  void ShareOrCopy(ShareQueue& queue, size_t group);
  void Copy(std::shared_ptr<const OpenFile> file, absl::Span<const Share> places);
  void NotCopied(const absl::Status& why, absl::Span<const Share> places);
  // The kernel's error: for that place, or for all of the call.
  void Refused(const Source& source, const Share& place, const absl::Status& error, bool all);
  void ShareWith(const Source& source, absl::Span<const Place> places, bool duplicates);
  void Bisect(const Source& source, int destination, const Share& share);

  ExtentOps& ops_;
  ScanFiles& files_;
  const uint32_t block_size_;
  Pace& pace_;
  const Stop& stop_;
  SharedTotals& totals_;
  CopyOut copy_out_;
  CachedRanges copied_;  // read to be copied; to be read again when that is shared
  Leftover leftover_;
  std::vector<FailedShare> failed_;
  std::vector<StorageExtent> moved_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SHARE_WORKER_H_
