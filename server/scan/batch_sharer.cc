#include "server/scan/batch_sharer.h"

#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "server/scan/scan_files.h"
#include "server/scan/share_workers.h"

namespace cowherd {

struct BatchSharer::Running {
  Running(FileTree& tree, absl::flat_hash_map<FileKey, std::string> paths_of_files)
      : paths(std::move(paths_of_files)), files(tree, [this](const FileKey& key) { return Locate(key); }) {}

  absl::StatusOr<ScanFile> Locate(const FileKey& key) const {
    const auto path = paths.find(key);
    if (path == paths.end()) return absl::NotFoundError("not of this batch");
    ScanFile file;
    file.path = path->second;
    file.device = key.subvolume;
    return file;
  }

  const absl::flat_hash_map<FileKey, std::string> paths;
  ScanFiles files;
  std::vector<std::vector<ShareGroup>> parts;
  std::vector<FailedShare> failed;
  std::thread thread;
};

BatchSharer::BatchSharer(ExtentOps& ops, FileTree& tree, uint32_t block_size, unsigned workers,
                         uint64_t max_bytes, size_t max_files, Pace& pace, const Stop& stop,
                         SharedTotals& totals)
    : ops_(ops),
      tree_(tree),
      block_size_(block_size),
      workers_(workers),
      max_bytes_(max_bytes),
      max_files_(max_files),
      pace_(pace),
      stop_(stop),
      totals_(totals) {}

BatchSharer::~BatchSharer() { Wait(); }

void BatchSharer::Begin(ShareBatch batch) {
  Wait();
  if (batch.shares.empty()) return;
  running_ = std::make_unique<Running>(tree_, std::move(batch.paths));
  for (std::vector<Share>& shares : OrderShares(std::move(batch.shares))) {
    for (std::vector<ShareGroup>& part : SplitGroups(GroupShares(std::move(shares)), max_bytes_, max_files_))
      running_->parts.push_back(std::move(part));
  }
  totals_.Update([this](Totals& t) { t.work_planned += WorkOf(running_->parts); });
  running_->thread = std::thread([this] {
    ShareWorkers workers(workers_, ops_, tree_, running_->files, block_size_, pace_, stop_, totals_);
    for (std::vector<ShareGroup>& part : running_->parts) {
      workers.CarryOut(std::move(part));
      const std::vector<FailedShare>& failed = workers.failed();
      running_->failed.insert(running_->failed.end(), failed.begin(), failed.end());
    }
  });
}

void BatchSharer::Wait() {
  if (running_ == nullptr) return;
  running_->thread.join();
  failed_.insert(failed_.end(), running_->failed.begin(), running_->failed.end());
  running_.reset();
}

}  // namespace cowherd
