#include "server/dedupe/read_ahead.h"

#include <algorithm>

namespace cowherd {
namespace {

constexpr uint64_t kPiece = ExtentOps::kLargeFolio;
// Of each side, beyond the call that is being made.
constexpr uint64_t kMaxAhead = 16 << 20;
// Pieces that are begun while one is waited for, so that the disk has enough to do.
constexpr size_t kBegunAtOnce = 4;

}  // namespace

ReadAhead::ReadAhead(ExtentOps& ops, const DedupeRange& range, absl::Span<const DedupeTarget> targets)
    : ops_(ops), length_(range.length) {
  sides_.push_back({range.source, range.offset});
  for (const DedupeTarget& target : targets) sides_.push_back({target.fd, target.offset});
}

ReadAhead::~ReadAhead() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void ReadAhead::Await(const DedupePlan::Call& call) {
  const uint64_t end = call.offset + call.length;
  bool cached = true;
  ForSides(call, [&](Side& side) { cached = cached && IsCached(side, call.offset, end); });
  if (cached) return;
  Ask(call, call.offset, end);
  const size_t wanted = asked_for_;
  Ask(call, end, std::min(length_, end + std::min(call.length, kMaxAhead)));
  std::unique_lock<std::mutex> lock(mutex_);
  if (!thread_.joinable() && asked_for_ == wanted) {
    // Nothing is to be read meanwhile.
    while (read_ < wanted) ReadOne(lock);
    return;
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { Read(); });
  changed_.wait(lock, [&] { return read_ >= wanted; });
}

void ReadAhead::ForSides(const DedupePlan::Call& call, absl::FunctionRef<void(Side&)> work) {
  work(sides_.front());
  for (const size_t target : call.targets) work(sides_[target + 1]);
}

bool ReadAhead::IsCached(Side& side, uint64_t from, uint64_t to) {
  if (to <= side.cached_to) return true;
  if (from < side.begun_to || ops_.Cached(side.fd, side.offset + from, to - from) != CachedPart::kAll)
    return false;
  side.cached_to = to;
  return true;
}

void ReadAhead::Ask(const DedupePlan::Call& call, uint64_t from, uint64_t to) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (uint64_t at = from; at < to; at += std::min(kPiece, to - at)) {
    ForSides(call, [&](Side& side) {
      const uint64_t begin = std::max(from, side.begun_to);
      // Where a large folio ends, but for what comes last.
      const uint64_t end = to - at <= kPiece ? to : at + ExtentOps::ToNextLargeFolio(side.offset + at);
      if (begin >= end) return;
      side.begun_to = end;
      pieces_.push_back({side.fd, side.offset + begin, end - begin});
      ++asked_for_;
    });
  }
  changed_.notify_all();
}

void ReadAhead::Read() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || !pieces_.empty(); });
    if (ends_) return;
    ReadOne(lock);
  }
}

void ReadAhead::ReadOne(std::unique_lock<std::mutex>& lock) {
  std::vector<Piece> begin;
  for (; begun_ < std::min(kBegunAtOnce, pieces_.size()); ++begun_) begin.push_back(pieces_[begun_]);
  const Piece piece = pieces_.front();
  pieces_.pop_front();
  --begun_;
  lock.unlock();
  for (const Piece& next : begin) {
    if (!ends_) ops_.StartReading(next.fd, next.offset, next.length);
  }
  if (!ends_) ops_.Prefetch(piece.fd, piece.offset, piece.length);
  lock.lock();
  ++read_;
  changed_.notify_all();
}

}  // namespace cowherd
