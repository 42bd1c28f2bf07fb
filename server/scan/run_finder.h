#ifndef COWHERD_SERVER_SCAN_RUN_FINDER_H_
#define COWHERD_SERVER_SCAN_RUN_FINDER_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "server/fs/storage_map.h"
#include "server/scan/anchor_table.h"

namespace cowherd {

// Addresses of extents are below: in units of blocks, of 4 KiB at least, they leave 16 bits for a block's
// number.
constexpr uint64_t kMaxAddress = uint64_t{1} << 59;

// Blocks of an extent whose checksums equal those of a place seen before.
struct BlockRun {
  uint64_t block = 0;          // in the extent
  uint64_t source_extent = 0;  // address
  uint64_t source_block = 0;   // in that extent
  uint64_t blocks = 0;
};

// Finds, extent by extent, the runs that were seen before: in other extents or earlier in the same one.
// Checksums of 32 bits are looked up two neighbours at a time, since one alone says little (3 % of the blocks
// of 1 TiB would be taken for another's); extents of one block only match such. Pure but for `checksums_of`.
// One thread.
class RunFinder {
 public:
  // The checksums of an earlier extent, whole; empty: it is no longer there, and is forgotten. None: that
  // cannot be told now. Valid until the next call.
  using ChecksumsOf = absl::FunctionRef<absl::optional<absl::Span<const uint64_t>>(uint64_t address)>;

  // The budget is the AnchorTable's. Blocks have 4 KiB or more.
  RunFinder(size_t budget, uint32_t block_size, unsigned checksum_bits)
      : anchors_(budget), block_size_(block_size), pairs_(checksum_bits < 64) {}

  // The extent's runs, ascending, not overlapping; each lies in one earlier extent. Without `keep`, later
  // extents are not compared with this one.
  std::vector<BlockRun> Find(uint64_t address, absl::Span<const uint64_t> checksums, ChecksumsOf checksums_of,
                             bool keep = true);

  // Takes the extent as the place to share from henceforth, or only its blocks from `first` to before `last`.
  void Prefer(uint64_t address, absl::Span<const uint64_t> checksums, uint64_t first = 0,
              uint64_t last = UINT64_MAX);

  const AnchorTable& anchors() const { return anchors_; }
  // To keep and to take up again where an earlier scan ended.
  AnchorTable& anchors() { return anchors_; }

 private:
  // 0: no key here.
  uint64_t KeyOf(absl::Span<const uint64_t> checksums, size_t block) const;
  uint64_t Pack(uint64_t address, uint64_t block) const { return (address / block_size_) << 16 | block; }

  AnchorTable anchors_;
  const uint32_t block_size_;
  const bool pairs_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_RUN_FINDER_H_
