#include "server/scan/scanner.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <set>
#include <thread>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/dedupe/plan.h"
#include "server/dedupe/run.h"
#include "server/dedupe/sharing.h"
#include "server/scan/block_index.h"
#include "server/scan/match.h"
#include "server/scan/path_filter.h"
#include "server/scan/reading_source.h"
#include "server/scan/scan_state.h"
#include "server/scan/share.h"
#include "server/scan/source_blocks.h"
#include "server/scan/space_won.h"
#include "server/scan/storage_scan.h"

namespace cowherd {
namespace {

// The stretch of a file that is fingerprinted, then matched and shared while it is still in the page cache.
constexpr uint64_t kWindowBytes = 64 << 20;
constexpr size_t kMaxQueuedFiles = 256;

// Things seen before, remembered up to a number; what is not remembered is looked at again, which is slow but
// right.
template <typename Key>
class SeenSet {
 public:
  explicit SeenSet(size_t most) : most_(most) {}

  // True for what was added before.
  bool AddOrSeen(const Key& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (seen_.contains(key)) return true;
    if (seen_.size() < most_) seen_.insert(key);
    return false;
  }

  void Forget(const Key& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    seen_.erase(key);
  }

 private:
  const size_t most_;
  std::mutex mutex_;
  absl::flat_hash_set<Key> seen_;
};

// Files found by the walk and not yet looked at. Bounded: the walk waits.
class FileQueue {
 public:
  // False: closed, the file was not taken.
  bool Push(std::string path) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || files_.size() < kMaxQueuedFiles; });
    if (closed_) return false;
    files_.push_back(std::move(path));
    changed_.notify_all();
    return true;
  }

  // False: closed and empty.
  bool Pop(std::string& path) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !files_.empty(); });
    if (files_.empty()) return false;
    path = std::move(files_.front());
    files_.pop_front();
    changed_.notify_all();
    return true;
  }

  void Close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> files_;
  bool closed_ = false;
};

// What the workers of one scan share.
struct Scan {
  Scan(ExtentOps& ops, FileTree& tree, const ScanRequest& request, size_t index_budget, uint32_t block_size,
       std::string filesystem, Pace& pace, const Stop& stop, SharedTotals& totals,
       absl::FunctionRef<void(const Duplicate&)> found)
      : ops(ops),
        tree(tree),
        request(request),
        block_size(block_size),
        filesystem(std::move(filesystem)),
        stop(stop),
        totals(totals),
        found(found),
        source(block_size),
        index(index_budget / 4 * 3),
        seen_extents(index_budget / 8 / sizeof(uint64_t) / 2),
        seen_inodes(index_budget / 8 / sizeof(uint64_t) / 2),
        pace(pace),
        won(ops, tree.root_fd(), totals) {}

  ExtentOps& ops;
  FileTree& tree;
  const ScanRequest& request;
  const uint32_t block_size;
  const std::string filesystem;  // its UUID; empty: it has none
  const Stop& stop;
  SharedTotals& totals;
  std::mutex found_mutex;
  absl::FunctionRef<void(const Duplicate&)> found;
  ReadingSource source;
  BlockIndex index;
  SeenSet<size_t> seen_extents;  // hashes of (address, offset in it, length)
  SeenSet<size_t> seen_inodes;   // hashes of (device, inode)
  Pace& pace;
  SpaceWon won;
};

// Looks at one file after another. One thread.
class Worker {
 public:
  explicit Worker(Scan& scan) : scan_(scan), earlier_(scan.ops, scan.tree, scan.source, scan.block_size) {}

  // A status: what stops the whole scan.
  absl::Status Look(const std::string& path) {
    absl::Status status = ScanFile(path);
    if (absl::Status stopped = scan_.stop.Check(); !stopped.ok()) return stopped;
    if (!status.ok()) {
      Log(LogLevel::kWarning, "cannot scan a file", {{"path", path}, {"error", status}});
      scan_.totals.Update([](Totals& t) { ++t.files_failed; });
    }
    if (!scan_.request.dry_run) scan_.won.MeasureNowAndThen();
    return absl::OkStatus();
  }

 private:
  absl::Status ScanFile(const std::string& path) {
    ASSIGN_OR_RETURN(OpenFile file, scan_.tree.Open(path, /*for_destination=*/false));
    const bool seen = file.facts.links > 1 &&
                      scan_.seen_inodes.AddOrSeen(absl::HashOf(file.facts.device, file.facts.inode));
    if (seen || file.facts.size < scan_.request.min_file_size || file.facts.size == 0) {
      scan_.totals.Update([](Totals& t) { ++t.files_skipped; });
      return absl::OkStatus();
    }
    scan_.totals.Update([&](Totals& t) {
      ++t.files_scanned;
      ++t.files_read;
      t.bytes_found += file.facts.size;
    });
    const BlockIndex::FileId id = scan_.index.AddFile(path);
    absl::Status status;
    for (uint64_t offset = 0; offset < file.facts.size && status.ok(); offset += kWindowBytes) {
      status = ScanWindow(path, file, id, offset, std::min(kWindowBytes, file.facts.size - offset));
    }
    scan_.index.ReleaseFile(id);
    return status;
  }

  absl::Status ScanWindow(const std::string& path, const OpenFile& file, BlockIndex::FileId id,
                          uint64_t offset, uint64_t length) {
    RETURN_IF_ERROR(scan_.stop.Check());
    ASSIGN_OR_RETURN(std::vector<FileExtent> extents,
                     AllExtents(scan_.ops, file.fd.get(), offset, length, /*flush=*/false));
    // Storage that another place shares was looked at there.
    std::vector<size_t> looked_at;
    extents.erase(std::remove_if(extents.begin(), extents.end(),
                                 [&](const FileExtent& e) {
                                   if (e.inline_data || e.unwritten || e.delayed) return true;
                                   if (!e.shared) return false;
                                   // The part of the extent within this window.
                                   const uint64_t begin = std::max(e.offset, offset);
                                   const uint64_t end = std::min(e.offset + e.length, offset + length);
                                   const size_t part =
                                       absl::HashOf(e.physical, begin - e.offset, end - begin);
                                   if (scan_.seen_extents.AddOrSeen(part)) return true;
                                   looked_at.push_back(part);
                                   return false;
                                 }),
                  extents.end());
    if (extents.empty()) return absl::OkStatus();
    found_any_ = false;
    absl::Status status = MatchExtents(path, file, id, extents, offset, length);
    if (found_any_ || !status.ok()) {
      // This place shares with its duplicate now; the others that hold the old storage have yet to.
      for (size_t part : looked_at) scan_.seen_extents.Forget(part);
    }
    return status;
  }

  absl::Status MatchExtents(const std::string& path, const OpenFile& file, BlockIndex::FileId id,
                            absl::Span<const FileExtent> extents, uint64_t offset, uint64_t length) {
    FingerprintWindow window;
    window.first_block = offset / scan_.block_size;
    ASSIGN_OR_RETURN(
        const std::vector<Fingerprint> fingerprints,
        ReadThrottled(file, extents, window.first_block, (length + scan_.block_size - 1) / scan_.block_size));
    window.fingerprints = fingerprints;
    return MatchWindow(path, file, id, window);
  }

  // In steps, so that the rate limit and a stop act within one.
  absl::StatusOr<std::vector<Fingerprint>> ReadThrottled(const OpenFile& file,
                                                         absl::Span<const FileExtent> extents,
                                                         uint64_t first_block, size_t count) {
    constexpr uint64_t kStepBytes = 4 << 20;
    const size_t step = kStepBytes / scan_.block_size;
    std::vector<Fingerprint> all;
    all.reserve(count);
    while (all.size() < count) {
      RETURN_IF_ERROR(scan_.stop.Check());
      uint64_t read = 0;
      ASSIGN_OR_RETURN(std::vector<Fingerprint> part,
                       scan_.source.Fingerprints(file.fd.get(), extents, first_block + all.size(),
                                                 std::min(step, count - all.size()), read));
      all.insert(all.end(), part.begin(), part.end());
      scan_.totals.Update([read](Totals& t) { t.bytes_scanned += read; });
      scan_.pace.Wait(read, scan_.stop);
    }
    return all;
  }

  absl::Status MatchWindow(const std::string& path, const OpenFile& file, BlockIndex::FileId id,
                           const FingerprintWindow& window) {
    const uint64_t min_blocks =
        std::max<uint64_t>(1, (scan_.request.min_extent_length + scan_.block_size - 1) / scan_.block_size);
    uint64_t floor = window.first_block;
    for (uint64_t block = window.first_block; block < window.end_block() && block <= BlockIndex::kMaxBlock;) {
      const BlockIndex::Location here{id, static_cast<uint32_t>(block)};
      const Fingerprint fingerprint = window.at(block);
      absl::optional<BlockIndex::Location> first;
      if (fingerprint != kNoFingerprint) first = scan_.index.FindOrInsert(fingerprint, here);
      const std::string source_path = first && !(*first == here) ? scan_.index.PathOf(first->file) : "";
      if (source_path.empty()) {
        ++block;
        continue;
      }
      const bool same_file = source_path == path;
      const Match match = GrowMatch(first->block, block, window, floor, same_file,
                                    [&](uint64_t b) { return earlier_.At(source_path, b); });
      scan_.pace.Wait(earlier_.TakeBytesRead(), scan_.stop);
      if (match.blocks < min_blocks) {
        // A lone equal block; the run around this one may be longer next time. But if the two were merely too
        // close together, as in a run of equal blocks, the first place stays until one is far enough.
        const bool too_close = same_file && match.blocks == block - first->block;
        if (!too_close) scan_.index.Replace(fingerprint, here);
        ++block;
        continue;
      }
      RETURN_IF_ERROR(scan_.stop.Check());
      RETURN_IF_ERROR(Share(source_path, path, file, match));
      block = floor = match.destination_block + match.blocks;
    }
    return absl::OkStatus();
  }

  absl::Status Share(const std::string& source_path, const std::string& path, const OpenFile& file,
                     const Match& match) {
    const absl::StatusOr<const OpenFile*> opened = earlier_.Open(source_path);
    // Gone since: no match any more.
    if (!opened.ok()) return absl::OkStatus();
    const OpenFile* const source = *opened;
    const uint64_t source_offset = match.source_block * scan_.block_size;
    const uint64_t offset = match.destination_block * scan_.block_size;
    if (offset >= file.facts.size || source_offset >= source->facts.size) return absl::OkStatus();
    const uint64_t length = std::min(
        {match.blocks * scan_.block_size, file.facts.size - offset, source->facts.size - source_offset});
    ASSIGN_OR_RETURN(std::vector<Stretch> unshared,
                     FindUnshared(scan_.ops, source->fd.get(), source_offset, file.fd.get(), offset, length,
                                  /*flush=*/false));
    for (const Stretch& stretch : unshared) {
      found_any_ = true;
      // Space comes back block by block.
      const Duplicate duplicate{source_path,    source_offset + stretch.offset,
                                path,           offset + stretch.offset,
                                stretch.length, stretch.length};
      scan_.totals.Update([&](Totals& t) {
        ++t.duplicate_ranges;
        t.duplicate_bytes += duplicate.length;
        t.bytes_freeable += duplicate.freeable;
        t.bytes_read += 2 * duplicate.length;
      });
      {
        std::lock_guard<std::mutex> lock(scan_.found_mutex);
        scan_.found(duplicate);
      }
      if (scan_.request.dry_run) continue;
      RETURN_IF_ERROR(Dedupe(*source, file, duplicate));
    }
    return absl::OkStatus();
  }

  absl::Status Dedupe(const OpenFile& source, const OpenFile& file, const Duplicate& duplicate) {
    DedupePlan plan(duplicate.length, 1, kMaxShareLength);
    const DedupeTarget target{file.fd.get(), duplicate.destination_offset};
    absl::Status refused = RunDedupe(scan_.ops, {source.fd.get(), duplicate.source_offset, duplicate.length},
                                     absl::MakeConstSpan(&target, 1), scan_.stop, plan);
    if (!refused.ok()) plan.Fail(0, refused);
    const TargetResult& result = plan.results()[0];
    scan_.totals.Update([&](Totals& t) {
      t.bytes_requested += duplicate.length;
      CountOutcome(result, t);
    });
    if (result.outcome == DedupeOutcome::kFailed) {
      Log(LogLevel::kWarning, "cannot share a range",
          {{"source", duplicate.source_path},
           {"destination", duplicate.destination_path},
           {"offset", duplicate.destination_offset},
           {"length", duplicate.length},
           {"error", result.error}});
    }
    return absl::OkStatus();
  }

  Scan& scan_;
  SourceBlocks earlier_;
  bool found_any_ = false;  // duplicates in the window in hand
};

// Those of `paths` that are not beneath another of them, so that no file is met twice.
std::vector<std::string> Tops(const std::vector<std::string>& paths) {
  const std::set<std::string> named(paths.begin(), paths.end());
  if (named.empty() || named.count("") > 0) return {""};
  std::vector<std::string> tops;
  for (const std::string& path : named) {
    size_t slash = path.find('/');
    while (slash != path.npos && named.count(path.substr(0, slash)) == 0) slash = path.find('/', slash + 1);
    if (slash == path.npos) tops.push_back(path);
  }
  return tops;
}

std::string Below(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

// Walks depth first, in name order, until the queue is closed. An error: `stop`'s, or `top` cannot be
// listed.
absl::Status Walk(Scan& scan, const PathFilter& filter, const std::string& top, FileQueue& queue) {
  std::vector<std::string> directories = {top};
  while (!directories.empty()) {
    RETURN_IF_ERROR(scan.stop.Check());
    const std::string directory = std::move(directories.back());
    directories.pop_back();
    absl::StatusOr<std::vector<DirEntry>> entries = scan.tree.List(directory);
    if (!entries.ok()) {
      if (ErrnoOf(entries.status()) == EXDEV) continue;  // another filesystem is mounted there
      if (directory == top && ErrnoOf(entries.status()) == ENOTDIR) {
        if (!queue.Push(top)) return absl::OkStatus();
        continue;
      }
      // What the caller named must be there.
      if (directory == top) return entries.status();
      Log(LogLevel::kWarning, "cannot list a directory", {{"path", directory}, {"error", entries.status()}});
      scan.totals.Update([](Totals& t) { ++t.files_failed; });
      continue;
    }
    std::sort(entries->begin(), entries->end(),
              [](const DirEntry& a, const DirEntry& b) { return a.name > b.name; });
    for (auto entry = entries->rbegin(); entry != entries->rend(); ++entry) {
      if (entry->kind != DirEntry::Kind::kFile) continue;
      std::string path = Below(directory, entry->name);
      if (!filter.WantsFile(path)) {
        scan.totals.Update([](Totals& t) { ++t.files_skipped; });
      } else if (!queue.Push(std::move(path))) {
        return absl::OkStatus();
      }
    }
    for (const DirEntry& entry : *entries) {
      if (entry.kind != DirEntry::Kind::kDirectory) continue;
      std::string path = Below(directory, entry.name);
      if (filter.EntersDirectory(path)) directories.push_back(std::move(path));
    }
  }
  return absl::OkStatus();
}

// Reads files, a few at a time. `feed` pushes their paths.
absl::Status ScanByReading(Scan& scan, absl::FunctionRef<absl::Status(FileQueue&)> feed) {
  FileQueue queue;
  std::mutex ended_mutex;
  absl::Status ended;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1U, scan.request.workers); ++i) {
    threads.emplace_back([&] {
      Worker worker(scan);
      std::string path;
      while (queue.Pop(path)) {
        if (absl::Status status = worker.Look(path); !status.ok()) {
          queue.Close();
          std::lock_guard<std::mutex> lock(ended_mutex);
          ended.Update(status);
          return;
        }
      }
    });
  }
  absl::Status fed = feed(queue);
  queue.Close();
  for (std::thread& thread : threads) thread.join();
  ended.Update(fed);
  return ended;
}

// Null: none is to be used. A dry run tells of duplicates each time.
std::unique_ptr<ScanStateFile> OpenState(const Scan& scan, absl::string_view kind, const FileKey& root) {
  if (scan.request.state_dir.empty() || scan.request.dry_run) return nullptr;
  if (scan.filesystem.empty()) {
    Log(LogLevel::kInfo, "no state is kept: the filesystem has no identifier");
    return nullptr;
  }
  absl::StatusOr<std::unique_ptr<ScanStateFile>> state = ScanStateFile::Open(
      scan.request.state_dir, scan.filesystem, StateKey(kind, scan.filesystem, root, scan.request));
  if (state.ok()) return *std::move(state);
  Log(LogLevel::kWarning, "no state is used or kept", {{"error", state.status()}});
  return nullptr;
}

// By checksums where the filesystem keeps them; files that have none are read, and so is everything
// elsewhere.
absl::Status ScanAll(Scan& scan, StorageMap* map, size_t index_budget) {
  const PathFilter filter(scan.request.include, scan.request.exclude);
  const std::vector<std::string> tops = Tops(scan.request.paths);
  if (map == nullptr) {
    return ScanByReading(scan, [&](FileQueue& queue) {
      absl::Status walked;
      for (const std::string& top : tops) {
        // One path that is not there does not keep the others from being scanned; a stop ends each walk.
        walked.Update(Walk(scan, filter, top, queue));
      }
      return walked;
    });
  }
  absl::Status named;
  for (const std::string& top : tops) {
    absl::Status there = scan.tree.List(top).status();
    if (ErrnoOf(there) == ENOTDIR) there = scan.tree.Open(top, /*for_destination=*/false).status();
    named.Update(there);
  }
  const std::unique_ptr<ScanStateFile> state =
      OpenState(scan, absl::StrCat("storage ", map->block_size(), " ", map->checksum_bits()), map->root());
  absl::StatusOr<std::vector<std::string>> unchecked = ScanStorage(
      scan.ops, scan.tree, *map, scan.request,
      [&](const std::string& path) { return filter.Reaches(tops, path); }, index_budget, state.get(),
      scan.pace, scan.stop, scan.totals, scan.found);
  RETURN_IF_ERROR(unchecked.status());
  RETURN_IF_ERROR(ScanByReading(scan, [&](FileQueue& queue) {
    for (std::string& path : *unchecked) queue.Push(std::move(path));
    return absl::OkStatus();
  }));
  return named;
}

}  // namespace

absl::Status ScanTree(ExtentOps& ops, FileTree& tree, const ScanRequest& request, size_t index_budget,
                      Pace& pace, const Stop& stop, SharedTotals& totals,
                      absl::FunctionRef<void(const Duplicate&)> found) {
  ASSIGN_OR_RETURN(const FsFacts facts, ops.Facts(tree.root_fd()));
  if (!request.dry_run && !facts.dedupe_supported) {
    return ErrnoError(EOPNOTSUPP, absl::StrCat("share ranges on ", facts.type));
  }
  if (!request.dry_run && facts.read_only) return ErrnoError(EROFS, "share ranges");
  absl::StatusOr<std::unique_ptr<StorageMap>> map = tree.OpenStorageMap();
  if (map.ok()) {
    Log(LogLevel::kInfo, "scan by the filesystem's checksums", {{"filesystem", facts.type}});
  } else {
    Log(LogLevel::kInfo, "scan by reading", {{"filesystem", facts.type}, {"reason", map.status()}});
  }
  // Blocks smaller than a page would be many and win little.
  const uint32_t block_size = std::max<uint32_t>(4096, facts.block_size);
  Scan scan(ops, tree, request, index_budget, block_size, facts.uuid, pace, stop, totals, found);
  if (request.dry_run) {
    // So that what was just written has its place on disk.
    RETURN_IF_ERROR(ops.Commit(tree.root_fd()));
  } else {
    RETURN_IF_ERROR(scan.won.Begin());
  }
  absl::Status ended = ScanAll(scan, map.ok() ? map->get() : nullptr, index_budget);
  if (!request.dry_run) {
    // What was done is on disk, and counted, also when stopped.
    absl::Status measured = scan.won.Measure();
    ended.Update(measured);
  }
  return ended;
}

}  // namespace cowherd
