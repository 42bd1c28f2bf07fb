#ifndef COWHERD_SERVER_SCAN_FINGERPRINT_SOURCE_H_
#define COWHERD_SERVER_SCAN_FINGERPRINT_SOURCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

// Equal blocks have equal fingerprints; different ones nearly always different ones: the kernel compares
// before it shares. 0: nothing to compare here (a hole, inline data).
using Fingerprint = uint64_t;
constexpr Fingerprint kNoFingerprint = 0;

// Blocks are numbered from the file's beginning; the last one of a file may be partial, and equals only a
// partial block of the same length.
class FingerprintSource {
 public:
  virtual ~FingerprintSource() = default;

  // Fingerprints of `count` blocks from `first_block`, of those stretches that `extents` covers; 0 elsewhere
  // and beyond the end of the file. Extents without comparable data (inline, unwritten, delayed) are passed
  // over. Adds the bytes read from the file to `bytes_read`. Any thread.
  virtual absl::StatusOr<std::vector<Fingerprint>> Fingerprints(int fd, absl::Span<const FileExtent> extents,
                                                                uint64_t first_block, size_t count,
                                                                uint64_t& bytes_read) = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_FINGERPRINT_SOURCE_H_
