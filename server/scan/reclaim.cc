#include "server/scan/reclaim.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kCopyBytes = 1 << 20;
constexpr size_t kMaxScratchFiles = 128;
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

bool IsNoSpace(const absl::Status& status) { return ErrnoOf(status) == ENOSPC || ErrnoOf(status) == EDQUOT; }

}  // namespace

absl::Status Reclaim::Run(const std::map<uint64_t, ExtentPlan>& batch) {
  std::vector<Share> shares;
  std::vector<Share> leftover;
  for (const auto& [address, plan] : batch) {
    if (scratch_.size() >= kMaxScratchFiles) RETURN_IF_ERROR(FinishCopies(leftover));
    absl::Status prepared = Prepare(plan, shares);
    if (IsNoSpace(prepared) && !(shares.empty() && scratch_.empty())) {
      // There is more space once the others are done.
      RETURN_IF_ERROR(CarryOut(std::exchange(shares, {}), std::exchange(leftover, {})));
      prepared = Prepare(plan, shares);
    }
    if (IsNoSpace(prepared) || ErrnoOf(prepared) == EIO) {
      totals_.Update([](Totals& t) { ++t.ranges_failed; });
      Log(LogLevel::kWarning, "cannot copy what holds an extent: it stays",
          {{"address", address}, {"length", plan.extent.length}, {"error", prepared}});
      continue;
    }
    RETURN_IF_ERROR(prepared);
  }
  return CarryOut(std::move(shares), std::move(leftover));
}

absl::Status Reclaim::Prepare(const ExtentPlan& plan, std::vector<Share>& shares) {
  const size_t shares_before = shares.size();
  const size_t copies_before = copies_.size();
  const size_t scratch_before = scratch_.size();
  const uint64_t size_before = scratch_size_;
  absl::Status status;
  for (const Segment& segment : plan.segments) {
    for (const auto& [begin, end] : Parts(plan, segment)) {
      const FilePosition source = {segment.source.file, segment.source.offset + (begin - segment.offset)};
      std::vector<Share> places;
      for (const Reference& r : plan.references) {
        if (Covers(r, begin, end))
          places.push_back({source, At(r, begin), end - begin, plan.extent.address + begin});
      }
      if (!segment.move) {
        shares.insert(shares.end(), places.begin(), places.end());
      } else if (!places.empty() && status.ok()) {
        status = CopyOut(places);
      }
    }
  }
  if (status.ok()) return status;
  shares.resize(shares_before);
  copies_.resize(copies_before);
  scratch_.resize(scratch_before);
  scratch_size_ = size_before;
  if (!scratch_.empty() && ::ftruncate(scratch_[0].get(), static_cast<off_t>(size_before)) != 0)
    return ErrnoError(errno, "cut a scratch file");
  return status;
}

absl::Status Reclaim::CarryOut(std::vector<Share> shares, std::vector<Share> leftover) {
  // Before the duplicates: what is shared with moved data is shared where it lies from now on.
  RETURN_IF_ERROR(FinishCopies(leftover));
  RETURN_IF_ERROR(ShareAll(std::move(shares), leftover));
  absl::Status moved = MoveLeftover(std::move(leftover));
  if (IsNoSpace(moved) || ErrnoOf(moved) == EIO) {
    Log(LogLevel::kWarning, "ranges that differ and hold their extents stay", {{"error", moved}});
    std::vector<Share> staying;
    moved = FinishCopies(staying);
  }
  RETURN_IF_ERROR(moved);
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
  const absl::StatusOr<std::shared_ptr<const OpenFile>> file = files_.Open(from.file);
  // Gone by now, and its reference with it.
  if (!file.ok()) return absl::OkStatus();
  const int fd = (*file)->fd.get();
  if (scratch_.empty()) {
    ASSIGN_OR_RETURN(Fd scratch, tree_.MakeScratch());
    scratch_.push_back(std::move(scratch));
  }
  pace_.Wait(length, stop_);
  std::vector<char> buffer(std::min<uint64_t>(length, kCopyBytes));
  const auto part = [&](uint64_t begin, uint64_t size) {
    std::vector<Share> moved = places;
    for (Share& place : moved) {
      place = place.Rest(begin);
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
  ShareWorker& copier = workers_.front();
  for (const Copy& copy : copies_) {
    RETURN_IF_ERROR(stop_.Check());
    struct stat stat;
    const int fd = scratch_[copy.scratch].get();
    if (::fstat(fd, &stat) != 0) return ErrnoError(errno, "fstat");
    std::vector<ShareWorker::Place> places;
    const auto share = [&] {
      if (places.empty()) return;
      // The other files that hold the same storage have pages of their own to be read.
      pace_.Wait(places.front().share.length * (places.size() + 1), stop_);
      copier.ShareCopies({fd, static_cast<uint64_t>(stat.st_size), copy.offset}, std::exchange(places, {}));
    };
    for (const Share& place : copy.places) {
      absl::StatusOr<std::shared_ptr<const OpenFile>> file = files_.Open(place.destination.file);
      if (file.ok()) places.push_back({place, *std::move(file)});
      if (places.size() == kMaxDedupeTargets) share();
    }
    share();
  }
  for (const Share& share : copier.TakeLeftover()) leftover.push_back(share);
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
  ShareQueue queue(GroupShares(std::move(shares)));
  std::vector<std::thread> threads;
  for (ShareWorker& worker : workers_) threads.emplace_back([&] { worker.Empty(queue); });
  for (std::thread& thread : threads) thread.join();
  for (ShareWorker& worker : workers_) {
    for (const Share& share : worker.TakeLeftover()) leftover.push_back(share);
  }
  return stop_.Check();
}

}  // namespace cowherd
