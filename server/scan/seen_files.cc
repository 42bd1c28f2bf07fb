#include "server/scan/seen_files.h"

#include <xxhash.h>

#include <algorithm>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr unsigned kLowerBits = 32;
constexpr uint64_t kUppers = 1 << 16;
constexpr uint64_t kMaxHash = (kUppers << kLowerBits) - 1;
constexpr size_t kStartsBytes = (kUppers + 1) * sizeof(uint32_t);
constexpr size_t kLeastBytes = 512 << 10;
// So many times as many as those that wait to be merged.
constexpr size_t kNewPart = 64;

// Each takes its lower bits, one for whether it was met, and its part of those that wait.
size_t Fitting(size_t budget) {
  constexpr size_t kBits = kLowerBits + 1 + 64 / kNewPart;
  return std::min<size_t>((std::max(budget, kLeastBytes) - kStartsBytes) * 8 / kBits, UINT32_MAX);
}

}  // namespace

SeenFiles::SeenFiles(size_t budget) : most_(Fitting(budget)), most_new_(most_ / kNewPart) {}

uint64_t SeenFiles::HashOf(absl::string_view path, const FileFacts& facts) {
  const uint64_t words[] = {facts.inode, facts.size, static_cast<uint64_t>(facts.modified_ns),
                            static_cast<uint64_t>(facts.changed_ns)};
  return XXH3_64bits_withSeed(path.data(), path.size(), XXH3_64bits(words, sizeof(words))) & kMaxHash;
}

bool SeenFiles::Meet(uint64_t hash) {
  if (lower_.empty()) return false;
  const uint64_t upper = hash >> kLowerBits;
  const auto end = lower_.begin() + starts_[upper + 1];
  const auto found = std::lower_bound(lower_.begin() + starts_[upper], end, static_cast<uint32_t>(hash));
  if (found == end || *found != static_cast<uint32_t>(hash)) return false;
  met_[static_cast<size_t>(found - lower_.begin())] = true;
  return true;
}

void SeenFiles::Add(uint64_t hash) {
  ++added_;
  // Those of the last scan that are gone make room when this one is complete.
  if (lower_.size() + new_.size() >= most_) {
    ++left_out_;
    return;
  }
  MakeRoom();
  new_.push_back(hash);
  if (new_.size() == most_new_) Merge();
}

// Only addresses: what is not used yet takes no memory, and nothing grows into a second copy.
void SeenFiles::MakeRoom() {
  if (!starts_.empty()) return;
  starts_.resize(kUppers + 1);
  lower_.reserve(most_);
  met_.reserve(most_);
  new_.reserve(most_new_);
}

// From the end, so that each moves once.
void SeenFiles::Merge() {
  MakeRoom();
  std::sort(new_.begin(), new_.end());
  new_.erase(std::unique(new_.begin(), new_.end()), new_.end());
  size_t from = lower_.size();
  size_t to = from + new_.size();
  lower_.resize(to);
  met_.resize(to);
  for (uint64_t upper = kUppers; upper-- > 0 && to > 0;) {
    const size_t begin = starts_[upper];
    starts_[upper + 1] = static_cast<uint32_t>(to);
    while (true) {
      const bool is_new = !new_.empty() && new_.back() >> kLowerBits == upper;
      const bool is_old = from > begin;
      if (is_new && (!is_old || static_cast<uint32_t>(new_.back()) >= lower_[from - 1])) {
        lower_[--to] = static_cast<uint32_t>(new_.back());
        met_[to] = true;
        new_.pop_back();
      } else if (is_old) {
        lower_[--to] = lower_[--from];
        met_[to] = met_[from];
      } else {
        break;
      }
    }
  }
}

size_t SeenFiles::bytes() const {
  if (starts_.empty()) return 0;
  return kStartsBytes + lower_.size() * sizeof(lower_[0]) + lower_.size() / 8 + most_new_ * sizeof(new_[0]);
}

void SeenFiles::Save(bool all, StateWriter& writer) {
  Merge();
  const auto keeps = [&](size_t i) { return all || met_[i]; };
  uint64_t count = 0;
  for (size_t i = 0; i < lower_.size(); ++i) count += keeps(i) ? 1 : 0;
  writer.AddNumber(count);
  for (uint64_t upper = 0; upper < kUppers; ++upper) {
    for (size_t i = starts_[upper]; i < starts_[upper + 1]; ++i) {
      if (keeps(i)) writer.AddNumber(upper << kLowerBits | lower_[i]);
    }
  }
}

void SeenFiles::Clear() {
  starts_ = {};
  lower_ = {};
  met_ = {};
  new_ = {};
  last_ = 0;
}

absl::Status SeenFiles::Load(StateReader& reader) {
  Clear();
  MakeRoom();
  ASSIGN_OR_RETURN(const uint64_t count, reader.TakeNumber());
  uint64_t before = 0;
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const uint64_t hash, reader.TakeNumber());
    if (hash < before || hash > kMaxHash) return absl::DataLossError("files out of order");
    before = hash;
    // Of a scan that had more memory.
    if (lower_.size() == most_) continue;
    lower_.push_back(static_cast<uint32_t>(hash));
    ++starts_[(hash >> kLowerBits) + 1];
  }
  for (uint64_t upper = 0; upper < kUppers; ++upper) starts_[upper + 1] += starts_[upper];
  met_.assign(lower_.size(), false);
  last_ = lower_.size();
  return absl::OkStatus();
}

absl::Status SeenFiles::Skip(StateReader& reader) {
  ASSIGN_OR_RETURN(const uint64_t count, reader.TakeNumber());
  return reader.Skip(count, sizeof(uint64_t));
}

}  // namespace cowherd
