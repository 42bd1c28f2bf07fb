#include "server/dedupe/request.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/fs/extent_ops.h"

namespace cowherd {
namespace {

constexpr uint64_t kMinBytesPerCall = 128 << 10;
// The largest block of btrfs and XFS. A call that ended within a block would make the next one begin there,
// which the kernel refuses.
constexpr uint64_t kMaxBlockSize = 64 << 10;
// Linux's loff_t is signed.
constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();

absl::StatusOr<RootedPosition> CheckPosition(const v1::FilePosition& position, uint64_t length,
                                             const RootTable& roots, const std::string& field) {
  absl::StatusOr<RootedPath> path = roots.Resolve(position.path());
  if (!path.ok()) return WithField(path.status(), absl::StrCat(field, ".path"));
  if (position.offset() > kMaxOffset || length > kMaxOffset - position.offset()) {
    return FieldError(absl::StrCat(field, ".offset"), "offset plus length is above 2^63 - 1");
  }
  return RootedPosition{*path, position.offset()};
}

}  // namespace

absl::StatusOr<DedupeRequest> CheckRequest(const v1::DedupeRangesRequest& request, const RootTable& roots) {
  DedupeRequest checked;
  checked.length = request.length();
  checked.measure_shared = request.measure_shared();
  if (request.length() == 0) return FieldError("length", "must be above 0");
  if (!request.has_source()) return FieldError("source", "missing");
  ASSIGN_OR_RETURN(checked.source, CheckPosition(request.source(), request.length(), roots, "source"));
  if (request.destinations_size() == 0) return FieldError("destinations", "at least one is needed");
  if (request.destinations_size() > kMaxDestinations) {
    return FieldError("destinations", absl::StrCat(request.destinations_size(), " given, at most ",
                                                   kMaxDestinations, " are taken; send more requests"));
  }
  for (int i = 0; i < request.destinations_size(); ++i) {
    ASSIGN_OR_RETURN(RootedPosition position, CheckPosition(request.destinations(i), request.length(), roots,
                                                            absl::StrCat("destinations[", i, "]")));
    checked.destinations.push_back(std::move(position));
  }
  if (request.max_bytes_per_call() != 0) {
    if (request.max_bytes_per_call() < kMinBytesPerCall || request.max_bytes_per_call() > kMaxDedupeLength) {
      return FieldError("max_bytes_per_call", "must be 0 or from 128 KiB to 1 GiB");
    }
    checked.max_bytes_per_call = request.max_bytes_per_call() / kMaxBlockSize * kMaxBlockSize;
  }
  return checked;
}

}  // namespace cowherd
