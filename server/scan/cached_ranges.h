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

// What a scan brought into the page cache, so that it is taken out again, the oldest first. Keeps those files
// open. One thread.
class CachedRanges {
 public:
  explicit CachedRanges(ExtentOps& ops) : ops_(ops) {}
  ~CachedRanges() { ForgetUntil(0, 0); }
  CachedRanges(const CachedRanges&) = delete;
  CachedRanges& operator=(const CachedRanges&) = delete;

  void Add(std::shared_ptr<const OpenFile> file, uint64_t offset, uint64_t length) {
    bytes_ += length;
    if (!ranges_.empty()) {
      Range& last = ranges_.back();
      if (last.file == file && last.offset + last.length == offset && last.length < kMaxRange) {
        last.length += length;
        return;
      }
    }
    ranges_.push_back({std::move(file), offset, length});
  }

  // Until at most so many ranges and bytes are left.
  void ForgetUntil(size_t ranges, uint64_t bytes) {
    while (!ranges_.empty() && (ranges_.size() > ranges || bytes_ > bytes)) {
      const Range& oldest = ranges_.front();
      ops_.Forget(oldest.file->fd.get(), oldest.offset, oldest.length);
      bytes_ -= oldest.length;
      ranges_.pop_front();
    }
  }

 private:
  static constexpr uint64_t kMaxRange = 16 << 20;

  struct Range {
    std::shared_ptr<const OpenFile> file;
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  ExtentOps& ops_;
  std::deque<Range> ranges_;
  uint64_t bytes_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_CACHED_RANGES_H_
