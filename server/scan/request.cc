#include "server/scan/request.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr unsigned kMaxWorkers = 64;
// Rounding up must not overflow.
constexpr uint64_t kMaxMinLength = uint64_t{1} << 40;

}  // namespace

absl::StatusOr<RootedScan> CheckScan(const v1::TreeScan& scan, const RootTable& roots) {
  RootedScan checked;
  absl::StatusOr<const Root*> root = roots.Find(scan.root());
  if (!root.ok()) return WithField(root.status(), "scan.root");
  checked.root = *root;
  for (int i = 0; i < scan.paths_size(); ++i) {
    const std::string field = absl::StrCat("scan.paths[", i, "]");
    absl::StatusOr<RootedPath> path = roots.Resolve(scan.paths(i));
    if (!path.ok()) return WithField(path.status(), field);
    if (path->root != checked.root) {
      return FieldError(field, absl::StrCat("lies under root ", path->root->name, ", not ", scan.root()));
    }
    checked.request.paths.push_back(std::move(path->relative));
  }
  const v1::ScanOptions& options = scan.options();
  ScanRequest& request = checked.request;
  request.include.assign(options.include().begin(), options.include().end());
  request.exclude.assign(options.exclude().begin(), options.exclude().end());
  if (options.min_extent_length() > kMaxMinLength) {
    return FieldError("scan.options.min_extent_length", "must be at most 1 TiB");
  }
  if (options.min_extent_length() != 0) request.min_extent_length = options.min_extent_length();
  if (options.min_file_size() != 0) request.min_file_size = options.min_file_size();
  request.dry_run = options.dry_run();
  request.full_scan = options.full_scan();
  request.bytes_per_second = options.bytes_per_second();
  if (options.workers() > kMaxWorkers) {
    return FieldError("scan.options.workers", absl::StrCat("must be at most ", kMaxWorkers));
  }
  if (options.workers() != 0) request.workers = options.workers();
  if (options.min_freed_per_moved() != 0) request.min_freed_per_moved = options.min_freed_per_moved();
  if (options.max_extents_per_file() != 0) request.max_extents_per_file = options.max_extents_per_file();
  return checked;
}

}  // namespace cowherd
