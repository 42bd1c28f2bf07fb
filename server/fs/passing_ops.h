#ifndef COWHERD_SERVER_FS_PASSING_OPS_H_
#define COWHERD_SERVER_FS_PASSING_OPS_H_

#include <vector>

#include "server/fs/extent_ops.h"

namespace cowherd {

// Passes all on to another, which must outlive it: for those that watch or change some of it.
class PassingOps : public ExtentOps {
 public:
  explicit PassingOps(ExtentOps& ops) : ops_(ops) {}

  absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                   absl::Span<const DedupeTarget> targets) override {
    return ops_.Dedupe(source, offset, length, targets);
  }
  absl::StatusOr<ExtentList> Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                     bool flush) override {
    return ops_.Extents(fd, offset, length, max, flush);
  }
  bool IsSwap(int fd) override { return ops_.IsSwap(fd); }
  absl::StatusOr<FsFacts> Facts(int fd) override { return ops_.Facts(fd); }
  void Prefetch(int fd, uint64_t offset, uint64_t length) override { ops_.Prefetch(fd, offset, length); }
  void StartReading(int fd, uint64_t offset, uint64_t length) override {
    ops_.StartReading(fd, offset, length);
  }
  CachedPart Cached(int fd, uint64_t offset, uint64_t length) override {
    return ops_.Cached(fd, offset, length);
  }
  void Forget(int fd, uint64_t offset, uint64_t length) override { ops_.Forget(fd, offset, length); }
  absl::Status Commit(int fd) override { return ops_.Commit(fd); }

 protected:
  ExtentOps& ops_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_PASSING_OPS_H_
