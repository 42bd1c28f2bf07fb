#ifndef COWHERD_SERVER_DEDUPE_JOIN_H_
#define COWHERD_SERVER_DEDUPE_JOIN_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "server/dedupe/request.h"

// Requests that follow each other in one file may be asked of the kernel in one call: a call costs more than
// the comparison of a few blocks. Pure.
namespace cowherd {

constexpr uint64_t kMaxJoinedLength = 16 << 20;

// How many of `requests`, from the first on, are neighbours: whole blocks of one source file and of one
// destination file, each behind the one before on both sides, measured by none. At most kMaxJoinedLength in
// all, and no more than each of them allows for a call. 1: the first stands alone. If the kernel shares all
// of their ranges in one call, it would share each; any other answer to the whole tells nothing of the parts.
size_t CountNeighbours(absl::Span<const DedupeRequest> requests, uint64_t block_size);

// One request for all of these neighbours.
DedupeRequest Join(absl::Span<const DedupeRequest> neighbours);

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_JOIN_H_
