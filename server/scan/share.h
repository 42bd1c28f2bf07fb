#ifndef COWHERD_SERVER_SCAN_SHARE_H_
#define COWHERD_SERVER_SCAN_SHARE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/scan/extent_plan.h"

namespace cowherd {

// One place that is to share with another.
struct Share {
  FilePosition source;
  FilePosition destination;
  uint64_t length = 0;
  uint64_t storage = 0;         // address of what the destination gives up
  uint64_t source_storage = 0;  // address of what both share from then on; 0: not known
  uint64_t extent = 0;          // address of the extent that `storage` is in; 0: not known

  // What is behind the first `done` bytes.
  Share Rest(uint64_t done) const;
};

// One place that did not share with its source.
struct FailedShare {
  enum class Cause {
    kChanged,      // one side is not what it was by now, or is gone
    kPassing,      // the time was not right, or the disk: it may work another time
    kUnfit,        // one side is of a file that shares with no other
    kDestination,  // the destination's file does not share with this source, or is not this process' to
                   // change
  };
  Share share;
  Cause cause = Cause::kChanged;
};

// Places that keep their storage for now, though a copy could take it over.
struct Leftover {
  std::vector<Share> unequal;  // to what they were to share with, or it is gone; or they are not whole blocks
  std::vector<Share> no_room;  // for their copy: ENOSPC or EDQUOT

  void Add(const Leftover& more);
};

// What an errno says for one place. Pure.
FailedShare::Cause CauseOf(int error);

// That part of each of the places.
std::vector<Share> PartOf(absl::Span<const Share> places, uint64_t begin, uint64_t length);

// What is done at once. Either places that share with the same range: `source` and `length` of all are equal.
// Or, with `move`, places that have the same storage already, to be copied and then share with the copy;
// their sources mean nothing.
struct ShareGroup {
  std::vector<Share> places;
  bool move = false;

  uint64_t length() const { return places.front().length; }
};

// Parts to be carried out one after the other: what shares with a place that itself gives up its storage
// comes in a later part, and so shares what that place has by then. In each part as in the list, where such a
// place must come before those that share with it. No two destinations overlap. Pure.
std::vector<std::vector<Share>> OrderShares(std::vector<Share> shares);

// In the order of the sources' storage, so that little has to be kept while it is read. Ranges are cut so
// that a group is one call of the kernel, and bounded in bytes: see the constants. Pure.
std::vector<ShareGroup> GroupShares(std::vector<Share> shares);

// Cuts a list of groups so that what the parts read and keep is bounded, but for groups that alone are more.
// Pure.
std::vector<std::vector<ShareGroup>> SplitGroups(std::vector<ShareGroup> groups, uint64_t max_bytes,
                                                 size_t max_ranges);

// One comparison of the kernel; cancel takes effect between two. btrfs itself goes in steps of 16 MiB
// (fs/btrfs/reflink.c).
constexpr uint64_t kMaxShareLength = 16 << 20;
// Of the source and all places of a group, unless there is only one place.
constexpr uint64_t kMaxGroupBytes = 32 << 20;

// Bytes that a group reads.
uint64_t BytesOf(const ShareGroup& group);

// Bytes that are read to carry out what SplitGroups made: in each part a source that groups share once, and
// what is moved once to be copied and once at each place. Pure.
uint64_t WorkOf(absl::Span<const ShareGroup> part);
uint64_t WorkOf(absl::Span<const std::vector<ShareGroup>> parts);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SHARE_H_
