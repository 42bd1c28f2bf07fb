#include "server/scan/scan_files.h"

#include <cerrno>
#include <utility>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxAnswers = 1 << 16;

}  // namespace

absl::StatusOr<const ScanFiles::File*> ScanFiles::Open(const FileKey& key) {
  const auto known = by_key_.find(key);
  if (known != by_key_.end()) {
    open_.splice(open_.begin(), open_, known->second);
    return &open_.front();
  }
  const auto answered = answers_.find(key);
  if (answered != answers_.end() && !answered->second.ok()) return answered->second;
  absl::StatusOr<File> file = OpenAnew(key);
  if (answered == answers_.end()) {
    ++(file.ok() ? taken_ : refused_);
    if (answers_.size() >= kMaxAnswers) answers_.clear();
    answers_.emplace(key, file.status());
  }
  RETURN_IF_ERROR(file.status());
  open_.push_front(*std::move(file));
  by_key_[key] = open_.begin();
  if (open_.size() > kMaxOpen) {
    by_key_.erase(open_.back().key);
    open_.pop_back();
  }
  return &open_.front();
}

absl::StatusOr<ScanFiles::File> ScanFiles::OpenAnew(const FileKey& key) {
  ASSIGN_OR_RETURN(std::string path, map_.PathOf(key));
  if (!wanted_(path)) return absl::NotFoundError("not within the scan");
  ASSIGN_OR_RETURN(OpenFile file, tree_.Open(path, /*for_destination=*/false));
  if (file.facts.inode != key.inode) return ErrnoError(ESTALE, "open a file by its number");
  if (file.facts.size < min_size_) return absl::NotFoundError("smaller than the scan asks for");
  return File{key, std::move(path), std::move(file)};
}

}  // namespace cowherd
