#include "server/scan/scan_files.h"

#include <cerrno>
#include <utility>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxPaths = 1 << 16;

}  // namespace

absl::StatusOr<std::string> ScanFiles::Path(const FileKey& key) {
  const auto known = paths_.find(key);
  if (known != paths_.end()) return known->second;
  absl::StatusOr<std::string> path = FindPath(key);
  ++(path.ok() ? taken_ : refused_);
  if (paths_.size() >= kMaxPaths) paths_.clear();
  return paths_.emplace(key, std::move(path)).first->second;
}

absl::StatusOr<std::string> ScanFiles::FindPath(const FileKey& key) {
  ASSIGN_OR_RETURN(std::string path, map_.PathOf(key));
  if (!wanted_(path)) return absl::NotFoundError("not within the scan");
  if (min_size_ > 1) {
    ASSIGN_OR_RETURN(const OpenFile file, tree_.Open(path, /*for_destination=*/false));
    if (file.facts.size < min_size_) return absl::NotFoundError("smaller than the scan asks for");
  }
  return path;
}

absl::StatusOr<const OpenFile*> ScanFiles::Open(const FileKey& key) {
  const auto known = by_key_.find(key);
  if (known != by_key_.end()) {
    open_.splice(open_.begin(), open_, known->second);
    return &open_.front().open;
  }
  ASSIGN_OR_RETURN(const std::string path, Path(key));
  ASSIGN_OR_RETURN(OpenFile file, tree_.Open(path, /*for_destination=*/false));
  if (file.facts.inode != key.inode) return ErrnoError(ESTALE, "open a file by its number");
  open_.push_front({key, std::move(file)});
  by_key_[key] = open_.begin();
  if (open_.size() > kMaxOpen) {
    by_key_.erase(open_.back().key);
    open_.pop_back();
  }
  return &open_.front().open;
}

}  // namespace cowherd
