#include "server/scan/block_index.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace cowherd {
namespace {

// A slot of absl::flat_hash_map and its control byte.
constexpr size_t kSlotBytes = sizeof(std::pair<Fingerprint, BlockIndex::Location>) + 1;

// While the table doubles, the old one is there too: the largest table takes two thirds of what it is given.
// A table filled above 25/32 doubles when erased entries are in the way; below, it cleans up in place.
size_t LargestTable(size_t budget) {
  size_t slots = 1024;
  while (slots * 2 * kSlotBytes * 3 / 2 <= budget) slots *= 2;
  return slots / 32 * 25;
}

}  // namespace

// A quarter of the budget is for paths and records of files in use, a quarter for records used no longer.
BlockIndex::BlockIndex(size_t budget)
    : budget_(std::max<size_t>(budget, 1 << 20)), max_entries_(LargestTable(budget_ / 4 * 3)) {}

BlockIndex::FileId BlockIndex::AddFile(std::string path) {
  std::lock_guard<std::mutex> lock(mutex_);
  path_bytes_ += path.size();
  FileId id = 0;
  if (free_files_.empty()) {
    id = static_cast<FileId>(files_.size());
    files_.emplace_back();
  } else {
    id = free_files_.back();
    free_files_.pop_back();
  }
  files_[id] = {std::move(path), 1};
  MakeRoomLocked();
  return id;
}

void BlockIndex::ReleaseFile(FileId file) {
  std::lock_guard<std::mutex> lock(mutex_);
  UnreferenceLocked(file);
}

std::string BlockIndex::PathOf(FileId file) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return files_[file].path;
}

absl::optional<BlockIndex::Location> BlockIndex::FindOrInsert(Fingerprint fingerprint, Location here) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsAnchor(fingerprint)) return absl::nullopt;
  const auto [entry, inserted] = anchors_.try_emplace(fingerprint, here);
  if (!inserted) return entry->second;
  ++files_[here.file].references;
  MakeRoomLocked();
  return absl::nullopt;
}

void BlockIndex::Replace(Fingerprint fingerprint, Location here) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto entry = anchors_.find(fingerprint);
  if (entry == anchors_.end()) return;
  ++files_[here.file].references;
  UnreferenceLocked(std::exchange(entry->second, here).file);
}

void BlockIndex::UnreferenceLocked(FileId file) {
  File& record = files_[file];
  if (--record.references > 0) return;
  path_bytes_ -= record.path.size();
  record.path = std::string();
  free_files_.push_back(file);
}

void BlockIndex::MakeRoomLocked() {
  // Records of files are used again, but never fewer: what counts here is those in use.
  while ((anchors_.size() >= max_entries_ ||
          (files_.size() - free_files_.size()) * (sizeof(File) + 2 * sizeof(FileId)) + path_bytes_ >
              budget_ / 4) &&
         !anchors_.empty() && mask_ != UINT64_MAX) {
    mask_ = mask_ * 2 + 1;
    absl::erase_if(anchors_, [this](const auto& entry) {
      if (IsAnchor(entry.first)) return false;
      UnreferenceLocked(entry.second.file);
      return true;
    });
  }
}

size_t BlockIndex::BytesLocked() const {
  return anchors_.capacity() * kSlotBytes + files_.size() * sizeof(File) +
         free_files_.capacity() * sizeof(FileId) + path_bytes_;
}

size_t BlockIndex::bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return BytesLocked();
}

size_t BlockIndex::entries() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return anchors_.size();
}

int BlockIndex::sampling() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return __builtin_popcountll(mask_);
}

}  // namespace cowherd
