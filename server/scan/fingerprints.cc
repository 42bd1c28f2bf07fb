#include "server/scan/fingerprints.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>

#include "server/base/full_io.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// The kernel's readahead; stays in the processor's cache between reading and hashing.
constexpr uint64_t kReadBytes = 128 << 10;

}  // namespace

absl::StatusOr<std::vector<uint64_t>> ReadFingerprints(int fd, uint32_t block_size,
                                                       absl::Span<const FileExtent> extents,
                                                       uint64_t first_block, size_t count,
                                                       uint64_t& bytes_read) {
  std::vector<uint64_t> fingerprints(count, 0);
  const uint64_t window_end = (first_block + count) * block_size;
  const uint64_t buffer_size = std::max<uint64_t>(kReadBytes, block_size);
  const std::unique_ptr<char[]> buffer(new char[buffer_size]);
  uint64_t at = first_block * block_size;
  for (const FileExtent& extent : extents) {
    at = std::max(at, extent.offset / block_size * block_size);
    const uint64_t end = std::min(window_end, extent.offset + extent.length);
    while (at < end) {
      // Whole blocks, so that one that two extents share is read once and whole.
      const uint64_t want = std::min(buffer_size, (end - at + block_size - 1) / block_size * block_size);
      ASSIGN_OR_RETURN(const size_t got, ReadFully(fd, buffer.get(), want, at));
      bytes_read += got;
      for (size_t done = 0; done < got; done += block_size) {
        const size_t length = std::min<size_t>(block_size, got - done);
        // Seeded with the length: a partial block is not equal to a whole one that begins alike.
        const uint64_t hash = XXH3_64bits_withSeed(buffer.get() + done, length, length);
        fingerprints[(at + done) / block_size - first_block] = hash == 0 ? 1 : hash;
      }
      at += want;
      if (got < want) return fingerprints;
    }
  }
  return fingerprints;
}

}  // namespace cowherd
