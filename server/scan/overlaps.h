#ifndef COWHERD_SERVER_SCAN_OVERLAPS_H_
#define COWHERD_SERVER_SCAN_OVERLAPS_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace cowherd {

// Blocks of an extent that another one, `by`, holds too.
struct ExtentOverlap {
  uint64_t extent = 0;         // address
  uint64_t extent_blocks = 0;  // all of them
  uint64_t live_blocks = 0;    // that files refer to
  uint64_t block = 0;
  uint64_t by = 0;  // address
  uint64_t by_block = 0;
  uint64_t blocks = 0;
};

// Of the extents that overlap: the addresses of those that are to stay, so that the others may go free and
// little stays beside one copy of everything. An extent goes that is held by those that stay, but for one
// `freed_per_moved`th of it at most. Extents that are only named as `by` stay anyway. To stay with the least
// is weighted set cover; this is the greedy approximation (Chvatal, 1979): the longest first of those that
// hold nothing that stays already. What two extents share with a third at one place is taken to be equal, and
// of places that contradict each other the longest overlap tells: a mistake makes the choice worse, not
// wrong. Pure. About n log n.
absl::flat_hash_set<uint64_t> ExtentsToKeep(std::vector<ExtentOverlap> overlaps, uint64_t freed_per_moved);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_OVERLAPS_H_
