#include "server/scan/share.h"

#include <algorithm>
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
  // By the lowest address that the source's places give up.
  std::vector<std::pair<uint64_t, size_t>> sources;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i == 0 || SourceKey(pieces[i]) != SourceKey(pieces[i - 1]))
      sources.emplace_back(pieces[i].storage, i);
  }
  std::sort(sources.begin(), sources.end());
  std::vector<ShareGroup> groups;
  for (const auto& [storage, first] : sources) {
    groups.push_back({pieces[first]});
    for (size_t i = first + 1; i < pieces.size() && SourceKey(pieces[i]) == SourceKey(pieces[first]); ++i) {
      if (Fits(groups.back(), pieces[i])) {
        groups.back().push_back(pieces[i]);
      } else {
        groups.push_back({pieces[i]});
      }
    }
  }
  return groups;
}

}  // namespace cowherd
