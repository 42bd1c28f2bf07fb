#include "server/scan/estimate.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

namespace cowherd {
namespace {

struct Range {
  FilePosition from;
  uint64_t length = 0;
};

// What overlaps counts once.
uint64_t Covered(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::tie(a.from.file, a.from.offset) < std::tie(b.from.file, b.from.offset);
  });
  uint64_t covered = 0;
  FilePosition end;
  for (const Range& range : ranges) {
    uint64_t begin = range.from.offset;
    const uint64_t range_end = begin + range.length;
    if (range.from.file == end.file) begin = std::max(begin, end.offset);
    if (begin >= range_end) continue;
    covered += range_end - begin;
    end = {range.from.file, range_end};
  }
  return covered;
}

uint64_t Overlap(const Segment& segment, const Reference& reference) {
  const uint64_t begin = std::max(segment.offset, reference.extent_offset);
  const uint64_t end = std::min(segment.offset + segment.length, reference.extent_offset + reference.length);
  return end > begin ? end - begin : 0;
}

}  // namespace

uint64_t FreeableOf(const ExtentPlan& plan, const Segment& segment) {
  // Extents are at most 128 MiB: this does not overflow.
  return (plan.extent.length - plan.moved_bytes) * segment.length / plan.duplicate_bytes;
}

Estimate EstimateOf(const std::map<uint64_t, ExtentPlan>& batch) {
  Estimate estimate;
  std::vector<Range> sources;
  for (const auto& [address, plan] : batch) {
    estimate.freeable += plan.extent.length - plan.moved_bytes;
    estimate.moved += plan.moved_bytes;
    if (plan.references.front().encoded) {
      // Any part of a compressed extent takes reading all of it.
      estimate.read += plan.extent.length * (plan.references.size() + 1);
      continue;
    }
    for (const Segment& segment : plan.segments) {
      for (const Reference& reference : plan.references) estimate.read += Overlap(segment, reference);
      if (!segment.move) sources.push_back({segment.source, segment.length});
    }
  }
  estimate.read += Covered(std::move(sources));
  return estimate;
}

}  // namespace cowherd
