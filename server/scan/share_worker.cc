#include "server/scan/share_worker.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "server/base/failpoint.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/run.h"

namespace cowherd {

void ShareWorker::Empty(ShareQueue& queue) {
  while (stop_.Check().ok()) {
    const ShareQueue::Step step = queue.Next();
    switch (step.kind) {
      case ShareQueue::Step::Kind::kBegin:
        if (step.count == 1) {
          Begin(queue, step.index);
        } else {
          BeginTogether(queue, step.index, step.count);
        }
        break;
      case ShareQueue::Step::Kind::kAwait:
        Await(queue, step.index);
        break;
      case ShareQueue::Step::Kind::kShare:
        ShareOrCopy(queue, step.index);
        break;
      case ShareQueue::Step::Kind::kEnd:
        return;
    }
  }
}

void ShareWorker::Begin(ShareQueue& queue, size_t range) {
  const ShareQueue::Range& r = queue.range(range);
  std::shared_ptr<const OpenFile> file = files_.Open(r.file).value_or(nullptr);
  uint64_t begun = 0;
  uint64_t read = 0;
  uint64_t cached = 0;
  bool all_cached = true;
  while (file != nullptr && begun < r.length && stop_.Check().ok()) {
    const uint64_t piece = PieceAt(r.offset + begun, r.length - begun);
    pace_.Wait(piece, stop_);
    const CachedPart part = StartReading(file->fd.get(), r.offset + begun, piece);
    if (part != CachedPart::kLittle) cached += piece;
    all_cached = all_cached && part == CachedPart::kAll;
    begun += piece;
    if (all_cached) {
      read = begun;
    } else if (begun - read > ShareQueue::kMaxBegunOfRange) {
      const uint64_t waited_for = begun - read - ShareQueue::kMaxBegunOfRange;
      ops_.Prefetch(file->fd.get(), r.offset + read, waited_for);
      read += waited_for;
    }
    totals_.Update([piece](Totals& t) { t.work_done += piece; });
  }
  // After a stop, as the part that was begun; what was not is not to be let go.
  if (begun < r.length) cached = begun > 0 ? cached * r.length / begun : r.length;
  queue.Begun(range, std::move(file), read, cached);
}

void ShareWorker::BeginTogether(ShareQueue& queue, size_t first, size_t count) {
  const ShareQueue::Range& r = queue.range(first);
  const ShareQueue::Range& last = queue.range(first + count - 1);
  const uint64_t length = last.offset + last.length - r.offset;
  const std::shared_ptr<const OpenFile> file = files_.Open(r.file).value_or(nullptr);
  // What a stop left unread is not to be let go.
  std::vector<CachedPart> cached(count, CachedPart::kMost);
  if (file != nullptr) pace_.Wait(length, stop_);
  if (file != nullptr && stop_.Check().ok()) {
    bool all_cached = true;
    for (size_t i = 0; i < count; ++i) {
      const ShareQueue::Range& range = queue.range(first + i);
      cached[i] = ops_.Cached(file->fd.get(), range.offset, range.length);
      all_cached = all_cached && cached[i] == CachedPart::kAll;
    }
    if (!all_cached) ops_.StartReading(file->fd.get(), r.offset, length);
    totals_.Update([length](Totals& t) { t.work_done += length; });
  }
  for (size_t i = 0; i < count; ++i) {
    const uint64_t all = queue.range(first + i).length;
    queue.Begun(first + i, file, cached[i] == CachedPart::kAll ? all : 0,
                cached[i] == CachedPart::kLittle ? 0 : all);
  }
}

void ShareWorker::Await(ShareQueue& queue, size_t range) {
  const ShareQueue::Range& r = queue.range(range);
  const uint64_t read = queue.ReadOf(range);
  // After a stop the range may not have been begun.
  if (stop_.Check().ok()) ops_.Prefetch(queue.FileOf(range)->fd.get(), r.offset + read, r.length - read);
  queue.Arrived(range);
}

uint64_t ShareWorker::PieceAt(uint64_t offset, uint64_t left) const {
  return std::min({pace_.step(), ExtentOps::ToNextLargeFolio(offset), left});
}

CachedPart ShareWorker::StartReading(int fd, uint64_t offset, uint64_t length) {
  const CachedPart cached = ops_.Cached(fd, offset, length);
  if (cached != CachedPart::kAll) ops_.StartReading(fd, offset, length);
  return cached;
}

void ShareWorker::Fail(absl::Span<const Share> places, FailedShare::Cause cause) {
  totals_.Update([&](Totals& t) { t.ranges_failed += places.size(); });
  for (const Share& place : places) failed_.push_back({place, cause});
}

std::shared_ptr<const OpenFile> ShareWorker::Open(const FileKey& file, absl::Span<const Share> places) {
  absl::StatusOr<std::shared_ptr<const OpenFile>> open = files_.Open(file);
  if (open.ok()) return *std::move(open);
  using Cause = FailedShare::Cause;
  const Cause cause = absl::IsNotFound(open.status()) ? Cause::kChanged : CauseOf(ErrnoOf(open.status()));
  if (cause == Cause::kChanged) {
    for (const Share& place : places) failed_.push_back({place, cause});
    return nullptr;
  }
  const bool is_source = file == places.front().source.file;
  Fail(places, cause == Cause::kPassing ? cause : is_source ? Cause::kUnfit : Cause::kDestination);
  LogFew(LogLevel::kWarning, "cannot open a file to share it",
         {{"path", files_.Path(file).value_or("")}, {"error", open.status()}});
  return nullptr;
}

void ShareWorker::ShareOrCopy(ShareQueue& queue, size_t index) {
  // It was read already, but comparing it may take the disk again.
  pace_.Wait(0, stop_);
  const ShareGroup& group = queue.group(index);
  const absl::Span<const size_t> ranges = queue.RangesOf(index);
  const auto open = [&](size_t range, absl::Span<const Share> places) {
    std::shared_ptr<const OpenFile> file = queue.FileOf(range);
    return file != nullptr ? file : Open(queue.range(range).file, places);
  };
  if (group.move) {
    Copy(queue.FileOf(ranges.front()), group.places);
  } else if (const std::shared_ptr<const OpenFile> first = open(ranges.front(), group.places)) {
    std::vector<Place> places;
    for (size_t i = 0; i < group.places.size(); ++i) {
      std::shared_ptr<const OpenFile> file = open(ranges[i + 1], {&group.places[i], 1});
      if (file != nullptr) places.push_back({group.places[i], std::move(file)});
    }
    ShareWith({first->fd.get(), first->facts.size, group.places.front().source.offset}, places,
              /*duplicates=*/true);
  } else {
    leftover_.unequal.insert(leftover_.unequal.end(), group.places.begin(), group.places.end());
  }
  for (CachedRange& range : queue.Done(index)) {
    if (group.move) {
      copied_.Add(std::move(range));
    } else {
      Forget(ops_, range);
    }
  }
  if (copy_out_.full()) FinishCopies();
}

void ShareWorker::Copy(std::shared_ptr<const OpenFile> file, absl::Span<const Share> places) {
  // Where one place is gone by now, the next will do.
  while (file == nullptr && !places.empty()) {
    file = Open(places.front().destination.file, places.first(1));
    if (file != nullptr) break;
    places.remove_prefix(1);
    if (failed_.back().cause == FailedShare::Cause::kChanged) continue;
    // It keeps the extent: copies for the others would take more room, not less.
    Fail(places, FailedShare::Cause::kPassing);
    return;
  }
  if (places.empty()) return;
  const absl::StatusOr<uint64_t> copied = copy_out_.Add(file->fd.get(), places);
  if (!copied.ok()) {
    NotCopied(copied.status(), places);
  } else if (*copied < places.front().length) {
    for (size_t i = 1; i < places.size(); ++i) leftover_.unequal.push_back(places[i].Rest(*copied));
  }
}

void ShareWorker::NotCopied(const absl::Status& why, absl::Span<const Share> places) {
  const int error = ErrnoOf(why);
  if (error == ENOSPC || error == EDQUOT) {
    // There may be more once what was shared is committed.
    leftover_.no_room.insert(leftover_.no_room.end(), places.begin(), places.end());
  } else {
    Fail(places, FailedShare::Cause::kPassing);
  }
  LogFew(LogLevel::kWarning, "what holds an extent is not moved",
         {{"path", files_.Path(places.front().destination.file).value_or("")},
          {"offset", places.front().destination.offset},
          {"length", places.front().length},
          {"error", why}});
}

void ShareWorker::FinishCopies() {
  const absl::Cleanup let_go = [this] {
    copy_out_.Clear();
    copied_.ForgetAll();
  };
  if (copy_out_.copies().empty() || !stop_.Check().ok()) return;
  const absl::Status flushed = copy_out_.Flush(stop_);
  if (!stop_.Check().ok()) return;
  if (!flushed.ok()) {
    for (const CopyOut::Copied& copy : copy_out_.copies()) NotCopied(flushed, copy.places);
    return;
  }
  Crashpoint("node.move.copied");
  for (const CopyOut::Copied& copy : copy_out_.copies()) {
    if (!stop_.Check().ok()) return;
    const Source source = {copy_out_.fd(copy.file), copy.offset + copy.length, copy.offset};
    std::vector<Place> places;
    std::deque<CachedRange> begun;  // and not waited for
    CachedRanges brought_in(ops_);
    uint64_t bytes_begun = 0;
    const auto await_one = [&] {
      const CachedRange& range = begun.front();
      ops_.Prefetch(range.file->fd.get(), range.offset, range.length);
      bytes_begun -= range.length;
      begun.pop_front();
    };
    const auto begin = [&](const CachedRange& range) {
      const CachedPart cached = StartReading(range.file->fd.get(), range.offset, range.length);
      if (cached == CachedPart::kLittle) brought_in.Add(range);
      if (cached != CachedPart::kAll) {
        begun.push_back(range);
        bytes_begun += range.length;
      }
      while (bytes_begun > ShareQueue::kMaxBegunOfRange) await_one();
    };
    const auto share = [&] {
      while (!begun.empty()) await_one();
      ShareWith(source, std::exchange(places, {}), /*duplicates=*/false);
      brought_in.ForgetAll();
    };
    for (const Share& place : copy.places) {
      std::shared_ptr<const OpenFile> file = Open(place.destination.file, {&place, 1});
      if (file == nullptr) continue;
      // Each file that holds the same storage has pages of its own.
      for (uint64_t done = 0; done < copy.length;) {
        const uint64_t offset = place.destination.offset + done;
        const uint64_t piece = PieceAt(offset, copy.length - done);
        pace_.Wait(piece, stop_);
        if (!stop_.Check().ok()) return;
        begin({file, offset, piece});
        done += piece;
        totals_.Update([piece](Totals& t) { t.work_done += piece; });
      }
      places.push_back({place, std::move(file)});
      const bool is_much = (places.size() + 1) * copy.length > kMaxGroupBytes;
      if (is_much || places.size() == kMaxDedupeTargets) share();
    }
    share();
  }
  const absl::StatusOr<ExtentList> extents =
      ops_.Extents(copy_out_.main_fd(), 0, copy_out_.size(), SIZE_MAX, /*flush=*/false);
  if (extents.ok()) {
    for (const FileExtent& extent : extents->extents) moved_.push_back({extent.physical, extent.length});
  }
}

void ShareWorker::Refused(const Source& source, const Share& place, const absl::Status& error, bool all) {
  FailedShare::Cause cause = CauseOf(ErrnoOf(error));
  const bool unfit = cause == FailedShare::Cause::kUnfit;
  if (unfit && !all && !ops_.IsSwap(source.fd)) cause = FailedShare::Cause::kDestination;
  failed_.push_back({place, cause});
  LogFew(LogLevel::kWarning, "cannot share a range",
         {{"path", files_.Path(place.destination.file).value_or("")},
          {"offset", place.destination.offset},
          {"length", place.length},
          {"error", error}});
}

void ShareWorker::ShareWith(const Source& source, absl::Span<const Place> places, bool duplicates) {
  const uint64_t source_left = source.offset < source.size ? source.size - source.offset : 0;
  // By how much of the range the kernel can share.
  std::map<uint64_t, std::vector<Place>> by_length;
  for (const Place& place : places) {
    const Share& share = place.share;
    if (share.destination.offset >= place.file->facts.size) continue;
    const uint64_t left = place.file->facts.size - share.destination.offset;
    if (source_left < share.length) failed_.push_back({share, FailedShare::Cause::kChanged});
    uint64_t length = std::min({share.length, left, source_left});
    // A block that is not full ends both files or is not shared (fs/remap_range.c).
    if (length != left || length != source_left) length = length / block_size_ * block_size_;
    if (length < std::min(share.length, left)) leftover_.unequal.push_back(share.Rest(length));
    if (length > 0) by_length[length].push_back(place);
  }
  for (const auto& [length, equal] : by_length) {
    std::vector<DedupeTarget> targets;
    for (const Place& place : equal)
      targets.push_back({place.file->fd.get(), place.share.destination.offset});
    DedupePlan plan(length, targets.size(), kMaxShareLength);
    const absl::Status refused = RunDedupe(ops_, {source.fd, source.offset, length}, targets, stop_, plan);
    for (size_t i = 0; i < targets.size() && !refused.ok(); ++i) plan.Fail(i, refused);
    for (size_t i = 0; i < targets.size(); ++i) {
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
        Refused(source, rest, result.error, /*all=*/!refused.ok());
        if (!duplicates) totals_.Update([](Totals& t) { ++t.ranges_failed; });
      } else if (result.outcome == DedupeOutcome::kDiffers && duplicates) {
        failed_.push_back({rest, FailedShare::Cause::kChanged});
        Bisect({source.fd, source.size, source.offset + result.bytes_accepted}, targets[i].fd, rest);
      } else if (result.outcome == DedupeOutcome::kDiffers) {
        leftover_.unequal.push_back(rest);
      }
    }
  }
}

// The range is known to differ. Halves it until the odd block is alone.
void ShareWorker::Bisect(const Source& source, int destination, const Share& share) {
  if (share.length <= block_size_ || !stop_.Check().ok()) {
    leftover_.unequal.push_back(share);
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
    absl::Status error = answers.status();
    if (answers.ok() && answers->front().kind == DedupeAnswer::Kind::kError) {
      error = ErrnoError(answers->front().error, "share a part of the range");
    }
    if (!error.ok()) {
      Refused(from, part, error, /*all=*/!answers.ok());
      totals_.Update([](Totals& t) { ++t.ranges_failed; });
    } else if (answers->front().kind == DedupeAnswer::Kind::kSame && answers->front().bytes == part.length) {
      totals_.Update([length = part.length](Totals& t) { t.bytes_accepted += length; });
    } else {
      Bisect(from, destination, part);
    }
  }
}

}  // namespace cowherd
