#include "server/scan/reclaim.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "server/base/log.h"
#include "server/base/on_threads.h"
#include "server/base/status.h"
#include "server/scan/cached_ranges.h"
#include "server/scan/share_queue.h"

namespace cowherd {
namespace {

FilePosition At(const Reference& reference, uint64_t extent_offset) {
  return {reference.file, reference.offset + (extent_offset - reference.extent_offset)};
}

// One reference's part of an extent.
struct PartUse {
  size_t part = 0;    // index
  uint32_t tail = 0;  // how much of its last block the file has
  size_t reference = 0;

  auto key() const { return std::tie(part, tail, reference); }
  bool IsAlike(const PartUse& other) const { return part == other.part && tail == other.tail; }
};

// Those that share in one way lie together.
std::vector<PartUse> UsesOf(const ExtentPlan& plan, absl::Span<const PlanPart> parts) {
  std::vector<PartUse> uses;
  for (size_t r = 0; r < plan.references.size(); ++r) {
    for (const PlanPart& part : PartsOf(parts, plan.references[r])) {
      const auto index = static_cast<size_t>(&part - parts.data());
      uses.push_back({index, TailBefore(plan.references[r], part.end), r});
    }
  }
  std::sort(uses.begin(), uses.end(), [](const PartUse& a, const PartUse& b) { return a.key() < b.key(); });
  return uses;
}

// What has the same storage is copied once.
std::vector<ShareGroup> MovesOf(std::vector<Share> places) {
  const auto key = [](const Share& s) { return std::tie(s.storage, s.length); };
  std::sort(places.begin(), places.end(), [&](const Share& a, const Share& b) { return key(a) < key(b); });
  std::vector<ShareGroup> groups;
  for (const Share& share : places) {
    if (groups.empty() || key(groups.back().places.front()) != key(share)) {
      groups.emplace_back();
      groups.back().move = true;
    }
    groups.back().places.push_back(share);
  }
  return groups;
}

}  // namespace

absl::Status Reclaim::Run(const std::map<uint64_t, ExtentPlan>& batch) {
  stay_.clear();
  std::vector<Share> duplicates;
  std::vector<ShareGroup> moves;
  // What shares with moved data is to share where that lies from now on.
  std::vector<Share> of_moved;
  for (const auto& [address, plan] : batch) {
    const std::vector<PlanPart> parts = PartsOf(plan);
    const std::vector<PartUse> uses = UsesOf(plan, parts);
    for (size_t first = 0; first < uses.size();) {
      const PlanPart& part = parts[uses[first].part];
      const Segment& segment = plan.segments[part.segment];
      const uint64_t skip = part.begin - segment.offset;
      Share share;
      share.source = {segment.source.file, segment.source.offset + skip};
      share.source_storage = segment.source_storage.extent + segment.source_storage.offset + skip;
      share.storage = address + part.begin;
      share.extent = address;
      share.length = part.end - part.begin;
      std::vector<Share> alike;
      size_t last = first;
      for (; last < uses.size() && uses[last].IsAlike(uses[first]); ++last) {
        share.destination = At(plan.references[uses[last].reference], part.begin);
        alike.push_back(share);
      }
      first = last;
      if (segment.move) {
        for (uint64_t done = 0; done < share.length; done += kMaxShareLength) {
          moves.push_back(
              {PartOf(alike, done, std::min(kMaxShareLength, share.length - done)), /*move=*/true});
        }
      } else {
        std::vector<Share>& shares = batch.count(segment.source_storage.extent) > 0 ? of_moved : duplicates;
        shares.insert(shares.end(), alike.begin(), alike.end());
      }
    }
  }
  std::vector<std::vector<ShareGroup>> duplicate_parts = PlanParts(GroupShares(std::move(duplicates)));
  std::vector<std::vector<ShareGroup>> move_parts = PlanParts(std::move(moves));
  std::vector<std::vector<ShareGroup>> more_parts = PlanParts(GroupShares(std::move(of_moved)));
  ASSIGN_OR_RETURN(Leftover left, Carry(std::move(duplicate_parts)));
  left.unequal = WorthMoving(batch, std::move(left.unequal));
  DropStaying(move_parts);
  ASSIGN_OR_RETURN(Leftover moves_left, Carry(std::move(move_parts)));
  ASSIGN_OR_RETURN(const Leftover more_left, Carry(std::move(more_parts)));
  left.Add(more_left);
  RETURN_IF_ERROR(MoveLeftover(batch, std::move(left.unequal), std::move(moves_left)));
  return ops_.Commit(tree_.root_fd());
}

void Reclaim::DropStaying(std::vector<std::vector<ShareGroup>>& parts) {
  const uint64_t planned = WorkOf(parts);
  for (std::vector<ShareGroup>& part : parts) {
    part.erase(std::remove_if(
                   part.begin(), part.end(),
                   [this](const ShareGroup& group) { return stay_.contains(group.places.front().extent); }),
               part.end());
  }
  const uint64_t dropped = planned - WorkOf(parts);
  totals_.Update([dropped](Totals& t) { t.work_done += dropped; });
}

// One block that stays would hold its whole extent.
absl::Status Reclaim::MoveLeftover(const std::map<uint64_t, ExtentPlan>& batch, std::vector<Share> duplicates,
                                   Leftover moves) {
  std::vector<ShareGroup> groups = MovesOf(WorthMoving(batch, std::move(duplicates)));
  uint64_t moved = 0;
  for (const ShareGroup& group : groups) moved += group.length();
  totals_.Update([moved](Totals& t) { t.bytes_moved += moved; });
  for (std::vector<Share>* again : {&moves.unequal, &moves.no_room}) {
    for (ShareGroup& group : MovesOf(std::move(*again))) groups.push_back(std::move(group));
  }
  std::vector<std::vector<ShareGroup>> parts = PlanParts(std::move(groups));
  DropStaying(parts);
  // There is more room, once what was shared is gone.
  if (WorkOf(parts) > 0) RETURN_IF_ERROR(ops_.Commit(tree_.root_fd()));
  ASSIGN_OR_RETURN(Leftover left, Carry(std::move(parts)));
  // Files of different sizes may hold the same storage: what is left now needs a copy of its own, place by
  // place.
  std::vector<ShareGroup> alone;
  alone.reserve(left.unequal.size());
  for (const Share& place : std::exchange(left.unequal, {})) alone.push_back({{place}, /*move=*/true});
  ASSIGN_OR_RETURN(const Leftover alone_left, Carry(PlanParts(std::move(alone))));
  left.Add(alone_left);
  const size_t staying = left.unequal.size() + left.no_room.size();
  if (staying > 0) {
    // The copies go with their files, the originals stay; the next scan tries again.
    totals_.Update([&](Totals& t) { t.ranges_failed += staying; });
    Log(LogLevel::kWarning, "ranges that were to be moved stay: they change, or there is no room",
        {{"ranges", staying}});
  }
  return absl::OkStatus();
}

std::vector<Share> Reclaim::WorthMoving(const std::map<uint64_t, ExtentPlan>& batch,
                                        std::vector<Share> duplicates) {
  std::map<uint64_t, uint64_t> bytes;  // by extent, each place in storage once
  std::set<std::pair<uint64_t, uint64_t>> seen;
  for (const Share& share : duplicates) {
    if (seen.emplace(share.storage, share.length).second) bytes[share.extent] += share.length;
  }
  const auto pays = [&](uint64_t extent) {
    const auto plan = batch.find(extent);
    return plan != batch.end() && !stay_.contains(extent) &&
           (plan->second.moved_bytes + bytes[extent]) * freed_per_moved_ <= plan->second.extent.length;
  };
  for (const auto& entry : bytes) {
    if (!pays(entry.first)) stay_.insert(entry.first);
  }
  const size_t all = duplicates.size();
  duplicates.erase(std::remove_if(duplicates.begin(), duplicates.end(),
                                  [this](const Share& share) { return stay_.contains(share.extent); }),
                   duplicates.end());
  if (duplicates.size() < all) {
    Log(LogLevel::kWarning, "extents stay: too much of them is no duplicate after all, or a file refused",
        {{"ranges", all - duplicates.size()}});
  }
  return duplicates;
}

std::vector<std::vector<ShareGroup>> Reclaim::PlanParts(std::vector<ShareGroup> groups) {
  std::vector<std::vector<ShareGroup>> parts = SplitGroups(std::move(groups), page_cache_, open_files_);
  totals_.Update([&](Totals& t) { t.work_planned += WorkOf(parts); });
  return parts;
}

absl::StatusOr<Leftover> Reclaim::Carry(std::vector<std::vector<ShareGroup>> parts) {
  Leftover leftover;
  for (std::vector<ShareGroup>& part : parts) {
    if (part.empty()) continue;
    leftover.Add(workers_.CarryOut(std::move(part)));
    for (const FailedShare& failed : workers_.failed()) {
      if (failed.cause != FailedShare::Cause::kChanged) stay_.insert(failed.share.extent);
    }
    RETURN_IF_ERROR(stop_.Check());
  }
  return leftover;
}

}  // namespace cowherd
