#include "server/scan/share_worker.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/run.h"

namespace cowherd {
namespace {

constexpr uint64_t kBytesAhead = kMaxGroupBytes;
constexpr size_t kFilesAhead = 128;
// What was read stays for so much longer: the next groups often compare with the same source.
constexpr uint64_t kMaxBroughtBytes = 3 * kMaxGroupBytes;
constexpr size_t kMaxBroughtIn = 2 * kFilesAhead + kMaxDedupeTargets;

}  // namespace

void ShareWorker::Empty(ShareQueue& queue) {
  std::deque<ReadyGroup> ahead;
  uint64_t bytes = 0;
  size_t files = 0;
  bool more = true;
  const absl::Cleanup forget = [this] { ForgetUntil(0, 0); };
  while (stop_.Check().ok()) {
    while (more && (ahead.empty() || (bytes < kBytesAhead && files < kFilesAhead))) {
      const ShareGroup* next = queue.Next();
      more = next != nullptr;
      absl::optional<ReadyGroup> group = more ? Open(*next) : absl::nullopt;
      if (!group) continue;
      bytes += group->bytes;
      files += group->places.size() + 1;
      ahead.push_back(*std::move(group));
    }
    if (ahead.empty()) return;
    // It was read already, but comparing it may take the disk again.
    pace_.Wait(0, stop_);
    const ReadyGroup group = std::move(ahead.front());
    ahead.pop_front();
    bytes -= group.bytes;
    files -= group.places.size() + 1;
    ShareWith({group.source->fd.get(), group.source->facts.size, group.offset}, group.places,
              /*duplicates=*/true);
  }
}

absl::optional<ShareWorker::ReadyGroup> ShareWorker::Open(const ShareGroup& group) {
  const uint64_t length = group.front().length;
  pace_.Wait(BytesOf(group), stop_);
  // Gone by now, or no longer of this scan.
  absl::StatusOr<std::shared_ptr<const OpenFile>> source = files_.Open(group.front().source.file);
  if (!source.ok()) return absl::nullopt;
  ReadyGroup ready;
  ready.source = *std::move(source);
  ready.offset = group.front().source.offset;
  Read(ready.source, ready.offset, length);
  for (const Share& share : group) {
    absl::StatusOr<std::shared_ptr<const OpenFile>> file = files_.Open(share.destination.file);
    if (!file.ok()) continue;
    Read(*file, share.destination.offset, length);
    ready.places.push_back({share, *std::move(file)});
  }
  if (ready.places.empty()) return absl::nullopt;
  ready.bytes = BytesOf(group);
  return ready;
}

void ShareWorker::Read(const std::shared_ptr<const OpenFile>& file, uint64_t offset, uint64_t length) {
  if (ops_.StartReading(file->fd.get(), offset, length)) return;
  brought_in_.push_back({file, offset, length});
  brought_bytes_ += length;
  ForgetUntil(kMaxBroughtIn, kMaxBroughtBytes);
}

void ShareWorker::ForgetUntil(size_t ranges, uint64_t bytes) {
  while (brought_in_.size() > ranges || brought_bytes_ > bytes) {
    const CachedRange& oldest = brought_in_.front();
    ops_.Forget(oldest.file->fd.get(), oldest.offset, oldest.length);
    brought_bytes_ -= oldest.length;
    brought_in_.pop_front();
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
            {{"offset", targets[i].offset}, {"length", length}, {"error", result.error}});
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
