#include "server/scan/batch_sharer.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/status/statusor.h"
#include "server/scan/scan_files.h"
#include "server/scan/share_worker.h"

namespace cowherd {

struct BatchSharer::Running {
  Running(FileTree& tree, ShareBatch batch)
      : paths(std::move(batch.paths)),
        files(tree, [this](const FileKey& key) { return Locate(key); }),
        queue(GroupShares(std::move(batch.shares))) {}

  absl::StatusOr<ScanFile> Locate(const FileKey& key) const {
    const auto path = paths.find(key);
    if (path == paths.end()) return absl::NotFoundError("not of this batch");
    return ScanFile{path->second, /*generation=*/0};
  }

  const absl::flat_hash_map<FileKey, std::string> paths;
  ScanFiles files;
  ShareQueue queue;
  std::vector<std::thread> threads;
};

BatchSharer::BatchSharer(ExtentOps& ops, FileTree& tree, uint32_t block_size, unsigned workers, Pace& pace,
                         const Stop& stop, SharedTotals& totals)
    : ops_(ops),
      tree_(tree),
      block_size_(block_size),
      workers_(workers),
      pace_(pace),
      stop_(stop),
      totals_(totals) {}

BatchSharer::~BatchSharer() { Wait(); }

void BatchSharer::Begin(ShareBatch batch) {
  Wait();
  if (batch.shares.empty()) return;
  running_ = std::make_unique<Running>(tree_, std::move(batch));
  for (unsigned i = 0; i < workers_; ++i) {
    running_->threads.emplace_back([this] {
      ShareWorker(ops_, running_->files, block_size_, pace_, stop_, totals_).Empty(running_->queue);
    });
  }
}

void BatchSharer::Wait() {
  if (running_ == nullptr) return;
  for (std::thread& thread : running_->threads) thread.join();
  running_.reset();
}

}  // namespace cowherd
