#ifndef COWHERD_SERVER_SCAN_SHARE_H_
#define COWHERD_SERVER_SCAN_SHARE_H_

#include <cstdint>
#include <vector>

#include "server/scan/extent_plan.h"

namespace cowherd {

// One place that is to share with another.
struct Share {
  FilePosition source;
  FilePosition destination;
  uint64_t length = 0;
  uint64_t storage = 0;  // address of what the destination gives up

  // What is behind the first `done` bytes.
  Share Rest(uint64_t done) const;
};

// Places that share with the same range; `source` and `length` of all are equal.
using ShareGroup = std::vector<Share>;

// In the order of sources, so that what overlaps is read once. Ranges are cut so that a group is one call of
// the kernel, and bounded in bytes: see the constants. Pure.
std::vector<ShareGroup> GroupShares(std::vector<Share> shares);

// One comparison of the kernel; cancel takes effect between two. btrfs itself goes in steps of 16 MiB
// (fs/btrfs/reflink.c).
constexpr uint64_t kMaxShareLength = 16 << 20;
// Of the source and all places of a group, unless there is only one place.
constexpr uint64_t kMaxGroupBytes = 32 << 20;

// Bytes that comparing a group reads.
uint64_t BytesOf(const ShareGroup& group);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SHARE_H_
