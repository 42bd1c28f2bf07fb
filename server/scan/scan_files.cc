#include "server/scan/scan_files.h"

#include <cerrno>
#include <utility>

#include "absl/hash/hash.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxOpen = 128;

// What a table of so many slots holds before it doubles.
constexpr size_t Filling(size_t slots) { return slots / 8 * 7; }

}  // namespace

ScanFiles::ScanFiles(FileTree& tree, Locate locate, size_t max_files)
    : tree_(tree),
      locate_(std::move(locate)),
      max_counted_(Filling(max_files)),
      max_located_(Filling(max_files / 16)) {}

void ScanFiles::Forget() {
  std::lock_guard<std::mutex> lock(mutex_);
  by_key_.clear();
  open_.clear();
  located_.clear();
}

absl::StatusOr<ScanFile> ScanFiles::Find(const FileKey& key) {
  std::lock_guard<std::mutex> lock(mutex_);
  return FindLocked(key);
}

absl::StatusOr<std::string> ScanFiles::Path(const FileKey& key) {
  ASSIGN_OR_RETURN(ScanFile file, Find(key));
  return std::move(file.path);
}

const absl::StatusOr<ScanFile>& ScanFiles::FindLocked(const FileKey& key) {
  const auto known = located_.find(key);
  if (known != located_.end()) return known->second;
  absl::StatusOr<ScanFile> file = locate_(key);
  const bool failed = !file.ok() && !absl::IsNotFound(file.status());
  if (failed) {
    LogFew(LogLevel::kWarning, "cannot find a file that has an extent",
           {{"subvolume", key.subvolume}, {"inode", key.inode}, {"error", file.status()}});
  }
  const uint64_t hash = absl::Hash<FileKey>()(key);
  if (!counted_.contains(hash)) {
    ++(file.ok() ? taken_ : failed ? failed_ : refused_);
    if (counted_.size() < max_counted_) counted_.insert(hash);
  }
  if (located_.size() >= max_located_) located_.clear();
  return located_.emplace(key, std::move(file)).first->second;
}

absl::StatusOr<OpenFile> ScanFiles::OpenAnew(const FileKey& key, const ScanFile& file) {
  if (file.generation != 0 && by_number_) {
    absl::StatusOr<OpenFile> opened = tree_.OpenByNumber(key, file.generation);
    const int error = ErrnoOf(opened.status());
    if (error != EPERM && error != EOPNOTSUPP) return opened;
    by_number_ = false;
  }
  ASSIGN_OR_RETURN(OpenFile opened, tree_.Open(file.path, /*for_destination=*/false));
  const bool is_other_device = file.device != 0 && file.device != opened.facts.device;
  if (opened.facts.inode != key.inode || is_other_device)
    return ErrnoError(ESTALE, "open a file by its path");
  return opened;
}

absl::StatusOr<std::shared_ptr<const OpenFile>> ScanFiles::Open(const FileKey& key) {
  absl::StatusOr<ScanFile> located;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto known = by_key_.find(key);
    if (known != by_key_.end()) {
      open_.splice(open_.begin(), open_, known->second);
      return open_.front().open;
    }
    located = FindLocked(key);
  }
  RETURN_IF_ERROR(located.status());
  ASSIGN_OR_RETURN(OpenFile opened, OpenAnew(key, *located));
  auto file = std::make_shared<const OpenFile>(std::move(opened));
  std::lock_guard<std::mutex> lock(mutex_);
  if (by_key_.contains(key)) return file;
  open_.push_front({key, file});
  by_key_[key] = open_.begin();
  if (open_.size() > kMaxOpen) {
    by_key_.erase(open_.back().key);
    open_.pop_back();
  }
  return file;
}

}  // namespace cowherd
