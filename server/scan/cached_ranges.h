#ifndef COWHERD_SERVER_SCAN_CACHED_RANGES_H_
#define COWHERD_SERVER_SCAN_CACHED_RANGES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"

namespace cowherd {

// A range that was brought into the page cache.
struct CachedRange {
  std::shared_ptr<const OpenFile> file;
  uint64_t offset = 0;
  uint64_t length = 0;
};

// Takes it out of the page cache.
inline void Forget(ExtentOps& ops, const CachedRange& range) {
  ops.Forget(range.file->fd.get(), range.offset, range.length);
}

// What a scan brought into the page cache, so that it is taken out again, the oldest first. Keeps those files
// open. One thread.
class CachedRanges {
 public:
  explicit CachedRanges(ExtentOps& ops) : ops_(ops) {}
  ~CachedRanges() { ForgetAll(); }
  CachedRanges(const CachedRanges&) = delete;
  CachedRanges& operator=(const CachedRanges&) = delete;

  void Add(CachedRange range) {
    bytes_ += range.length;
    if (!ranges_.empty()) {
      CachedRange& last = ranges_.back();
      if (last.file == range.file && last.offset + last.length == range.offset && last.length < kMaxRange) {
        last.length += range.length;
        return;
      }
    }
    ranges_.push_back(std::move(range));
  }

  // Until at most so many ranges and bytes are left.
  void ForgetUntil(size_t ranges, uint64_t bytes) {
    while (!ranges_.empty() && (ranges_.size() > ranges || bytes_ > bytes)) {
      Forget(ops_, ranges_.front());
      bytes_ -= ranges_.front().length;
      ranges_.pop_front();
    }
  }
  void ForgetAll() { ForgetUntil(0, 0); }

 private:
  static constexpr uint64_t kMaxRange = 16 << 20;

  ExtentOps& ops_;
  std::deque<CachedRange> ranges_;
  uint64_t bytes_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_CACHED_RANGES_H_
