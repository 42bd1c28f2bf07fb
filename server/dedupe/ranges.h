#ifndef COWHERD_SERVER_DEDUPE_RANGES_H_
#define COWHERD_SERVER_DEDUPE_RANGES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/request.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"

namespace cowherd {

struct RangesResult {
  std::vector<TargetResult> targets;  // as the request's destinations
  std::vector<uint64_t> shared;       // with measure_shared: bytes on the source's storage; else empty
};

// What requests that waited together need open: each root once, and the files used last. For as long as it
// takes to serve them, no longer: until then the roots cannot be unmounted, and a path means the file that it
// meant at its first use. Not thread-safe.
class OpenPlaces {
 public:
  explicit OpenPlaces(FileTrees& trees) : trees_(trees) {}

  // As FileTree::Open. What could not be opened is tried again the next time.
  absl::StatusOr<std::shared_ptr<const OpenFile>> Open(const RootedPath& path, bool for_destination);

  // Of the root's filesystem; asked once.
  absl::StatusOr<uint32_t> BlockSize(ExtentOps& ops, const Root& root);

 private:
  using Key = std::tuple<const Root*, std::string, bool>;
  struct OpenRoot {
    std::unique_ptr<FileTree> tree;
    uint32_t block_size = 0;  // 0: not asked yet
  };

  absl::StatusOr<OpenRoot*> Find(const Root& root);

  FileTrees& trees_;
  absl::flat_hash_map<const Root*, OpenRoot> roots_;
  absl::flat_hash_map<Key, std::shared_ptr<const OpenFile>> files_;
};

// One DedupeRanges request; uses 127 destinations at a time. OK: every destination has its outcome, also
// where it could not be opened. An error: nothing was tried.
absl::StatusOr<RangesResult> DedupeRanges(ExtentOps& ops, OpenPlaces& places, const DedupeRequest& request,
                                          const Stop& stop);

// The same, from open to answer.
absl::StatusOr<RangesResult> DedupeRanges(ExtentOps& ops, FileTrees& trees, const DedupeRequest& request,
                                          const Stop& stop);

// Serves the first of `requests` (1 or more), and those behind it that one kernel call can serve with it; see
// CountNeighbours. One result for each that was served, in order, as DedupeRanges would give it: if the call
// does not share all, each is served by itself, which takes at most one comparison more.
std::vector<absl::StatusOr<RangesResult>> DedupeNeighbours(ExtentOps& ops, OpenPlaces& places,
                                                           absl::Span<const DedupeRequest> requests,
                                                           const Stop& stop);

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_RANGES_H_
