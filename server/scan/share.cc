#include "server/scan/share.h"

#include <algorithm>
#include <tuple>

#include "server/fs/extent_ops.h"

namespace cowherd {
namespace {

auto SourceKey(const Share& share) {
  const FilePosition& source = share.source;
  return std::tie(source.file.subvolume, source.file.inode, source.offset, share.length);
}

bool Fits(const ShareGroup& group, const Share& share) {
  return SourceKey(group.front()) == SourceKey(share) && group.size() < kMaxDedupeTargets &&
         share.length * (group.size() + 2) <= kMaxGroupBytes;
}

}  // namespace

Share Share::Rest(uint64_t done) const {
  Share rest = *this;
  rest.source.offset += done;
  rest.destination.offset += done;
  rest.storage += done;
  rest.length -= done;
  return rest;
}

uint64_t BytesOf(const ShareGroup& group) { return group.front().length * (group.size() + 1); }

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
    const auto key_a = SourceKey(a);
    const auto key_b = SourceKey(b);
    return key_a != key_b ? key_a < key_b : a.storage < b.storage;
  });
  std::vector<ShareGroup> groups;
  for (const Share& piece : pieces) {
    if (!groups.empty() && Fits(groups.back(), piece)) {
      groups.back().push_back(piece);
    } else {
      groups.push_back({piece});
    }
  }
  return groups;
}

}  // namespace cowherd
