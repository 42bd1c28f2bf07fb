#ifndef COWHERD_SERVER_FS_LINUX_EXTENT_OPS_H_
#define COWHERD_SERVER_FS_LINUX_EXTENT_OPS_H_

#include <vector>

#include "server/fs/extent_ops.h"

namespace cowherd {

// The running kernel's filesystems. Facts needs procfs for O_PATH descriptors. Holds nothing.
class LinuxExtentOps final : public ExtentOps {
 public:
  // Whether XFS can read kLargeFolio as one: since Linux 5.18, with huge pages of this size, unless
  // /sys/kernel/mm/transparent_hugepage/enabled says never.
  static bool KernelReadsLargeFolios();

  absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                   absl::Span<const DedupeTarget> targets) override;
  absl::StatusOr<ExtentList> Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                     bool flush) override;
  bool IsSwap(int fd) override;
  absl::StatusOr<FsFacts> Facts(int fd) override;
  void Prefetch(int fd, uint64_t offset, uint64_t length) override;
  void StartReading(int fd, uint64_t offset, uint64_t length) override;
  CachedPart Cached(int fd, uint64_t offset, uint64_t length) override;
  void Forget(int fd, uint64_t offset, uint64_t length) override;
  absl::Status Commit(int fd) override;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_LINUX_EXTENT_OPS_H_
