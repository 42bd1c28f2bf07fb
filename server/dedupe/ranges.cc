#include "server/dedupe/ranges.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/dedupe/join.h"
#include "server/dedupe/run.h"
#include "server/dedupe/sharing.h"

namespace cowherd {
namespace {

// Kept open for the next request, beside those in use: what one call of the kernel takes.
constexpr size_t kMaxKeptFiles = 1 + kMaxDedupeTargets;

constexpr uint64_t kMeasuredAtOnce = 64 << 20;

// Waits for the disk: not once the answer is due.
absl::StatusOr<uint64_t> MeasureShared(ExtentOps& ops, const DedupeRange& range, const DedupeTarget& target,
                                       const Stop& stop) {
  uint64_t shared = range.length;
  for (uint64_t done = 0; done < range.length; done += kMeasuredAtOnce) {
    RETURN_IF_ERROR(stop.Check());
    ASSIGN_OR_RETURN(const std::vector<Stretch> unshared,
                     FindUnshared(ops, range.source, range.offset + done, target.fd, target.offset + done,
                                  std::min(kMeasuredAtOnce, range.length - done), /*flush=*/done == 0));
    for (const Stretch& stretch : unshared) shared -= stretch.length;
  }
  return shared;
}

}  // namespace

absl::StatusOr<OpenPlaces::OpenRoot*> OpenPlaces::Find(const Root& root) {
  OpenRoot& found = roots_[&root];
  if (found.tree == nullptr) {
    ASSIGN_OR_RETURN(found.tree, trees_.OpenRoot(root));
  }
  return &found;
}

absl::StatusOr<uint32_t> OpenPlaces::BlockSize(ExtentOps& ops, const Root& root) {
  ASSIGN_OR_RETURN(OpenRoot * found, Find(root));
  if (found->block_size == 0) {
    ASSIGN_OR_RETURN(const FsFacts facts, ops.Facts(found->tree->root_fd()));
    found->block_size = facts.block_size;
  }
  return found->block_size;
}

absl::StatusOr<std::shared_ptr<const OpenFile>> OpenPlaces::Open(const RootedPath& path,
                                                                 bool for_destination) {
  Key key(path.root, path.relative, for_destination);
  if (const auto known = files_.find(key); known != files_.end()) return known->second;
  ASSIGN_OR_RETURN(OpenRoot * root, Find(*path.root));
  ASSIGN_OR_RETURN(OpenFile file, root->tree->Open(path.relative, for_destination));
  if (files_.size() >= kMaxKeptFiles) files_.clear();
  auto opened = std::make_shared<const OpenFile>(std::move(file));
  files_.emplace(std::move(key), opened);
  return opened;
}

absl::StatusOr<RangesResult> DedupeRanges(ExtentOps& ops, FileTrees& trees, const DedupeRequest& request,
                                          const Stop& stop) {
  OpenPlaces places(trees);
  return DedupeRanges(ops, places, request, stop);
}

absl::StatusOr<RangesResult> DedupeRanges(ExtentOps& ops, OpenPlaces& places, const DedupeRequest& request,
                                          const Stop& stop) {
  const absl::StatusOr<std::shared_ptr<const OpenFile>> source =
      places.Open(request.source.path, /*for_destination=*/false);
  if (!source.ok()) return WithField(source.status(), "source.path");
  const uint64_t size = (*source)->facts.size;
  if (request.source.offset + request.length > size) {
    return WithDetail(absl::InvalidArgumentError(
                          absl::StrCat("length: the range ends beyond the source file's ", size, " bytes")),
                      "EINVAL", "length", EINVAL);
  }
  const DedupeRange range{(*source)->fd.get(), request.source.offset, request.length};

  RangesResult result;
  for (size_t first = 0; first < request.destinations.size(); first += kMaxDedupeTargets) {
    const size_t count = std::min(kMaxDedupeTargets, request.destinations.size() - first);
    DedupePlan plan(request.length, count, request.max_bytes_per_call);
    std::vector<std::shared_ptr<const OpenFile>> files(count);
    std::vector<DedupeTarget> targets(count);
    for (size_t i = 0; i < count; ++i) {
      const RootedPosition& destination = request.destinations[first + i];
      absl::StatusOr<std::shared_ptr<const OpenFile>> file =
          places.Open(destination.path, /*for_destination=*/true);
      if (!file.ok()) {
        plan.Fail(i, file.status());
        continue;
      }
      files[i] = *std::move(file);
      targets[i] = {files[i]->fd.get(), destination.offset};
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
      const absl::StatusOr<uint64_t> shared = MeasureShared(ops, range, targets[i], stop);
      if (shared.ok()) {
        result.shared.back() = *shared;
      } else if (result.targets.back().error.ok()) {
        result.targets.back().error = shared.status();
      }
    }
  }
  return result;
}

std::vector<absl::StatusOr<RangesResult>> DedupeNeighbours(ExtentOps& ops, OpenPlaces& places,
                                                           absl::Span<const DedupeRequest> requests,
                                                           const Stop& stop) {
  size_t count = 1;
  if (requests.size() > 1) {
    const absl::StatusOr<uint32_t> block_size = places.BlockSize(ops, *requests.front().source.path.root);
    // Where it is not known, the request by itself tells why.
    if (block_size.ok()) count = CountNeighbours(requests, *block_size);
  }
  requests = requests.first(count);
  std::vector<absl::StatusOr<RangesResult>> results;
  if (count > 1) {
    const absl::StatusOr<RangesResult> all = DedupeRanges(ops, places, Join(requests), stop);
    if (all.ok() && all->targets.front().outcome == DedupeOutcome::kDeduped) {
      for (const DedupeRequest& request : requests) {
        TargetResult shared;
        shared.outcome = DedupeOutcome::kDeduped;
        shared.bytes_accepted = request.length;
        results.emplace_back(RangesResult{{shared}, {}});
      }
      return results;
    }
  }
  for (const DedupeRequest& request : requests) {
    results.push_back(DedupeRanges(ops, places, request, stop));
  }
  return results;
}

}  // namespace cowherd
