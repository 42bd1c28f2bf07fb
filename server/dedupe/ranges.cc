#include "server/dedupe/ranges.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/dedupe/run.h"
#include "server/dedupe/sharing.h"

namespace cowherd {
namespace {

// The roots that one request touches, each opened once.
class OpenRoots {
 public:
  explicit OpenRoots(FileTrees& trees) : trees_(trees) {}

  absl::StatusOr<OpenFile> Open(const RootedPath& path, bool for_destination) {
    std::unique_ptr<FileTree>& tree = open_[path.root];
    if (tree == nullptr) {
      ASSIGN_OR_RETURN(tree, trees_.OpenRoot(*path.root));
    }
    return tree->Open(path.relative, for_destination);
  }

 private:
  FileTrees& trees_;
  absl::flat_hash_map<const Root*, std::unique_ptr<FileTree>> open_;
};

absl::StatusOr<uint64_t> MeasureShared(ExtentOps& ops, const DedupeRange& range, const DedupeTarget& target) {
  ASSIGN_OR_RETURN(std::vector<Stretch> unshared, FindUnshared(ops, range.source, range.offset, target.fd,
                                                               target.offset, range.length, /*flush=*/true));
  uint64_t shared = range.length;
  for (const Stretch& stretch : unshared) shared -= stretch.length;
  return shared;
}

}  // namespace

absl::StatusOr<RangesResult> DedupeRanges(ExtentOps& ops, FileTrees& trees, const DedupeRequest& request,
                                          const Stop& stop) {
  OpenRoots roots(trees);
  absl::StatusOr<OpenFile> source = roots.Open(request.source.path, /*for_destination=*/false);
  if (!source.ok()) return WithField(source.status(), "source.path");
  if (request.source.offset + request.length > source->facts.size) {
    return WithDetail(absl::InvalidArgumentError(absl::StrCat(
                          "length: the range ends beyond the source file's ", source->facts.size, " bytes")),
                      "EINVAL", "length", EINVAL);
  }
  const DedupeRange range{source->fd.get(), request.source.offset, request.length};

  RangesResult result;
  for (size_t first = 0; first < request.destinations.size(); first += kMaxDedupeTargets) {
    const size_t count = std::min(kMaxDedupeTargets, request.destinations.size() - first);
    DedupePlan plan(request.length, count, request.max_bytes_per_call);
    std::vector<OpenFile> files(count);
    std::vector<DedupeTarget> targets(count);
    for (size_t i = 0; i < count; ++i) {
      const RootedPosition& destination = request.destinations[first + i];
      absl::StatusOr<OpenFile> file = roots.Open(destination.path, /*for_destination=*/true);
      if (!file.ok()) {
        plan.Fail(i, file.status());
        continue;
      }
      files[i] = *std::move(file);
      targets[i] = {files[i].fd.get(), destination.offset};
    }
    absl::Status refused = RunDedupe(ops, range, targets, stop, plan);
    if (!refused.ok()) {
      if (first == 0) return WithField(std::move(refused), "source");
      for (size_t i = 0; i < count; ++i) {
        if (plan.results()[i].outcome == DedupeOutcome::kPending) plan.Fail(i, refused);
      }
    }
    for (size_t i = 0; i < count; ++i) {
      result.targets.push_back(plan.results()[i]);
      if (!request.measure_shared) continue;
      result.shared.push_back(0);
      if (targets[i].fd < 0) continue;
      // Measuring waits for the disk: not once the answer is due.
      const absl::Status stopped = stop.Check();
      const absl::StatusOr<uint64_t> shared =
          stopped.ok() ? MeasureShared(ops, range, targets[i]) : absl::StatusOr<uint64_t>(stopped);
      if (shared.ok()) {
        result.shared.back() = *shared;
      } else if (result.targets.back().error.ok()) {
        result.targets.back().error = shared.status();
      }
    }
  }
  return result;
}

}  // namespace cowherd
