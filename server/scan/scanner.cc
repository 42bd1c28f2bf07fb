#include "server/scan/scanner.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/scan/machine_share.h"
#include "server/scan/path_filter.h"
#include "server/scan/reading_scan.h"
#include "server/scan/scan_state.h"
#include "server/scan/space_won.h"
#include "server/scan/storage_scan.h"
#include "server/scan/walk.h"

namespace cowherd {
namespace {

// What both kinds of scan are told.
struct Scan {
  ExtentOps& ops;
  FileTree& tree;
  const ScanRequest& request;
  const size_t index_budget;
  const FsFacts facts;
  Pace& pace;
  const Stop& stop;
  SharedTotals& totals;
  SpaceWon& won;
  absl::FunctionRef<void(const Duplicate&)> found;
};

// Null: none is to be used. A dry run tells of duplicates each time.
std::unique_ptr<ScanStateFile> OpenState(const Scan& scan, absl::string_view kind, const FileKey& root) {
  if (scan.request.state_dir.empty() || scan.request.dry_run) return nullptr;
  if (scan.facts.uuid.empty()) {
    Log(LogLevel::kInfo, "no state is kept: the filesystem has no identifier");
    return nullptr;
  }
  absl::StatusOr<std::unique_ptr<ScanStateFile>> state = ScanStateFile::Open(
      scan.request.state_dir, scan.facts.uuid, StateKey(kind, scan.facts.uuid, root, scan.request));
  if (state.ok()) return *std::move(state);
  Log(LogLevel::kWarning, "no state is used or kept", {{"error", state.status()}});
  return nullptr;
}

// Whether a scan by reading looks at all that the filesystem has. Where the kernel does not tell (before
// Linux 5.8), it is taken as a part.
bool IsWhole(const FileTree& tree, const ScanRequest& request) {
  if (!request.paths.empty() || !request.include.empty() || !request.exclude.empty()) return false;
  struct statx root = {};
  return ::statx(tree.root_fd(), "", AT_EMPTY_PATH, STATX_TYPE, &root) == 0 &&
         (root.stx_attributes & root.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0;
}

absl::Status CheckFilesystem(const FsFacts& facts, const ScanRequest& request) {
  const std::string root =
      request.root_name.empty() ? "the root" : absl::StrCat("root \"", request.root_name, "\"");
  // What a dry run would promise could never come true.
  if (!facts.dedupe_supported) {
    return WithDetail(
        absl::FailedPreconditionError(absl::StrCat(
            root, " is on ", facts.type, ", which cannot share ranges; btrfs and XFS (reflink=1) can")),
        "EOPNOTSUPP", "", EOPNOTSUPP);
  }
  if (!request.dry_run && facts.read_only) return ErrnoError(EROFS, absl::StrCat("share ranges of ", root));
  return absl::OkStatus();
}

// At all or for this process, by the error of OpenStorageMap: then all is read. Other errors may pass, and
// to read instead frees less on btrfs.
bool HasNoChecksums(const absl::Status& status) {
  const int error = ErrnoOf(status);
  return error == EOPNOTSUPP || error == ENOTTY || error == EPERM || error == EACCES;
}

// `feed` adds the files; `all`: those of the scan, and not only a part.
absl::Status ScanByReading(const Scan& scan, const FileKey& root, bool all,
                           absl::FunctionRef<absl::Status(ReadingScan&)> feed) {
  // Blocks smaller than a page would be many and win little.
  const uint32_t block_size = std::max<uint32_t>(4096, scan.facts.block_size);
  const std::unique_ptr<ScanStateFile> state = OpenState(scan, absl::StrCat("reading ", block_size), root);
  ReadingScan reading(scan.ops, scan.tree, scan.request, block_size, scan.facts.block_size,
                      {scan.index_budget, PageCacheShare(scan.request.scans_at_once)}, state.get(), scan.pace,
                      scan.stop, scan.totals, scan.won, scan.found);
  const absl::Status fed = feed(reading);
  absl::Status finished = reading.Finish(all && fed.ok());
  finished.Update(fed);
  return finished;
}

// By checksums where the filesystem keeps them; files that have none are read, and so is everything
// elsewhere.
absl::Status ScanAll(const Scan& scan, StorageMap* map) {
  const PathFilter filter(scan.request.include, scan.request.exclude);
  const std::vector<std::string> tops = Tops(scan.request.paths);
  if (map == nullptr) {
    struct stat root;
    if (::fstat(scan.tree.root_fd(), &root) != 0) return ErrnoError(errno, "fstat");
    return ScanByReading(scan, {0, root.st_ino}, /*all=*/true, [&](ReadingScan& reading) {
      absl::Status walked;
      for (const std::string& top : tops) {
        // One path that is not there does not keep the others from being scanned; a stop ends each walk.
        walked.Update(WalkFiles(scan.tree, filter, top, scan.stop, scan.totals,
                                [&](NamedFile file) { return reading.Add(std::move(file)); }));
      }
      return walked;
    });
  }
  absl::Status named;
  for (const std::string& top : tops) {
    absl::Status there = scan.tree.List(top, scan.stop).status();
    if (ErrnoOf(there) == ENOTDIR) there = scan.tree.Open(top, /*for_destination=*/false).status();
    named.Update(there);
  }
  const std::unique_ptr<ScanStateFile> state =
      OpenState(scan, absl::StrCat("storage ", map->block_size(), " ", map->checksum_bits()), map->root());
  const auto wanted = [&](const std::string& path) { return filter.Reaches(tops, path); };
  const absl::StatusOr<UncheckedFiles> unchecked =
      ScanStorage(scan.ops, scan.tree, *map, scan.request, wanted, scan.index_budget, state.get(), scan.pace,
                  scan.stop, scan.totals, scan.won, scan.found);
  RETURN_IF_ERROR(unchecked.status());
  if (unchecked->files.empty()) return named;
  Log(LogLevel::kInfo, "scan by reading",
      {{"files", unchecked->files.size()}, {"reason", "they have no checksums (nodatasum)"}});
  RETURN_IF_ERROR(ScanByReading(scan, map->root(), unchecked->all, [&](ReadingScan& reading) {
    for (const FileKey& file : unchecked->files) {
      absl::StatusOr<std::string> path = map->PathOf(file, wanted);
      // Gone since.
      if (!path.ok()) continue;
      RETURN_IF_ERROR(reading.Add({*std::move(path), file.inode}));
    }
    return absl::OkStatus();
  }));
  return named;
}

}  // namespace

absl::Status ScanTree(ExtentOps& ops, FileTree& tree, const ScanRequest& request, size_t index_budget,
                      Pace& pace, const Stop& stop, SharedTotals& totals,
                      absl::FunctionRef<void(const Duplicate&)> found) {
  ASSIGN_OR_RETURN(const FsFacts facts, ops.Facts(tree.root_fd()));
  RETURN_IF_ERROR(CheckFilesystem(facts, request));
  absl::StatusOr<std::unique_ptr<StorageMap>> map = tree.OpenStorageMap();
  if (!map.ok() && !HasNoChecksums(map.status())) return map.status();
  if (map.ok()) {
    Log(LogLevel::kInfo, "scan by the filesystem's checksums", {{"filesystem", facts.type}});
  } else {
    Log(LogLevel::kInfo, "scan by reading", {{"filesystem", facts.type}, {"reason", map.status()}});
  }
  SpaceWon won(ops, tree.root_fd(), totals);
  if (request.dry_run) {
    // So that what was just written has its place on disk.
    RETURN_IF_ERROR(ops.Commit(tree.root_fd()));
  } else {
    RETURN_IF_ERROR(won.Begin());
  }
  if (map.ok() || IsWhole(tree, request)) {
    totals.Update([&](Totals& t) { t.bytes_found += facts.size_bytes - facts.free_bytes; });
  }
  absl::Status ended = ScanAll({ops, tree, request, index_budget, facts, pace, stop, totals, won, found},
                               map.ok() ? map->get() : nullptr);
  LogLeftOut();
  if (!request.dry_run) {
    // What was done is on disk, and counted, also when stopped.
    absl::Status measured = won.Measure();
    ended.Update(measured);
  }
  return ended;
}

}  // namespace cowherd
