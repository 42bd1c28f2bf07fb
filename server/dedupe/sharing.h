#ifndef COWHERD_SERVER_DEDUPE_SHARING_H_
#define COWHERD_SERVER_DEDUPE_SHARING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/fs/extent_ops.h"

namespace cowherd {

// A stretch of two ranges of the same length, from their beginnings.
struct Stretch {
  uint64_t offset = 0;
  uint64_t length = 0;
};

// The stretches of two ranges that do not lie on the same storage, given each file's extents. Pure. Holes,
// inline data and what is not on disk yet never count as shared. Compressed extents count as shared where
// they have the same address: FIEMAP does not tell which part of one a range uses.
std::vector<Stretch> UnsharedStretches(absl::Span<const FileExtent> source, uint64_t source_offset,
                                       absl::Span<const FileExtent> destination, uint64_t destination_offset,
                                       uint64_t length);

// The same, asking `ops` for the extents. `flush` as in ExtentOps::Extents.
absl::StatusOr<std::vector<Stretch>> FindUnshared(ExtentOps& ops, int source, uint64_t source_offset,
                                                  int destination, uint64_t destination_offset,
                                                  uint64_t length, bool flush);

// All extents that touch the range.
absl::StatusOr<std::vector<FileExtent>> AllExtents(ExtentOps& ops, int fd, uint64_t offset, uint64_t length,
                                                   bool flush);

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_SHARING_H_
