#ifndef COWHERD_SERVER_SCAN_FINGERPRINTS_H_
#define COWHERD_SERVER_SCAN_FINGERPRINTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

// Reads data and hashes each block with XXH3 (64 bits): equal blocks have equal fingerprints, different ones
// nearly always different ones. Of `count` blocks from `first_block`, those that `extents` touch; 0 elsewhere
// and beyond the end of the file. The last block of a file may be partial; it equals only a partial block of
// the same length. Adds the bytes read to `bytes_read`. Any thread.
absl::StatusOr<std::vector<uint64_t>> ReadFingerprints(int fd, uint32_t block_size,
                                                       absl::Span<const FileExtent> extents,
                                                       uint64_t first_block, size_t count,
                                                       uint64_t& bytes_read);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_FINGERPRINTS_H_
