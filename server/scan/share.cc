#include "server/scan/share.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <tuple>
#include <utility>

#include "server/fs/extent_ops.h"

namespace cowherd {
namespace {

auto SourceKey(const Share& share) {
  const FilePosition& source = share.source;
  return std::tie(source.file.subvolume, source.file.inode, source.offset, share.length);
}

bool Fits(const ShareGroup& group, const Share& share) {
  return SourceKey(group.places.front()) == SourceKey(share) && group.places.size() < kMaxDedupeTargets &&
         share.length * (group.places.size() + 2) <= kMaxGroupBytes;
}

// Whether both groups read the same source.
bool SameSource(const ShareGroup& a, const ShareGroup& b) {
  return !a.move && !b.move && SourceKey(a.places.front()) == SourceKey(b.places.front());
}

}  // namespace

Share Share::Rest(uint64_t done) const {
  Share rest = *this;
  rest.source.offset += done;
  rest.destination.offset += done;
  rest.storage += done;
  rest.source_storage += done;
  rest.length -= done;
  return rest;
}

void Leftover::Add(const Leftover& more) {
  unequal.insert(unequal.end(), more.unequal.begin(), more.unequal.end());
  no_room.insert(no_room.end(), more.no_room.begin(), more.no_room.end());
}

FailedShare::Cause CauseOf(int error) {
  switch (error) {
    case ENOENT:
    case ESTALE:
      return FailedShare::Cause::kChanged;
    case EAGAIN:
    case EBUSY:
    case EDQUOT:
    case EINTR:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
    case EROFS:
    case ETIMEDOUT:
      return FailedShare::Cause::kPassing;
    case EACCES:
    case EINVAL:  // behind the end of one of the files, or files of different kinds
    case EPERM:
      return FailedShare::Cause::kDestination;
    default:
      return FailedShare::Cause::kUnfit;
  }
}

std::vector<Share> PartOf(absl::Span<const Share> places, uint64_t begin, uint64_t length) {
  std::vector<Share> part;
  for (const Share& place : places) {
    part.push_back(place.Rest(begin));
    part.back().length = length;
  }
  return part;
}

uint64_t BytesOf(const ShareGroup& group) {
  return group.move ? group.length() : group.length() * (group.places.size() + 1);
}

std::vector<std::vector<Share>> OrderShares(std::vector<Share> shares) {
  struct GivenUp {
    uint64_t end = 0;
    size_t part = 0;
  };
  std::map<std::pair<FileKey, uint64_t>, GivenUp> given_up;  // by where it begins
  std::vector<std::vector<Share>> parts;
  for (Share& share : shares) {
    const FileKey& file = share.source.file;
    size_t part = 0;
    auto next = given_up.lower_bound({file, share.source.offset + share.length});
    while (next != given_up.begin()) {
      --next;
      if (!(next->first.first == file) || next->second.end <= share.source.offset) break;
      part = std::max(part, next->second.part + 1);
    }
    given_up[{share.destination.file, share.destination.offset}] = {share.destination.offset + share.length,
                                                                    part};
    if (parts.size() <= part) parts.resize(part + 1);
    parts[part].push_back(share);
  }
  return parts;
}

std::vector<ShareGroup> GroupShares(std::vector<Share> shares) {
  std::vector<Share> pieces;
  pieces.reserve(shares.size());
  for (Share& share : shares) {
    while (share.length > kMaxShareLength) {
      pieces.push_back(share);
      pieces.back().length = kMaxShareLength;
      share = share.Rest(kMaxShareLength);
    }
    pieces.push_back(share);
  }
  std::sort(pieces.begin(), pieces.end(), [](const Share& a, const Share& b) {
    if (a.source_storage != b.source_storage) return a.source_storage < b.source_storage;
    const auto key_a = SourceKey(a);
    const auto key_b = SourceKey(b);
    return key_a != key_b ? key_a < key_b : a.storage < b.storage;
  });
  std::vector<ShareGroup> groups;
  for (const Share& piece : pieces) {
    if (!groups.empty() && Fits(groups.back(), piece)) {
      groups.back().places.push_back(piece);
    } else {
      groups.push_back({{piece}});
    }
  }
  return groups;
}

uint64_t WorkOf(absl::Span<const ShareGroup> part) {
  uint64_t work = 0;
  for (size_t i = 0; i < part.size(); ++i) {
    const ShareGroup& group = part[i];
    work += BytesOf(group);
    if (group.move) work += group.length() * group.places.size();
    if (i > 0 && SameSource(part[i - 1], group)) work -= group.length();
  }
  return work;
}

uint64_t WorkOf(absl::Span<const std::vector<ShareGroup>> parts) {
  uint64_t work = 0;
  for (const std::vector<ShareGroup>& part : parts) work += WorkOf(part);
  return work;
}

std::vector<std::vector<ShareGroup>> SplitGroups(std::vector<ShareGroup> groups, uint64_t max_bytes,
                                                 size_t max_ranges) {
  std::vector<std::vector<ShareGroup>> parts;
  uint64_t bytes = 0;
  size_t ranges = 0;
  for (ShareGroup& group : groups) {
    const bool same_source = !parts.empty() && SameSource(parts.back().back(), group);
    uint64_t more = BytesOf(group) - (same_source ? group.length() : 0);
    if (parts.empty() || bytes + more > max_bytes || ranges + group.places.size() + 1 > max_ranges) {
      parts.emplace_back();
      bytes = ranges = 0;
      more = BytesOf(group);
    }
    bytes += more;
    ranges += group.places.size() + 1;
    parts.back().push_back(std::move(group));
  }
  return parts;
}

}  // namespace cowherd
