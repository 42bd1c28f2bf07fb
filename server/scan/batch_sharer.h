#ifndef COWHERD_SERVER_SCAN_BATCH_SHARER_H_
#define COWHERD_SERVER_SCAN_BATCH_SHARER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/scan/pace.h"
#include "server/scan/share.h"

namespace cowherd {

// Places that are to share, and the paths of the files they are in.
struct ShareBatch {
  std::vector<Share> shares;
  absl::flat_hash_map<FileKey, std::string> paths;
};

// Carries out one batch after the other in the background, in parts that read and keep at most `max_bytes`
// and have at most `max_files` open, but for groups that alone are more. What differs by now is counted and
// left, and told. One thread uses it.
class BatchSharer {
 public:
  BatchSharer(ExtentOps& ops, FileTree& tree, uint32_t block_size, unsigned workers, uint64_t max_bytes,
              size_t max_files, Pace& pace, const Stop& stop, SharedTotals& totals);
  ~BatchSharer();

  // Waits for the batch before.
  void Begin(ShareBatch batch);
  void Wait();

  // Of the batches that ended since the last call: what failed to share, or differed.
  std::vector<FailedShare> TakeFailed() { return std::exchange(failed_, {}); }

 private:
  struct Running;

  ExtentOps& ops_;
  FileTree& tree_;
  const uint32_t block_size_;
  const unsigned workers_;
  const uint64_t max_bytes_;
  const size_t max_files_;
  Pace& pace_;
  const Stop& stop_;
  SharedTotals& totals_;
  std::unique_ptr<Running> running_;
  std::vector<FailedShare> failed_;  // of batches that ended
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_BATCH_SHARER_H_
