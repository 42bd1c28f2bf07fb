#ifndef COWHERD_SERVER_SCAN_RECENT_FINGERPRINTS_H_
#define COWHERD_SERVER_SCAN_RECENT_FINGERPRINTS_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace cowherd {

// Fingerprints of sections of files, or checksums of extents, by address; keeps those used last. One thread.
class RecentFingerprints {
 public:
  // In bytes.
  explicit RecentFingerprints(size_t budget) : budget_(budget) {}

  // Null: not kept. Good until the next Keep.
  std::vector<uint64_t>* Find(uint64_t address) {
    const auto known = by_address_.find(address);
    if (known == by_address_.end()) return nullptr;
    sections_.splice(sections_.begin(), sections_, known->second);
    return &sections_.front().second;
  }

  // The newest stays, whatever its size.
  void Keep(uint64_t address, std::vector<uint64_t> fingerprints) {
    if (by_address_.contains(address)) return;
    bytes_ += BytesOf(fingerprints);
    sections_.emplace_front(address, std::move(fingerprints));
    by_address_[address] = sections_.begin();
    while (bytes_ > budget_ && sections_.size() > 1) {
      bytes_ -= BytesOf(sections_.back().second);
      by_address_.erase(sections_.back().first);
      sections_.pop_back();
    }
  }

  // Forgets those at these addresses.
  void Forget(absl::FunctionRef<bool(uint64_t address)> which) {
    for (auto section = sections_.begin(); section != sections_.end();) {
      if (!which(section->first)) {
        ++section;
        continue;
      }
      bytes_ -= BytesOf(section->second);
      by_address_.erase(section->first);
      section = sections_.erase(section);
    }
  }

  void Clear() {
    sections_.clear();
    by_address_.clear();
    bytes_ = 0;
  }

  size_t bytes() const { return bytes_; }

 private:
  using Sections = std::list<std::pair<uint64_t, std::vector<uint64_t>>>;

  // With the nodes of list and map.
  static size_t BytesOf(const std::vector<uint64_t>& fingerprints) {
    return fingerprints.capacity() * sizeof(uint64_t) + 128;
  }

  const size_t budget_;
  Sections sections_;  // last used first
  absl::flat_hash_map<uint64_t, Sections::iterator> by_address_;
  size_t bytes_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_RECENT_FINGERPRINTS_H_
