#include "server/scan/share_worker.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/run.h"

namespace cowherd {
namespace {

bool IsNoRoom(const absl::Status& status) {
  const int error = ErrnoOf(status);
  return error == ENOSPC || error == EDQUOT;
}

}  // namespace

absl::Status ShareWorker::Empty(ShareQueue& queue) {
  while (stop_.Check().ok()) {
    const ShareQueue::Step step = queue.Next();
    switch (step.kind) {
      case ShareQueue::Step::Kind::kRead:
        Read(queue, step.index);
        break;
      case ShareQueue::Step::Kind::kShare:
        RETURN_IF_ERROR(ShareOrCopy(queue, step.index));
        break;
      case ShareQueue::Step::Kind::kEnd:
        return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

void ShareWorker::Read(ShareQueue& queue, size_t range) {
  const ShareQueue::Range& r = queue.range(range);
  // Gone by now, or no longer of this scan: its groups see that too.
  absl::StatusOr<std::shared_ptr<const OpenFile>> file = files_.Open(r.file);
  if (!file.ok()) return;
  uint64_t cached = 0;
  for (uint64_t done = 0; done < r.length && stop_.Check().ok();) {
    const uint64_t piece = std::min(pace_.step(), r.length - done);
    pace_.Wait(piece, stop_);
    if (ops_.StartReading((*file)->fd.get(), r.offset + done, piece)) cached += piece;
    done += piece;
  }
  queue.Opened(range, *std::move(file), /*brought_in=*/cached * 2 < r.length);
}

absl::Status ShareWorker::ShareOrCopy(ShareQueue& queue, size_t index) {
  // It was read already, but comparing it may take the disk again.
  pace_.Wait(0, stop_);
  const ShareGroup& group = queue.group(index);
  std::vector<std::shared_ptr<const OpenFile>> open;
  for (const size_t range : queue.RangesOf(index)) {
    open.push_back(queue.FileOf(range));
    // Another worker has it in hand, or it is gone.
    if (open.back() == nullptr) open.back() = files_.Open(queue.range(range).file).value_or(nullptr);
  }
  absl::Status status;
  if (open.front() == nullptr) {
    // Nothing to share with, or to copy.
  } else if (group.move) {
    status = Copy(*open.front(), group.places);
  } else {
    std::vector<Place> places;
    for (size_t i = 0; i < group.places.size(); ++i) {
      if (open[i + 1] != nullptr) places.push_back({group.places[i], std::move(open[i + 1])});
    }
    const OpenFile& source = *open.front();
    ShareWith({source.fd.get(), source.facts.size, group.places.front().source.offset}, places,
              /*duplicates=*/true);
  }
  const std::vector<ShareQueue::Cached> cached = queue.Done(index);
  if (group.move) {
    copied_.insert(copied_.end(), cached.begin(), cached.end());
    if (status.ok() && copy_out_.full()) status = FinishCopies();
  } else {
    Forget(cached);
  }
  return status;
}

absl::Status ShareWorker::Copy(const OpenFile& file, const std::vector<Share>& places) {
  absl::Status copied = copy_out_.Add(file.fd.get(), places);
  if (IsNoRoom(copied)) {
    NoRoom(copied, places);
  } else if (ErrnoOf(copied) == EIO) {
    totals_.Update([](Totals& t) { ++t.ranges_failed; });
    Log(LogLevel::kWarning, "what cannot be read cannot be moved: it stays",
        {{"offset", places.front().destination.offset},
         {"length", places.front().length},
         {"error", copied}});
  } else {
    return copied;
  }
  return absl::OkStatus();
}

// There may be more once what was shared is committed.
void ShareWorker::NoRoom(const absl::Status& why, const std::vector<Share>& places) {
  Log(LogLevel::kInfo, "no room to move what holds an extent",
      {{"length", places.front().length}, {"error", why}});
  leftover_.insert(leftover_.end(), places.begin(), places.end());
}

absl::Status ShareWorker::FinishCopies() {
  const absl::Cleanup let_go = [this] {
    copy_out_.Clear();
    Forget(std::exchange(copied_, {}));
  };
  if (copy_out_.copies().empty()) return absl::OkStatus();
  if (absl::Status flushed = copy_out_.Flush(); IsNoRoom(flushed)) {
    for (const CopyOut::Copied& copy : copy_out_.copies()) NoRoom(flushed, copy.places);
    return absl::OkStatus();
  } else if (!flushed.ok()) {
    return flushed;
  }
  for (const CopyOut::Copied& copy : copy_out_.copies()) {
    RETURN_IF_ERROR(stop_.Check());
    // The other files that hold the same storage have pages of their own to be read.
    pace_.Wait(copy.length * (copy.places.size() + 1), stop_);
    std::vector<Place> places;
    const Source source = {copy_out_.fd(copy.file), copy.offset + copy.length, copy.offset};
    for (const Share& place : copy.places) {
      absl::StatusOr<std::shared_ptr<const OpenFile>> file = files_.Open(place.destination.file);
      if (file.ok()) places.push_back({place, *std::move(file)});
      if (places.size() == kMaxDedupeTargets) ShareWith(source, std::exchange(places, {}), false);
    }
    ShareWith(source, places, /*duplicates=*/false);
  }
  absl::StatusOr<ExtentList> extents =
      ops_.Extents(copy_out_.main_fd(), 0, copy_out_.size(), SIZE_MAX, /*flush=*/false);
  if (extents.ok()) {
    for (const FileExtent& extent : extents->extents) moved_.push_back({extent.physical, extent.length});
  }
  return absl::OkStatus();
}

void ShareWorker::Forget(absl::Span<const ShareQueue::Cached> cached) {
  for (const ShareQueue::Cached& range : cached) {
    ops_.Forget(range.file->fd.get(), range.offset, range.length);
  }
}

void ShareWorker::ShareWith(const Source& source, absl::Span<const Place> places, bool duplicates) {
  const uint64_t source_left = source.offset < source.size ? source.size - source.offset : 0;
  // By how much of the range the kernel can share.
  std::map<uint64_t, std::vector<Place>> by_length;
  for (const Place& place : places) {
    const Share& share = place.share;
    if (share.destination.offset >= place.file->facts.size) continue;
    const uint64_t left = place.file->facts.size - share.destination.offset;
    uint64_t length = std::min({share.length, left, source_left});
    // A block that is not full ends both files or is not shared (fs/remap_range.c).
    if (length != left || length != source_left) length = length / block_size_ * block_size_;
    if (length < std::min(share.length, left)) leftover_.push_back(share.Rest(length));
    if (length > 0) by_length[length].push_back(place);
  }
  for (const auto& [length, equal] : by_length) {
    std::vector<DedupeTarget> targets;
    for (const Place& place : equal)
      targets.push_back({place.file->fd.get(), place.share.destination.offset});
    DedupePlan plan(length, targets.size(), kMaxShareLength);
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
      Share rest = equal[i].share.Rest(result.bytes_accepted);
      rest.length = length - result.bytes_accepted;
      if (result.outcome == DedupeOutcome::kFailed) {
        Log(LogLevel::kWarning, "cannot share a range",
            {{"path", files_.Path(equal[i].share.destination.file).value_or("")},
             {"offset", targets[i].offset},
             {"length", length},
             {"error", result.error}});
      } else if (result.outcome == DedupeOutcome::kDiffers && duplicates) {
        Bisect({source.fd, source.size, source.offset + result.bytes_accepted}, targets[i].fd, rest);
      } else if (result.outcome == DedupeOutcome::kDiffers) {
        leftover_.push_back(rest);
      }
    }
  }
}

// The range is known to differ. Halves it until the odd block is alone.
void ShareWorker::Bisect(const Source& source, int destination, const Share& share) {
  if (share.length <= block_size_ || !stop_.Check().ok()) {
    leftover_.push_back(share);
    return;
  }
  const uint64_t half = (share.length / 2 + block_size_ - 1) / block_size_ * block_size_;
  Share first = share;
  first.length = half;
  const std::pair<uint64_t, Share> parts[] = {{0, first}, {half, share.Rest(half)}};
  for (const auto& [offset, part] : parts) {
    const Source from = {source.fd, source.size, source.offset + offset};
    const auto answers =
        ops_.Dedupe(from.fd, from.offset, part.length, {{destination, part.destination.offset}});
    if (answers.ok() && answers->front().kind == DedupeAnswer::Kind::kSame &&
        answers->front().bytes == part.length) {
      totals_.Update([length = part.length](Totals& t) { t.bytes_accepted += length; });
    } else {
      Bisect(from, destination, part);
    }
  }
}

}  // namespace cowherd
