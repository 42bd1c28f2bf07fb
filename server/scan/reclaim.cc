#include "server/scan/reclaim.h"

#include <sys/stat.h>
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

absl::Status Write(const Fd& fd, const char* bytes, size_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t wrote = ::pwrite(fd.get(), bytes, size, static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return ErrnoError(wrote < 0 ? errno : ENOSPC, "write a scratch file");
    bytes += wrote;
    size -= static_cast<size_t>(wrote);
    offset += static_cast<uint64_t>(wrote);
  }
  return absl::OkStatus();
}

}  // namespace

// What of a place is behind its first `done` bytes.
Reclaim::Share Reclaim::Rest(const Share& share, uint64_t done) {
  Share rest = share;
  rest.source.offset += done;
  rest.destination.offset += done;
  rest.storage += done;
  rest.length -= done;
  return rest;
}

absl::Status Reclaim::Run(const std::map<uint64_t, ExtentPlan>& batch) {
  std::vector<Share> shares;
  std::vector<Share> leftover;
  for (const auto& [address, plan] : batch) {
    for (const Segment& segment : plan.segments) {
      for (const auto& [begin, end] : Parts(plan, segment)) {
        const FilePosition source = {segment.source.file, segment.source.offset + (begin - segment.offset)};
        std::vector<Share> places;
        for (const Reference& r : plan.references) {
          if (Covers(r, begin, end)) places.push_back({source, At(r, begin), end - begin, address + begin});
        }
        if (!segment.move) {
          shares.insert(shares.end(), places.begin(), places.end());
        } else if (!places.empty()) {
          RETURN_IF_ERROR(CopyOut(places));
          if (scratch_.size() >= kMaxScratchFiles) RETURN_IF_ERROR(FinishCopies(leftover));
        }
      }
    }
  }
  // Before the duplicates: what is shared with moved data is shared where it lies from now on.
  RETURN_IF_ERROR(FinishCopies(leftover));
  RETURN_IF_ERROR(ShareAll(std::move(shares), leftover));
  RETURN_IF_ERROR(MoveLeftover(std::move(leftover)));
  return ops_.Commit(tree_.root_fd());
}

std::vector<StorageExtent> Reclaim::TakeMoved() { return std::exchange(moved_, {}); }

// One block that stays would hold its whole extent.
absl::Status Reclaim::MoveLeftover(std::vector<Share> leftover) {
  const auto key = [](const Share& s) { return std::tie(s.storage, s.length); };
  std::sort(leftover.begin(), leftover.end(),
            [&](const Share& a, const Share& b) { return key(a) < key(b); });
  std::vector<Share> staying;
  for (size_t i = 0; i < leftover.size();) {
    std::vector<Share> places = {leftover[i]};
    while (++i < leftover.size() && key(leftover[i]) == key(places[0])) places.push_back(leftover[i]);
    RETURN_IF_ERROR(CopyOut(places));
    if (scratch_.size() >= kMaxScratchFiles) RETURN_IF_ERROR(FinishCopies(staying));
  }
  RETURN_IF_ERROR(FinishCopies(staying));
  // Files of different sizes may hold the same storage: what is left now needs a copy of its own, place by
  // place.
  for (const Share& place : std::exchange(staying, {})) {
    RETURN_IF_ERROR(CopyOut({place}));
    if (scratch_.size() >= kMaxScratchFiles) RETURN_IF_ERROR(FinishCopies(staying));
  }
  RETURN_IF_ERROR(FinishCopies(staying));
  if (!staying.empty()) {
    // The copies go with their files, the originals stay; the next scan tries again.
    Log(LogLevel::kWarning, "ranges that were to be moved stay, since they change",
        {{"ranges", staying.size()}});
  }
  return absl::OkStatus();
}

absl::Status Reclaim::CopyOut(const std::vector<Share>& places) {
  RETURN_IF_ERROR(stop_.Check());
  const FilePosition& from = places.front().destination;
  const uint64_t length = places.front().length;
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
  const auto part = [&](uint64_t begin, uint64_t size) {
    std::vector<Share> moved = places;
    for (Share& place : moved) {
      place.destination.offset += begin;
      place.storage += begin;
      place.length = size;
    }
    return moved;
  };
  for (uint64_t done = 0; done < length;) {
    const size_t want = std::min<uint64_t>(buffer.size(), length - done);
    const ssize_t got = ::pread(fd, buffer.data(), want, static_cast<off_t>(from.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read what is to be moved");
    if (got == 0) break;
    const uint64_t whole = static_cast<uint64_t>(got) / block_size_ * block_size_;
    const uint64_t tail = static_cast<uint64_t>(got) - whole;
    if (whole > 0) {
      RETURN_IF_ERROR(Write(scratch_[0], buffer.data(), whole, scratch_size_));
      copies_.push_back({0, scratch_size_, part(done, whole)});
      scratch_size_ += whole;
    }
    if (tail > 0) {
      // Only a tail that ends its file is the same as one that ends another.
      ASSIGN_OR_RETURN(Fd scratch, tree_.MakeScratch());
      RETURN_IF_ERROR(Write(scratch, buffer.data() + whole, tail, 0));
      copies_.push_back({scratch_.size(), 0, part(done + whole, block_size_)});
      scratch_.push_back(std::move(scratch));
      break;
    }
    done += whole;
  }
  return absl::OkStatus();
}

absl::Status Reclaim::FinishCopies(std::vector<Share>& leftover) {
  if (scratch_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(ops_.Commit(tree_.root_fd()));
  for (const Copy& copy : copies_) {
    RETURN_IF_ERROR(stop_.Check());
    struct stat stat;
    const int fd = scratch_[copy.scratch].get();
    if (::fstat(fd, &stat) != 0) return ErrnoError(errno, "fstat");
    const auto places = absl::MakeConstSpan(copy.places);
    for (size_t i = 0; i < places.size(); i += kMaxDedupeTargets) {
      ShareGroup({fd, static_cast<uint64_t>(stat.st_size), copy.offset}, places.subspan(i, kMaxDedupeTargets),
                 /*duplicates=*/false, leftover);
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
    const FilePosition& from = shares[begins[group]].source;
    if (const absl::StatusOr<const OpenFile*> source = files_.Open(from.file); source.ok()) {
      ShareGroup({(*source)->fd.get(), (*source)->facts.size, from.offset},
                 absl::MakeConstSpan(shares).subspan(begins[group], end - begins[group]), /*duplicates=*/true,
                 leftover);
    }
    bytes_ahead -= std::min(bytes_ahead, bytes_of(group));
  }
  return absl::OkStatus();
}

void Reclaim::StartReading(const FilePosition& place, uint64_t length) {
  const absl::StatusOr<const OpenFile*> file = files_.Open(place.file);
  if (file.ok()) ops_.StartReading((*file)->fd.get(), place.offset, length);
}

void Reclaim::ShareGroup(const Source& source, absl::Span<const Share> group, bool duplicates,
                         std::vector<Share>& leftover) {
  const uint64_t source_left = source.offset < source.size ? source.size - source.offset : 0;
  // By how much of the range the kernel can share.
  std::map<uint64_t, std::vector<std::pair<Share, int>>> by_length;
  for (const Share& share : group) {
    const absl::StatusOr<const OpenFile*> file = files_.Open(share.destination.file);
    if (!file.ok() || share.destination.offset >= (*file)->facts.size) continue;
    const uint64_t left = (*file)->facts.size - share.destination.offset;
    uint64_t length = std::min({share.length, left, source_left});
    // A block that is not full ends both files or is not shared (fs/remap_range.c).
    if (length != left || length != source_left) length = length / block_size_ * block_size_;
    if (length < std::min(share.length, left)) leftover.push_back(Rest(share, length));
    if (length > 0) by_length[length].emplace_back(share, (*file)->fd.get());
  }
  for (const auto& [length, places] : by_length) {
    std::vector<DedupeTarget> targets;
    for (const auto& [share, fd] : places) targets.push_back({fd, share.destination.offset});
    Throttle(length * (targets.size() + 1));
    DedupePlan plan(length, targets.size(), kBytesPerCall);
    const absl::Status refused = RunDedupe(ops_, {source.fd, source.offset, length}, targets, stop_, plan);
    for (size_t i = 0; i < targets.size(); ++i) {
      if (!refused.ok()) plan.Fail(i, refused);
      const TargetResult& result = plan.results()[i];
      if (duplicates) {
        totals_.Update([&, length = length](Totals& t) {
          t.bytes_requested += length;
          CountOutcome(result, t);
        });
      }
      Share rest = Rest(places[i].first, result.bytes_accepted);
      rest.length = length - result.bytes_accepted;
      if (result.outcome == DedupeOutcome::kFailed) {
        Log(LogLevel::kWarning, "cannot share a range",
            {{"offset", targets[i].offset}, {"length", length}, {"error", result.error}});
      } else if (result.outcome == DedupeOutcome::kDiffers && duplicates) {
        Bisect({source.fd, source.size, source.offset + result.bytes_accepted}, targets[i].fd, rest,
               leftover);
      } else if (result.outcome == DedupeOutcome::kDiffers) {
        leftover.push_back(rest);
      }
    }
  }
}

// The range is known to differ. Halves it until the odd block is alone.
void Reclaim::Bisect(const Source& source, int destination, const Share& share,
                     std::vector<Share>& leftover) {
  if (share.length <= block_size_ || !stop_.Check().ok()) {
    leftover.push_back(share);
    return;
  }
  const uint64_t half = (share.length / 2 + block_size_ - 1) / block_size_ * block_size_;
  Share first = share;
  first.length = half;
  const std::pair<uint64_t, Share> parts[] = {{0, first}, {half, Rest(share, half)}};
  for (const auto& [offset, part] : parts) {
    const Source from = {source.fd, source.size, source.offset + offset};
    const auto answers =
        ops_.Dedupe(from.fd, from.offset, part.length, {{destination, part.destination.offset}});
    if (answers.ok() && answers->front().kind == DedupeAnswer::Kind::kSame &&
        answers->front().bytes == part.length) {
      totals_.Update([length = part.length](Totals& t) { t.bytes_accepted += length; });
    } else {
      Bisect(from, destination, part, leftover);
    }
  }
}

void Reclaim::Throttle(uint64_t bytes) {
  const RateLimiter::Time now = std::chrono::steady_clock::now();
  const RateLimiter::Time start = limiter_.Book(bytes, now);
  if (start > now) stop_.SleepUntil(start);
}

}  // namespace cowherd
