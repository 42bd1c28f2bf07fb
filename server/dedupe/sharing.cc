#include "server/dedupe/sharing.h"

#include <algorithm>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kExtentsPerCall = 4096;

bool HasAddress(const FileExtent& extent) {
  return !extent.inline_data && !extent.delayed && !extent.unwritten;
}

// The first extent that ends behind `offset`.
size_t FirstBehind(absl::Span<const FileExtent> extents, uint64_t offset) {
  return std::partition_point(extents.begin(), extents.end(),
                              [offset](const FileExtent& e) { return e.offset + e.length <= offset; }) -
         extents.begin();
}

bool SameStorage(const FileExtent& a, uint64_t a_offset, const FileExtent& b, uint64_t b_offset) {
  if (!HasAddress(a) || !HasAddress(b) || a.encoded != b.encoded) return false;
  if (a.encoded) return a.physical == b.physical;
  return a.physical + (a_offset - a.offset) == b.physical + (b_offset - b.offset);
}

}  // namespace

std::vector<Stretch> UnsharedStretches(absl::Span<const FileExtent> source, uint64_t source_offset,
                                       absl::Span<const FileExtent> destination, uint64_t destination_offset,
                                       uint64_t length) {
  std::vector<Stretch> unshared;
  size_t s = FirstBehind(source, source_offset);
  size_t d = FirstBehind(destination, destination_offset);
  for (uint64_t at = 0; at < length;) {
    const uint64_t so = source_offset + at;
    const uint64_t dof = destination_offset + at;
    while (s < source.size() && source[s].offset + source[s].length <= so) ++s;
    while (d < destination.size() && destination[d].offset + destination[d].length <= dof) ++d;
    const bool in_source = s < source.size() && source[s].offset <= so;
    const bool in_destination = d < destination.size() && destination[d].offset <= dof;
    // Up to where neither side enters or leaves an extent.
    uint64_t step = length - at;
    if (s < source.size()) {
      step = std::min(step, (in_source ? source[s].offset + source[s].length : source[s].offset) - so);
    }
    if (d < destination.size()) {
      step = std::min(
          step,
          (in_destination ? destination[d].offset + destination[d].length : destination[d].offset) - dof);
    }
    if (!in_source || !in_destination || !SameStorage(source[s], so, destination[d], dof)) {
      if (!unshared.empty() && unshared.back().offset + unshared.back().length == at) {
        unshared.back().length += step;
      } else {
        unshared.push_back({at, step});
      }
    }
    at += step;
  }
  return unshared;
}

absl::StatusOr<std::vector<FileExtent>> AllExtents(ExtentOps& ops, int fd, uint64_t offset, uint64_t length,
                                                   bool flush) {
  std::vector<FileExtent> extents;
  const uint64_t end = offset + length;
  while (offset < end) {
    ASSIGN_OR_RETURN(ExtentList part, ops.Extents(fd, offset, end - offset, kExtentsPerCall, flush));
    extents.insert(extents.end(), part.extents.begin(), part.extents.end());
    if (part.next_offset == 0) break;
    offset = part.next_offset;
    flush = false;
  }
  return extents;
}

absl::StatusOr<std::vector<Stretch>> FindUnshared(ExtentOps& ops, int source, uint64_t source_offset,
                                                  int destination, uint64_t destination_offset,
                                                  uint64_t length, bool flush) {
  ASSIGN_OR_RETURN(std::vector<FileExtent> from, AllExtents(ops, source, source_offset, length, flush));
  ASSIGN_OR_RETURN(std::vector<FileExtent> to,
                   AllExtents(ops, destination, destination_offset, length, flush));
  return UnsharedStretches(from, source_offset, to, destination_offset, length);
}

}  // namespace cowherd
