#include "server/dedupe/join.h"

#include <algorithm>

namespace cowherd {
namespace {

bool SameFile(const RootedPath& a, const RootedPath& b) {
  return a.root == b.root && a.relative == b.relative;
}

// In one file, ranges that overlap only when joined would be refused.
bool CanHaveNeighbours(const DedupeRequest& request, uint64_t block_size) {
  if (request.destinations.size() != 1 || request.measure_shared) return false;
  const RootedPosition& destination = request.destinations.front();
  return !SameFile(request.source.path, destination.path) && request.source.offset % block_size == 0 &&
         destination.offset % block_size == 0 && request.length % block_size == 0;
}

bool Follows(const RootedPosition& next, const RootedPosition& previous, uint64_t length) {
  return next.offset == previous.offset + length && SameFile(next.path, previous.path);
}

}  // namespace

size_t CountNeighbours(absl::Span<const DedupeRequest> requests, uint64_t block_size) {
  if (!CanHaveNeighbours(requests.front(), block_size)) return 1;
  uint64_t most = std::min(kMaxJoinedLength, requests.front().max_bytes_per_call);
  uint64_t length = requests.front().length;
  size_t count = 1;
  for (; count < requests.size(); ++count) {
    const DedupeRequest& previous = requests[count - 1];
    const DedupeRequest& next = requests[count];
    most = std::min(most, next.max_bytes_per_call);
    if (length > most || next.length > most - length) break;
    if (!CanHaveNeighbours(next, block_size) || !Follows(next.source, previous.source, previous.length) ||
        !Follows(next.destinations.front(), previous.destinations.front(), previous.length)) {
      break;
    }
    length += next.length;
  }
  return count;
}

DedupeRequest Join(absl::Span<const DedupeRequest> neighbours) {
  DedupeRequest joined = neighbours.front();
  for (const DedupeRequest& next : neighbours.subspan(1)) {
    joined.length += next.length;
    joined.max_bytes_per_call = std::min(joined.max_bytes_per_call, next.max_bytes_per_call);
  }
  return joined;
}

}  // namespace cowherd
