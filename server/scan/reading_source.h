#ifndef COWHERD_SERVER_SCAN_READING_SOURCE_H_
#define COWHERD_SERVER_SCAN_READING_SOURCE_H_

#include <cstdint>
#include <vector>

#include "server/scan/fingerprint_source.h"

namespace cowherd {

// Reads the data and hashes each block with XXH3 (64 bits). Works on every filesystem; costs one read of the
// data.
class ReadingSource final : public FingerprintSource {
 public:
  explicit ReadingSource(uint32_t block_size) : block_size_(block_size) {}

  absl::StatusOr<std::vector<Fingerprint>> Fingerprints(int fd, absl::Span<const FileExtent> extents,
                                                        uint64_t first_block, size_t count,
                                                        uint64_t& bytes_read) override;

 private:
  const uint32_t block_size_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_READING_SOURCE_H_
