#ifndef COWHERD_SERVER_DEDUPE_REQUEST_H_
#define COWHERD_SERVER_DEDUPE_REQUEST_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "cowherd/v1/types.pb.h"
#include "server/fs/root.h"

namespace cowherd {

constexpr uint64_t kDefaultBytesPerCall = 16 << 20;
constexpr int kMaxDestinations = 1024;

struct RootedPosition {
  RootedPath path;
  uint64_t offset = 0;
};

// A checked DedupeRangesRequest: every path lies under a root, no range overflows.
struct DedupeRequest {
  RootedPosition source;
  uint64_t length = 0;
  std::vector<RootedPosition> destinations;
  uint64_t max_bytes_per_call = kDefaultBytesPerCall;
  bool measure_shared = false;
};

// Pure: looks at no file. An error names the field. The result points into `roots`.
absl::StatusOr<DedupeRequest> CheckRequest(const v1::DedupeRangesRequest& request, const RootTable& roots);

}  // namespace cowherd

#endif  // COWHERD_SERVER_DEDUPE_REQUEST_H_
