#ifndef COWHERD_SERVER_SCAN_MATCH_H_
#define COWHERD_SERVER_SCAN_MATCH_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/scan/fingerprint_source.h"

namespace cowherd {

// Equal runs of blocks in two files, or in two places of one.
struct Match {
  uint64_t source_block = 0;
  uint64_t destination_block = 0;
  uint64_t blocks = 0;
};

// A stretch of a file's fingerprints.
struct FingerprintWindow {
  uint64_t first_block = 0;
  absl::Span<const Fingerprint> fingerprints;

  uint64_t end_block() const { return first_block + fingerprints.size(); }
  Fingerprint at(uint64_t block) const { return fingerprints[block - first_block]; }
};

// Grows a hit both ways to the longest run that is equal: in the destination from `floor` to the window's
// end. `source` gives the source's fingerprint of a block, 0 where there is none. In one file (`same_file`)
// the two runs do not overlap; the source lies before the destination or behind it. Pure.
Match GrowMatch(uint64_t source_block, uint64_t destination_block, const FingerprintWindow& destination,
                uint64_t floor, bool same_file, absl::FunctionRef<Fingerprint(uint64_t block)> source);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_MATCH_H_
