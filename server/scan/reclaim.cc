#include "server/scan/reclaim.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <tuple>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/run.h"

namespace cowherd {
namespace {

// One comparison of the kernel; cancel takes effect between two.
constexpr uint64_t kBytesPerCall = 16 << 20;
constexpr size_t kCopyBytes = 1 << 20;
constexpr size_t kMaxScratchFiles = 128;
// How far reading runs ahead of comparing; larger ranges are read in one go just before.
constexpr size_t kGroupsAhead = 64;
constexpr uint64_t kBytesAhead = 16 << 20;
constexpr uint64_t kSmallGroup = 1 << 20;

FilePosition At(const Reference& reference, uint64_t extent_offset) {
  return {reference.file, reference.offset + (extent_offset - reference.extent_offset)};
}

bool Covers(const Reference& r, uint64_t begin, uint64_t end) {
  return r.extent_offset <= begin && end <= r.extent_offset + r.length;
}

// The parts of a segment within which no reference begins or ends.
std::vector<std::pair<uint64_t, uint64_t>> Parts(const ExtentPlan& plan, const Segment& segment) {
  const uint64_t end = segment.offset + segment.length;
  std::set<uint64_t> cuts = {segment.offset, end};
  for (const Reference& r : plan.references) {
    for (uint64_t cut : {r.extent_offset, r.extent_offset + r.length}) {
      if (cut > segment.offset && cut < end) cuts.insert(cut);
    }
  }
  std::vector<std::pair<uint64_t, uint64_t>> parts;
  for (auto cut = cuts.begin(); std::next(cut) != cuts.end(); ++cut)
    parts.emplace_back(*cut, *std::next(cut));
  return parts;
}

}  // namespace

absl::Status Reclaim::Run(const std::map<uint64_t, ExtentPlan>& batch) {
  std::vector<Share> shares;
  for (const auto& [address, plan] : batch) {
    for (const Segment& segment : plan.segments) {
      for (const auto& [begin, end] : Parts(plan, segment)) {
        std::vector<FilePosition> places;
        for (const Reference& r : plan.references) {
          if (Covers(r, begin, end)) places.push_back(At(r, begin));
        }
        if (places.empty()) continue;
        if (segment.move) {
          RETURN_IF_ERROR(CopyOut(places.front(), end - begin, places));
          continue;
        }
        const FilePosition source = {segment.source.file, segment.source.offset + (begin - segment.offset)};
        for (const FilePosition& place : places)
          shares.push_back({source, place, end - begin, address + begin});
      }
    }
  }
  // Before the duplicates: what is shared with moved data is shared where it lies from now on.
  RETURN_IF_ERROR(FinishCopies());
  std::vector<Share> leftover;
  RETURN_IF_ERROR(ShareAll(std::move(shares), leftover));
  RETURN_IF_ERROR(MoveLeftover(std::move(leftover)));
  return ops_.Commit(tree_.root_fd());
}

std::vector<StorageExtent> Reclaim::TakeMoved() { return std::exchange(moved_, {}); }

// One block that stays would hold its whole extent.
absl::Status Reclaim::MoveLeftover(std::vector<Share> leftover) {
  const auto same = [](const Share& a, const Share& b) {
    return a.storage == b.storage && a.length == b.length;
  };
  std::sort(leftover.begin(), leftover.end(), [](const Share& a, const Share& b) {
    return std::tie(a.storage, a.length) < std::tie(b.storage, b.length);
  });
  for (size_t i = 0; i < leftover.size();) {
    std::vector<FilePosition> places;
    const size_t first = i;
    for (; i < leftover.size() && same(leftover[first], leftover[i]); ++i)
      places.push_back(leftover[i].destination);
    RETURN_IF_ERROR(CopyOut(places.front(), leftover[first].length, places));
  }
  return FinishCopies();
}

absl::Status Reclaim::CopyOut(const FilePosition& from, uint64_t length,
                              const std::vector<FilePosition>& destinations) {
  RETURN_IF_ERROR(stop_.Check());
  const absl::StatusOr<const OpenFile*> file = files_.Open(from.file);
  // Gone by now, and its reference with it.
  if (!file.ok()) return absl::OkStatus();
  const int fd = (*file)->fd.get();
  if (scratch_.empty()) {
    ASSIGN_OR_RETURN(Fd scratch, tree_.MakeScratch());
    scratch_.push_back(std::move(scratch));
  }
  Throttle(length);
  std::vector<char> buffer(std::min<uint64_t>(length, kCopyBytes));
  for (uint64_t done = 0; done < length;) {
    const size_t want = std::min<uint64_t>(buffer.size(), length - done);
    const ssize_t got = ::pread(fd, buffer.data(), want, static_cast<off_t>(from.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    std::vector<FilePosition> places = destinations;
    for (FilePosition& place : places) place.offset += done;
    const uint64_t whole = static_cast<uint64_t>(got) / block_size_ * block_size_;
    const uint64_t tail = static_cast<uint64_t>(got) - whole;
    if (whole > 0) {
      if (::pwrite(scratch_[0].get(), buffer.data(), whole, static_cast<off_t>(scratch_size_)) !=
          static_cast<ssize_t>(whole)) {
        return ErrnoError(errno == 0 ? ENOSPC : errno, "write a scratch file");
      }
      copies_.push_back({0, scratch_size_, whole, places});
      scratch_size_ += whole;
    }
    if (tail > 0) {
      // Only a tail that ends its file is the same as one that ends another.
      ASSIGN_OR_RETURN(Fd scratch, tree_.MakeScratch());
      if (::pwrite(scratch.get(), buffer.data() + whole, tail, 0) != static_cast<ssize_t>(tail)) {
        return ErrnoError(errno == 0 ? ENOSPC : errno, "write a scratch file");
      }
      for (FilePosition& place : places) place.offset += whole;
      copies_.push_back({scratch_.size(), 0, tail, std::move(places)});
      scratch_.push_back(std::move(scratch));
      break;
    }
    done += whole;
  }
  return scratch_.size() >= kMaxScratchFiles ? FinishCopies() : absl::OkStatus();
}

absl::Status Reclaim::FinishCopies() {
  if (scratch_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(ops_.Commit(tree_.root_fd()));
  for (const Copy& copy : copies_) {
    RETURN_IF_ERROR(stop_.Check());
    std::vector<DedupeTarget> targets;
    for (const FilePosition& place : copy.destinations) {
      const absl::StatusOr<const OpenFile*> file = files_.Open(place.file);
      if (file.ok()) targets.push_back({(*file)->fd.get(), place.offset});
      if (targets.size() == kMaxDedupeTargets) break;
    }
    DedupePlan plan(copy.length, targets.size(), kBytesPerCall);
    const absl::Status refused =
        RunDedupe(ops_, {scratch_[copy.scratch].get(), copy.offset, copy.length}, targets, stop_, plan);
    for (const TargetResult& result : plan.results()) {
      if (result.outcome == DedupeOutcome::kDeduped) continue;
      // The copy goes with its file, the original stays; the next scan tries again.
      const absl::Status& error = refused.ok() ? result.error : refused;
      totals_.Update([](Totals& t) { ++t.ranges_failed; });
      Log(LogLevel::kWarning, "a range that was to be moved stays",
          {{"length", copy.length}, {"error", error.ok() ? "it has changed" : error.ToString()}});
    }
  }
  absl::StatusOr<ExtentList> extents =
      ops_.Extents(scratch_[0].get(), 0, scratch_size_, SIZE_MAX, /*flush=*/false);
  if (extents.ok()) {
    for (const FileExtent& extent : extents->extents) moved_.push_back({extent.physical, extent.length});
  }
  copies_.clear();
  scratch_.clear();
  scratch_size_ = 0;
  return absl::OkStatus();
}

absl::Status Reclaim::ShareAll(std::vector<Share> shares, std::vector<Share>& leftover) {
  const auto key = [](const Share& s) {
    return std::tie(s.source.file.subvolume, s.source.file.inode, s.source.offset, s.length);
  };
  std::sort(shares.begin(), shares.end(), [&](const Share& a, const Share& b) { return key(a) < key(b); });
  std::vector<size_t> begins;  // of groups of one source
  for (size_t i = 0; i < shares.size(); ++i) {
    const bool goes_on =
        i > 0 && key(shares[i]) == key(shares[i - 1]) && i - begins.back() < kMaxDedupeTargets;
    if (!goes_on) begins.push_back(i);
  }
  size_t ahead = 0;
  uint64_t bytes_ahead = 0;
  const auto bytes_of = [&](size_t group) {
    const size_t end = group + 1 < begins.size() ? begins[group + 1] : shares.size();
    return shares[begins[group]].length * (end - begins[group] + 1);
  };
  for (size_t group = 0; group < begins.size(); ++group) {
    RETURN_IF_ERROR(stop_.Check());
    const size_t end = group + 1 < begins.size() ? begins[group + 1] : shares.size();
    // Many small reads at once: one after the other they take the disk's latency each.
    for (; ahead < begins.size() && ahead < group + kGroupsAhead && bytes_ahead < kBytesAhead; ++ahead) {
      const uint64_t bytes = bytes_of(ahead);
      bytes_ahead += bytes;
      if (bytes > kSmallGroup) continue;
      const size_t ahead_end = ahead + 1 < begins.size() ? begins[ahead + 1] : shares.size();
      StartReading(shares[begins[ahead]].source, shares[begins[ahead]].length);
      for (size_t i = begins[ahead]; i < ahead_end; ++i)
        StartReading(shares[i].destination, shares[i].length);
    }
    RETURN_IF_ERROR(ShareGroup(&shares[begins[group]], &shares[0] + end, leftover));
    bytes_ahead -= std::min(bytes_ahead, bytes_of(group));
  }
  return absl::OkStatus();
}

void Reclaim::StartReading(const FilePosition& place, uint64_t length) {
  const absl::StatusOr<const OpenFile*> file = files_.Open(place.file);
  if (file.ok()) ops_.StartReading((*file)->fd.get(), place.offset, length);
}

absl::Status Reclaim::ShareGroup(const Share* begin, const Share* end, std::vector<Share>& leftover) {
  const absl::StatusOr<const OpenFile*> source = files_.Open(begin->source.file);
  const int source_fd = source.ok() ? (*source)->fd.get() : -1;
  const uint64_t source_size = source.ok() ? (*source)->facts.size : 0;
  const uint64_t source_offset = begin->source.offset;
  // By how much of the range the kernel can share.
  std::map<uint64_t, std::vector<std::pair<const Share*, int>>> by_length;
  for (const Share* share = begin; share != end; ++share) {
    const absl::StatusOr<const OpenFile*> file = files_.Open(share->destination.file);
    if (!file.ok()) continue;
    const uint64_t size = (*file)->facts.size;
    if (share->destination.offset >= size) continue;
    const uint64_t left = std::min(share->length, size - share->destination.offset);
    const uint64_t source_left = source_offset < source_size ? source_size - source_offset : 0;
    uint64_t length = std::min(left, source_left);
    // A block that is not full ends both files or is not shared (fs/remap_range.c).
    const bool ends_both =
        source_offset + length == source_size && share->destination.offset + length == size;
    if (!ends_both) length = length / block_size_ * block_size_;
    if (length < left) {
      leftover.push_back({{},
                          {share->destination.file, share->destination.offset + length},
                          share->length - length,
                          share->storage + length});
    }
    if (length > 0) by_length[length].emplace_back(share, (*file)->fd.get());
  }
  for (const auto& [length, group] : by_length) {
    std::vector<DedupeTarget> targets;
    for (const auto& [share, fd] : group) targets.push_back({fd, share->destination.offset});
    Throttle(length * (targets.size() + 1));
    DedupePlan plan(length, targets.size(), kBytesPerCall);
    const absl::Status refused = RunDedupe(ops_, {source_fd, source_offset, length}, targets, stop_, plan);
    for (size_t i = 0; i < targets.size(); ++i) {
      if (!refused.ok()) plan.Fail(i, refused);
      const TargetResult& result = plan.results()[i];
      totals_.Update([&](Totals& t) {
        t.bytes_requested += length;
        CountOutcome(result, t);
      });
      if (result.outcome == DedupeOutcome::kFailed) {
        Log(LogLevel::kWarning, "cannot share a range",
            {{"offset", targets[i].offset}, {"length", length}, {"error", result.error}});
      }
      if (result.outcome != DedupeOutcome::kDiffers) continue;
      Share rest = *group[i].first;
      rest.source.offset += result.bytes_accepted;
      rest.destination.offset += result.bytes_accepted;
      rest.storage += result.bytes_accepted;
      Bisect(source_fd, rest.source.offset, targets[i].fd, rest, length - result.bytes_accepted, leftover);
    }
  }
  return absl::OkStatus();
}

// The range is known to differ. Halves it until the odd block is alone.
void Reclaim::Bisect(int source, uint64_t source_offset, int destination, const Share& share, uint64_t length,
                     std::vector<Share>& leftover) {
  if (length <= block_size_ || !stop_.Check().ok()) {
    leftover.push_back({{}, share.destination, length, share.storage});
    return;
  }
  const uint64_t half = (length / 2 + block_size_ - 1) / block_size_ * block_size_;
  for (const auto& [from, size] : {std::pair(uint64_t{0}, half), std::pair(half, length - half)}) {
    Share part = share;
    part.destination.offset += from;
    part.storage += from;
    const auto answers =
        ops_.Dedupe(source, source_offset + from, size, {{destination, part.destination.offset}});
    if (answers.ok() && answers->front().kind == DedupeAnswer::Kind::kSame &&
        answers->front().bytes == size) {
      totals_.Update([size = size](Totals& t) { t.bytes_accepted += size; });
    } else {
      Bisect(source, source_offset + from, destination, part, size, leftover);
    }
  }
}

void Reclaim::Throttle(uint64_t bytes) {
  const RateLimiter::Time now = std::chrono::steady_clock::now();
  const RateLimiter::Time start = limiter_.Book(bytes, now);
  if (start > now) stop_.SleepUntil(start);
}

}  // namespace cowherd
