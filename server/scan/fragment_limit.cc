#include "server/scan/fragment_limit.h"

#include <algorithm>

#include "server/scan/share.h"

namespace cowherd {
namespace {

// Blocks have as much or more.
constexpr uint64_t kLeastBlock = 4096;

}  // namespace

uint64_t FragmentLimit::PiecesOf(const ExtentPlan& plan, const std::vector<uint64_t>& cuts,
                                 const Reference& reference) const {
  uint64_t pieces = 0;
  const uint64_t reference_end = reference.extent_offset + reference.length;
  auto segment = std::partition_point(plan.segments.begin(), plan.segments.end(), [&](const Segment& s) {
    return s.offset + s.length <= reference.extent_offset;
  });
  for (; segment != plan.segments.end() && segment->offset < reference_end; ++segment) {
    const uint64_t begin = std::max(segment->offset, reference.extent_offset);
    const uint64_t end = std::min(segment->offset + segment->length, reference_end);
    // btrfs joins no extents that came by several calls.
    pieces += segment->pieces + (end - begin - 1) / kMaxShareLength;
    const auto inside = std::upper_bound(cuts.begin(), cuts.end(), begin);
    pieces += static_cast<uint64_t>(std::lower_bound(inside, cuts.end(), end) - inside);
    // What is moved lies behind something else, wherever the compressed extents begin.
    if (segment->move && may_compress_) {
      pieces += (end - begin - kLeastBlock + kMaxEncodedBytes - 1) / kMaxEncodedBytes;
    }
  }
  return pieces;
}

bool FragmentLimit::Take(const ExtentPlan& plan, ExtentsOf extents_of) {
  const std::vector<uint64_t> cuts = CutsOf(plan);
  absl::flat_hash_map<FileKey, uint64_t> added;
  for (const Reference& reference : plan.references) {
    const uint64_t pieces = PiecesOf(plan, cuts, reference);
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
