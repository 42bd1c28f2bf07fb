#ifndef COWHERD_SERVER_FS_EXTENT_OPS_H_
#define COWHERD_SERVER_FS_EXTENT_OPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cowherd {

// The kernel's limit for one Dedupe: its argument must fit into a page of 4 KiB (fs/ioctl.c; ENOMEM above).
constexpr size_t kMaxDedupeTargets = 127;
// The kernel's limit for one Dedupe: it silently does no more (fs/remap_range.c, since 5.0).
constexpr uint64_t kMaxDedupeLength = uint64_t{1} << 30;

// Where to share into.
struct DedupeTarget {
  int fd = -1;
  uint64_t offset = 0;
};

// The kernel's answer for one target.
struct DedupeAnswer {
  enum class Kind { kSame, kDiffers, kError };
  Kind kind = Kind::kError;
  // With kSame: bytes counted as the same, from the target's offset. May be less than asked for, may count
  // bytes that were not shared (odd tails, inline data) and even not compared: a tail that fills no block,
  // unless it ends both files, is left out by the kernel and counted all the same. Else 0.
  uint64_t bytes = 0;
  // With kError: a positive errno. Else 0.
  int error = 0;
};

// A stretch of a file that has storage, as FIEMAP tells it. What lies between two extents is a hole.
struct FileExtent {
  uint64_t offset = 0;
  uint64_t length = 0;
  // The filesystem's own address. Equal addresses of one filesystem are the same storage. Meaningless with
  // inline_data and delayed; with encoded it names the start of the encoded extent.
  uint64_t physical = 0;
  bool shared = false;
  bool inline_data = false;
  bool unwritten = false;
  bool encoded = false;
  bool delayed = false;
};

struct ExtentList {
  std::vector<FileExtent>
      extents;  // ascending; the first may begin before, the last end after the range asked for
  // Where to ask on; 0: the range is complete.
  uint64_t next_offset = 0;
};

struct FsFacts {
  std::string type;  // "btrfs", "xfs", else the type's number in hexadecimal
  std::string uuid;  // lower case with dashes; empty: the filesystem tells none
  // Tells filesystems apart while they are mounted; all btrfs subvolumes of one filesystem have the same.
  std::string identity;
  uint64_t size_bytes = 0;
  uint64_t free_bytes = 0;
  uint32_t block_size = 0;
  bool dedupe_supported = false;
  bool read_only = false;
  bool noatime = false;  // mounted so that reading changes no access time
};

// How much of a range is in the page cache, or on its way there.
enum class CachedPart { kLittle, kMost, kAll };

// What cowherd asks of a filesystem. Descriptors stay the caller's. Any thread; calls block.
// Errors are ErrnoError: they carry the errno.
class ExtentOps {
 public:
  virtual ~ExtentOps() = default;

  // What is read by multiples of this, from a multiple of it on, is compared twice as fast and costs half to
  // read, where the kernel can hold it as one (XFS since Linux 5.18).
  static constexpr uint64_t kLargeFolio = 2 << 20;
  // From this offset to the next such multiple: all of kLargeFolio where one begins.
  static constexpr uint64_t ToNextLargeFolio(uint64_t offset) { return kLargeFolio - offset % kLargeFolio; }

  // One FIDEDUPERANGE call (ioctl_fideduperange(2)): compares `length` bytes of each target with the source
  // and shares storage where they are equal. One answer per target, in order. An error: nothing was tried for
  // any target. `source` must be open for reading, at most kMaxDedupeTargets targets and kMaxDedupeLength
  // bytes.
  virtual absl::StatusOr<std::vector<DedupeAnswer>> Dedupe(int source, uint64_t offset, uint64_t length,
                                                           absl::Span<const DedupeTarget> targets) = 0;

  // Extents that touch [offset, offset + length), at most `max` (1 or more). With `flush`, first writes out
  // what is delayed, so that addresses are final. FIEMAP (Documentation/filesystems/fiemap.rst).
  virtual absl::StatusOr<ExtentList> Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                             bool flush) = 0;

  // Whether the kernel swaps to the file: then it shares nothing of it (ETXTBSY). False where that cannot be
  // told: on a read-only mount, or of a file that this process may not share. Changes nothing.
  virtual bool IsSwap(int fd) = 0;

  // Facts of the filesystem that holds `fd` (O_PATH will do).
  virtual absl::StatusOr<FsFacts> Facts(int fd) = 0;

  // Brings the range into the page cache, and nothing beyond it: a comparison of uncached data crawls at some
  // 30 MiB/s, since it reads page by page. Waits for it. What is cached is cheap, and so is what StartReading
  // began, which long ranges should be: else they are read 2 MiB after 2 MiB. Only a hint: errors show up in
  // Dedupe.
  virtual void Prefetch(int fd, uint64_t offset, uint64_t length) = 0;

  // The same, but does not wait for data, unless the device has enough to do already, or for large folios.
  // posix_fadvise(2) POSIX_FADV_WILLNEED, madvise(2) MADV_HUGEPAGE.
  virtual void StartReading(int fd, uint64_t offset, uint64_t length) = 0;

  // What of the range is cached, of long ranges by samples; with kAll there is nothing to Prefetch. With
  // length 0 it looks at the page at `offset`. Where the kernel has no cachestat(2), or refuses it, this is a
  // guess from a few pages, and never kAll but for a single page.
  virtual CachedPart Cached(int fd, uint64_t offset, uint64_t length) = 0;

  // Takes the range out of the page cache, but for what is written to or mapped. posix_fadvise(2)
  // POSIX_FADV_DONTNEED.
  virtual void Forget(int fd, uint64_t offset, uint64_t length) = 0;

  // syncfs(2): commits what was changed, so that free space is what it says. `fd` must not be O_PATH.
  virtual absl::Status Commit(int fd) = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_FS_EXTENT_OPS_H_
