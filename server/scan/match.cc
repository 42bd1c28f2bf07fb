#include "server/scan/match.h"

namespace cowherd {

Match GrowMatch(uint64_t source_block, uint64_t destination_block, const FingerprintWindow& destination,
                uint64_t floor, bool same_file, absl::FunctionRef<Fingerprint(uint64_t block)> source) {
  Match match{source_block, destination_block, 0};
  const uint64_t distance =
      source_block < destination_block ? destination_block - source_block : source_block - destination_block;
  const uint64_t most = same_file ? distance : UINT64_MAX;
  const auto equal = [&](uint64_t s, uint64_t d) {
    const Fingerprint fingerprint = destination.at(d);
    return fingerprint != kNoFingerprint && source(s) == fingerprint;
  };
  while (match.blocks < most && match.destination_block + match.blocks < destination.end_block() &&
         equal(match.source_block + match.blocks, match.destination_block + match.blocks)) {
    ++match.blocks;
  }
  if (match.blocks == 0) return match;
  while (match.blocks < most && match.destination_block > floor && match.source_block > 0 &&
         equal(match.source_block - 1, match.destination_block - 1)) {
    --match.source_block;
    --match.destination_block;
    ++match.blocks;
  }
  return match;
}

}  // namespace cowherd
