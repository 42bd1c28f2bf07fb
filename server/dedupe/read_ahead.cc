#include "server/dedupe/read_ahead.h"

#include <algorithm>

namespace cowherd {

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

bool ReadAhead::IsCached(const DedupePlan::Call& call) {
  bool cached = true;
  ForSides(call,
           [&](Side& side) { cached = cached && IsCached(side, call.offset, call.offset + call.length); });
  return cached;
}

void ReadAhead::Await(const DedupePlan::Call& call) {
  const uint64_t end = call.offset + call.length;
  const std::vector<Piece> now = Missing(call, call.offset, end);
  if (length_ <= kPiece) {
    // All are begun before any is waited for, so that the disk has enough to do.
    for (const Piece& piece : now) ops_.StartReading(piece.fd, piece.offset, piece.length);
    for (const Piece& piece : now) ops_.Prefetch(piece.fd, piece.offset, piece.length);
    return;
  }
  const std::vector<Piece> next = Missing(call, end, std::min(length_, end + call.length));
  std::unique_lock<std::mutex> lock(mutex_);
  pieces_.insert(pieces_.end(), now.begin(), now.end());
  pieces_.insert(pieces_.end(), next.begin(), next.end());
  const size_t wanted = asked_for_ + now.size();
  asked_for_ = wanted + next.size();
  if (!thread_.joinable()) thread_ = std::thread([this] { Read(); });
  changed_.notify_all();
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

std::vector<ReadAhead::Piece> ReadAhead::Missing(const DedupePlan::Call& call, uint64_t from, uint64_t to) {
  std::vector<Piece> missing;
  ForSides(call, [&](Side& side) {
    const uint64_t begin = std::max(from, side.begun_to);
    if (begin >= to) return;
    side.begun_to = to;
    missing.push_back({side.fd, side.offset + begin, to - begin});
  });
  return missing;
}

void ReadAhead::Read() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || !pieces_.empty(); });
    if (ends_) return;
    const Piece piece = pieces_.front();
    pieces_.pop_front();
    const std::vector<Piece> later(pieces_.begin(), pieces_.end());
    lock.unlock();
    for (const Piece& next : later) ops_.StartReading(next.fd, next.offset, next.length);
    ops_.Prefetch(piece.fd, piece.offset, piece.length);
    lock.lock();
    ++read_;
    changed_.notify_all();
  }
}

}  // namespace cowherd
