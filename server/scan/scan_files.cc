#include "server/scan/scan_files.h"

#include <cerrno>
#include <utility>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxPaths = 1 << 16;
constexpr size_t kMaxOpen = 128;

}  // namespace

absl::StatusOr<std::string> ScanFiles::Path(const FileKey& key) {
  std::lock_guard<std::mutex> lock(mutex_);
  return PathLocked(key);
}

absl::StatusOr<std::string> ScanFiles::PathLocked(const FileKey& key) {
  const auto known = paths_.find(key);
  if (known != paths_.end()) return known->second;
  absl::StatusOr<std::string> path = path_of_(key);
  ++(path.ok() ? taken_ : refused_);
  if (paths_.size() >= kMaxPaths) paths_.clear();
  return paths_.emplace(key, std::move(path)).first->second;
}

absl::StatusOr<std::shared_ptr<const OpenFile>> ScanFiles::Open(const FileKey& key) {
  absl::StatusOr<std::string> path;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto known = by_key_.find(key);
    if (known != by_key_.end()) {
      open_.splice(open_.begin(), open_, known->second);
      return open_.front().open;
    }
    path = PathLocked(key);
  }
  RETURN_IF_ERROR(path.status());
  ASSIGN_OR_RETURN(OpenFile opened, tree_.Open(*path, /*for_destination=*/false));
  if (opened.facts.inode != key.inode) return ErrnoError(ESTALE, "open a file by its number");
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
