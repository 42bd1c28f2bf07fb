#include "server/scan/extent_plan.h"

#include <algorithm>
#include <utility>

namespace cowherd {
namespace {

// Of one extent: what carries it out takes some 200 bytes for each.
constexpr size_t kMaxPlanPlaces = 1 << 16;

std::map<uint64_t, uint32_t> TailsOf(absl::Span<const Reference> references, uint32_t block_size) {
  std::map<uint64_t, uint32_t> tails;
  for (const Reference& r : references) {
    if (r.tail > 0) tails.emplace(r.extent_offset + r.length - block_size, r.tail);
  }
  for (auto& [offset, bytes] : tails) {
    for (const Reference& r : references) {
      if (HasByte(r, offset) && TailBefore(r, offset + block_size) != bytes) bytes = kTailsDiffer;
    }
  }
  return tails;
}

// Of the blocks that files end within differently, beyond the first of each.
uint64_t MoreCopies(const ExtentPlan& plan, uint32_t block_size) {
  uint64_t copies = 0;
  for (const auto& [offset, bytes] : plan.tails) {
    if (bytes != kTailsDiffer) continue;
    absl::flat_hash_set<uint32_t> different;
    for (const Reference& r : plan.references) {
      if (HasByte(r, offset)) different.insert(TailBefore(r, offset + block_size));
    }
    copies += different.size() - 1;
  }
  return copies;
}

// Appends, or lengthens the last segment where that says the same. A block that ends a file is asked for
// alone, but is of one extent with what is before it.
void Append(std::vector<Segment>& segments, const Segment& next, bool ends_file = false) {
  if (!segments.empty()) {
    Segment& last = segments.back();
    const bool goes_on = last.offset + last.length == next.offset && last.move == next.move &&
                         (next.move || (last.source.file == next.source.file &&
                                        last.source.offset + last.length == next.source.offset &&
                                        last.source_storage.extent == next.source_storage.extent));
    if (goes_on) {
      const bool one_extent =
          ends_file && last.source_storage.offset + last.length == next.source_storage.offset;
      // What is moved lies together.
      if (!next.move && !one_extent) last.pieces += next.pieces;
      last.length += next.length;
      return;
    }
  }
  segments.push_back(next);
}

}  // namespace

StorageSet LiveOf(absl::Span<const Reference> references) {
  StorageSet live(SIZE_MAX);
  for (const Reference& r : references) live.Add(r.extent_offset, r.extent_offset + r.length);
  return live;
}

bool HasByte(const Reference& reference, uint64_t offset) {
  return reference.extent_offset <= offset && offset < reference.extent_offset + reference.length;
}

uint32_t TailBefore(const Reference& reference, uint64_t end) {
  return reference.extent_offset + reference.length == end ? reference.tail : 0;
}

std::vector<uint64_t> CutsOf(const ExtentPlan& plan) {
  std::vector<uint64_t> cuts;
  for (const Reference& r : plan.references) {
    cuts.push_back(r.extent_offset);
    cuts.push_back(r.extent_offset + r.length);
  }
  for (const auto& [offset, bytes] : plan.tails) {
    if (bytes == kTailsDiffer) cuts.push_back(offset);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

std::vector<PlanPart> PartsOf(const ExtentPlan& plan) {
  const std::vector<uint64_t> cuts = CutsOf(plan);
  std::vector<PlanPart> parts;
  for (size_t i = 0; i < plan.segments.size(); ++i) {
    uint64_t begin = plan.segments[i].offset;
    const uint64_t end = begin + plan.segments[i].length;
    auto cut = std::upper_bound(cuts.begin(), cuts.end(), begin);
    for (; cut != cuts.end() && *cut < end; ++cut) parts.push_back({i, std::exchange(begin, *cut), *cut});
    parts.push_back({i, begin, end});
  }
  return parts;
}

absl::Span<const PlanPart> PartsOf(absl::Span<const PlanPart> parts, const Reference& reference) {
  const auto from = [parts](uint64_t offset) {
    return static_cast<size_t>(
        std::partition_point(parts.begin(), parts.end(),
                             [offset](const PlanPart& part) { return part.begin < offset; }) -
        parts.begin());
  };
  const size_t first = from(reference.extent_offset);
  return parts.subspan(first, from(reference.extent_offset + reference.length) - first);
}

void ExtentPlanner::NextBatch() {
  batch_.clear();
  sources_.clear();
  bytes_ = 0;
  places_ = 0;
  moved_bytes_ = 0;
}

ExtentVerdict ExtentPlanner::Plan(const ExtentUse& use, absl::Span<const BlockRun> runs, IsCopy is_copy,
                                  UseOf use_of, MaySplit may_split) {
  sourceless_.clear();
  if (runs.empty()) return ExtentVerdict::kUnique;
  if (!use.told) return ExtentVerdict::kHeldOutside;
  if (use.references.empty()) return ExtentVerdict::kOutside;
  if (!use.all) return ExtentVerdict::kHeldOutside;
  ExtentPlan plan;
  plan.extent = use.extent;
  plan.references = use.references;
  plan.tails = TailsOf(use.references, options_.block_size);
  const auto encoded = [](const Reference& r) { return r.encoded; };
  if (std::any_of(use.references.begin(), use.references.end(),
                  [](const Reference& r) { return r.unwritten; })) {
    return ExtentVerdict::kLittle;
  }
  if (std::any_of(use.references.begin(), use.references.end(), encoded)) {
    if (!PlanEncoded(plan, runs, is_copy, use_of)) return ExtentVerdict::kLittle;
  } else {
    PlanPlain(plan, runs, use_of);
  }
  for (const Segment& segment : plan.segments) {
    (segment.move ? plan.moved_bytes : plan.duplicate_bytes) += segment.length;
  }
  plan.moved_bytes += MoreCopies(plan, options_.block_size) * options_.block_size;
  // Also where no file refers to the duplicates any more, as when a job was killed that had shared them: what
  // is left holds the whole extent.
  if (plan.moved_bytes > 0 && (plan.extent.length < plan.moved_bytes * options_.freed_per_moved ||
                               plan.extent.length <= plan.moved_bytes)) {
    return ExtentVerdict::kLittle;
  }
  const std::vector<PlanPart> parts = PartsOf(plan);
  size_t places = 0;
  for (const Reference& r : plan.references) places += PartsOf(parts, r).size();
  if (places > kMaxPlanPlaces) return ExtentVerdict::kHeldOutside;
  if (!may_split(plan)) return ExtentVerdict::kFragments;
  bytes_ += plan.duplicate_bytes + plan.moved_bytes;
  places_ += places;
  moved_bytes_ += plan.moved_bytes;
  for (const Segment& segment : plan.segments) {
    if (!segment.move) sources_.insert(segment.source_storage.extent);
  }
  batch_.emplace(plan.extent.address, std::move(plan));
  return ExtentVerdict::kPlanned;
}

// Checksums are of the stored bytes: only the whole extent can be told to be equal. The run that it begins
// with may be of another one that begins alike.
bool ExtentPlanner::PlanEncoded(ExtentPlan& plan, absl::Span<const BlockRun> runs, IsCopy is_copy,
                                UseOf use_of) {
  absl::flat_hash_set<uint64_t> tried;
  for (const BlockRun& run : runs) {
    if (run.block != run.source_block || !tried.insert(run.source_extent).second) continue;
    if (!is_copy(run.source_extent)) continue;
    if (ShareWhole(plan, run.source_extent, use_of)) {
      sourceless_.clear();
      return true;
    }
    plan.segments.clear();
  }
  return false;
}

bool ExtentPlanner::ShareWhole(ExtentPlan& plan, uint64_t source_extent, UseOf use_of) {
  const auto planned = batch_.find(source_extent);
  // What is given up itself is the same as what it is shared with: the next scan finds that.
  if (planned != batch_.end()) return false;
  const ExtentUse* source = use_of(source_extent);
  if (source == nullptr || !source->told || source->extent.length != plan.extent.length) return false;
  const StorageSet live = LiveOf(plan.references);
  for (const auto& [begin, end] : live.ranges()) {
    for (uint64_t at = begin; at < end;) {
      const Wanted wanted = WantedAt(plan, at, end - at);
      const Piece piece = LocateReference(source_extent, source->references, true, at, wanted);
      if (piece.sourceless) {
        sourceless_.push_back({0, plan.extent.length, source_extent, 0});
        return false;
      }
      Append(plan.segments, {at, piece.length, !piece.found, piece.position, piece.pieces, piece.storage},
             wanted.tail > 0);
      at += piece.length;
    }
  }
  return true;
}

void ExtentPlanner::PlanPlain(ExtentPlan& plan, absl::Span<const BlockRun> runs, UseOf use_of) {
  const uint64_t min_length = std::min(options_.min_length, plan.extent.length);
  const StorageSet live = LiveOf(plan.references);
  for (const auto& [live_begin, live_end] : live.ranges()) {
    uint64_t at = live_begin;
    const auto move_to = [&](uint64_t to) {
      if (to > at) Append(plan.segments, {at, to - at, true, {}});
      at = std::max(at, to);
    };
    for (const BlockRun& run : runs) {
      const uint64_t run_begin = run.block * options_.block_size;
      const uint64_t begin = std::max(run_begin, at);
      const uint64_t end = std::min(run_begin + run.blocks * options_.block_size, live_end);
      if (begin >= end) continue;
      move_to(begin);
      while (at < end) {
        const uint64_t source_offset = run.source_block * options_.block_size + (at - run_begin);
        const Wanted wanted = WantedAt(plan, at, end - at);
        const Piece piece = Locate(plan, run.source_extent, source_offset, wanted, use_of);
        if (piece.found && (piece.length >= min_length || end - begin >= min_length)) {
          Append(plan.segments, {at, piece.length, false, piece.position, piece.pieces, piece.storage},
                 wanted.tail > 0);
          at += piece.length;
        } else {
          if (piece.sourceless) {
            sourceless_.push_back({at, at + piece.length, run.source_extent, source_offset});
          }
          move_to(at + piece.length);
        }
      }
    }
    move_to(live_end);
  }
}

ExtentPlanner::Wanted ExtentPlanner::WantedAt(const ExtentPlan& plan, uint64_t offset, uint64_t most) const {
  const auto tail = plan.tails.lower_bound(offset);
  if (tail == plan.tails.end()) return {most};
  if (tail->first > offset) return {std::min(most, tail->first - offset)};
  return {std::min<uint64_t>(most, options_.block_size), tail->second};
}

ExtentPlanner::Piece ExtentPlanner::Locate(const ExtentPlan& current, uint64_t address, uint64_t offset,
                                           Wanted wanted, UseOf use_of) const {
  const ExtentPlan* plan = nullptr;
  if (address == current.extent.address) {
    plan = &current;
  } else if (const auto planned = batch_.find(address); planned != batch_.end()) {
    plan = &planned->second;
  }
  Piece none;
  none.length = wanted.length;
  none.sourceless = true;
  if (plan == nullptr) {
    const ExtentUse* use = use_of(address);
    none.sourceless = use == nullptr || use->told;
    return use == nullptr || !use->told ? none
                                        : LocateReference(address, use->references, false, offset, wanted);
  }
  // That extent goes free: what it held is where its plan says.
  auto segment = std::upper_bound(plan->segments.begin(), plan->segments.end(), offset,
                                  [](uint64_t at, const Segment& s) { return at < s.offset; });
  none.length = options_.block_size;
  if (segment == plan->segments.begin()) return none;
  --segment;
  if (offset >= segment->offset + segment->length) return none;
  const uint64_t delta = offset - segment->offset;
  wanted.length = std::min(wanted.length, segment->length - delta);
  if (segment->move) return LocateReference(address, plan->references, false, offset, wanted);
  const Wanted there = WantedAt(*plan, offset, wanted.length);
  if (there.tail != wanted.tail) {
    none.length = there.length;
    none.sourceless = false;
    return none;
  }
  return {there.length,
          true,
          {segment->source.file, segment->source.offset + delta},
          segment->pieces,
          {segment->source_storage.extent, segment->source_storage.offset + delta}};
}

ExtentPlanner::Piece ExtentPlanner::LocateReference(uint64_t address, absl::Span<const Reference> references,
                                                    bool encoded, uint64_t offset, Wanted wanted) const {
  const Reference* best = nullptr;
  uint64_t best_end = offset;
  uint64_t nearest = UINT64_MAX;  // where a reference begins behind the offset
  bool unfit = false;             // a file has it, and ends otherwise
  for (const Reference& r : references) {
    if (r.unwritten || r.encoded != encoded) continue;
    const uint64_t end = r.extent_offset + r.length;
    if (r.extent_offset > offset) {
      nearest = std::min(nearest, r.extent_offset - offset);
    } else if (offset < end) {
      const uint64_t tail = r.tail > 0 ? end - options_.block_size : end;
      if ((offset < tail ? 0 : r.tail) != wanted.tail) {
        unfit = true;
      } else if (const uint64_t fit_end = offset < tail ? tail : end; fit_end > best_end) {
        best = &r;
        best_end = fit_end;
      }
    }
  }
  if (best == nullptr) {
    Piece none;
    none.length = std::min(wanted.length, unfit ? options_.block_size : nearest);
    none.sourceless = !unfit;
    return none;
  }
  return {std::min(wanted.length, best_end - offset),
          true,
          {best->file, best->offset + (offset - best->extent_offset)},
          1,
          {address, offset}};
}

}  // namespace cowherd
