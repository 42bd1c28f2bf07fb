#ifndef COWHERD_SERVER_SCAN_ROW_FINDER_H_
#define COWHERD_SERVER_SCAN_ROW_FINDER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/scan/run_finder.h"

namespace cowherd {

// Finds rows: one block again and again, zeros mostly. Of each kind a part of the first row is kept, and all
// others are to share with it, so that rows of any length come down to it in few steps. Where space comes
// back block by block. Pure. One thread.
class RowFinder {
 public:
  // Nothing is shared in pieces of less than `min_blocks`.
  explicit RowFinder(uint64_t min_blocks) : min_blocks_(min_blocks) {}

  // Whether other places share the storage of all these blocks of the section.
  using IsShared = absl::FunctionRef<bool(uint64_t first, uint64_t end)>;

  // Of a section at `address`: the pieces of rows that equal one that is kept, ascending. All of those rows
  // become 0 in `fingerprints`: a RunFinder need not look at them. A row that is shared may be what an
  // earlier scan kept: it is kept whole, since for a few blocks all that shares with it would have to follow.
  std::vector<BlockRun> Take(uint64_t address, std::vector<uint64_t>& fingerprints, IsShared is_shared);

  // Forgets what was kept at these addresses of sections: the next row of its kind takes the place.
  void Forget(absl::FunctionRef<bool(uint64_t address)> which) {
    absl::erase_if(kept_, [&](const auto& kept) { return which(kept.second.address); });
  }

  // Whether the run shares a part of a row with an earlier part of the same row. `fingerprints`: of the
  // section at `address` that the run is in.
  static bool IsWithinRow(const BlockRun& run, uint64_t address, absl::Span<const uint64_t> fingerprints);

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
