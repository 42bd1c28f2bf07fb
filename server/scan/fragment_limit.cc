#include "server/scan/fragment_limit.h"

#include <algorithm>

#include "server/scan/share.h"

namespace cowherd {
namespace {

// Extents that the part of a file becomes.
uint64_t PiecesOf(const ExtentPlan& plan, const Reference& reference) {
  uint64_t pieces = 0;
  for (const Segment& segment : plan.segments) {
    if (segment.offset < reference.extent_offset + reference.length &&
        reference.extent_offset < segment.offset + segment.length) {
      // btrfs joins no extents that came by several calls.
      pieces += segment.pieces + (segment.move ? 0 : (segment.length - 1) / kMaxShareLength);
    }
  }
  return pieces;
}

}  // namespace

bool FragmentLimit::Take(const ExtentPlan& plan, ExtentsOf extents_of) {
  absl::flat_hash_map<FileKey, uint64_t> added;
  for (const Reference& reference : plan.references) {
    const uint64_t pieces = PiecesOf(plan, reference);
    if (pieces > 1) added[reference.file] += pieces - 1;
  }
  for (const auto& [file, more] : added) {
    auto known = extents_.find(file);
    if (known == extents_.end()) {
      if (extents_.size() >= kMaxFiles) extents_.clear();
      known = extents_.emplace(file, extents_of(file)).first;
    }
    if (known->second > max_extents_ || more > max_extents_ - known->second) return false;
  }
  for (const auto& [file, more] : added) {
    const auto known = extents_.find(file);
    if (known != extents_.end()) known->second += more;
  }
  return true;
}

}  // namespace cowherd
