#ifndef COWHERD_SERVER_SCAN_ROW_FINDER_H_
#define COWHERD_SERVER_SCAN_ROW_FINDER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/scan/run_finder.h"

namespace cowherd {

// Finds rows: one block again and again, zeros mostly. Of each kind a part of the first row is kept, and all
// others are to share with it, so that rows of any length come down to it in few steps. Where space comes
// back block by block. Pure. One thread.
class RowFinder {
 public:
  // Nothing is shared in pieces of less than `min_blocks`.
  explicit RowFinder(uint64_t min_blocks) : min_blocks_(min_blocks) {}

  // Of a section at `address`: the pieces of rows that equal one that is kept, ascending. All of those rows
  // become 0 in `fingerprints`: a RunFinder need not look at them.
  std::vector<BlockRun> Take(uint64_t address, std::vector<uint64_t>& fingerprints);

 private:
  struct Kept {
    uint64_t address = 0;  // of the section
    uint64_t block = 0;
    uint64_t blocks = 0;
    uint64_t seen = 0;  // blocks of this kind, in rows
  };

  const uint64_t min_blocks_;
  absl::flat_hash_map<uint64_t, Kept> kept_;  // by fingerprint
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_ROW_FINDER_H_
