#include "server/scan/reading_scan.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/scan/fingerprints.h"
#include "server/scan/machine_share.h"

namespace cowherd {
namespace {

// Files are put into the order of the disk so many at a time.
constexpr size_t kMaxCollected = 1 << 16;
constexpr size_t kMaxCollectedBytes = 4 << 20;
// Extents are looked up for so much of a file at once.
constexpr uint64_t kWindowBytes = 64 << 20;
constexpr uint64_t kSectionBytes = 4 << 20;
// On the way from the disk.
constexpr uint64_t kBytesAhead = 32 << 20;
constexpr size_t kSectionsAhead = 256;
// Whether data is cached is looked up for so much at once.
constexpr uint64_t kProbeBytes = 1 << 20;
// Up to here the kernel is told to read before anybody waits for it. Beyond, its own readahead does as well,
// and with large folios.
constexpr uint64_t kSmallRead = 256 << 10;
// A section that has to be read again for one anchor may be so large; a larger one needs two.
constexpr uint64_t kReadForOneAnchor = 2 << 20;
// A batch is shared when so much was read, or a quarter of what may be kept: the sharing goes on beside the
// reading of the next.
constexpr uint64_t kBatchBytes = 128 << 20;
constexpr size_t kMaxBatchPlaces = 1 << 16;
// To ask whether a file is swapped to takes some microseconds: of smaller ones, sharing tells.
constexpr uint64_t kLeastSwap = 1 << 20;
constexpr size_t kMaxUnfit = 1 << 14;
// Of a file that is split no further.
constexpr uint64_t kTooManyExtents = uint64_t{1} << 63;

uint64_t DeviceOf(int fd) {
  struct stat stat;
  return ::fstat(fd, &stat) == 0 ? stat.st_dev : 0;
}

// Files' times go by this clock, in steps of some milliseconds: a change within the step would not show.
bool Settled(const FileFacts& facts) {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return facts.changed_ns < int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

bool HasData(const FileExtent& extent) { return !extent.inline_data && !extent.unwritten && !extent.delayed; }

// The part of the extent that lies in [begin, end); length 0: none.
FileExtent Clip(FileExtent extent, uint64_t begin, uint64_t end) {
  const uint64_t extent_end = extent.offset + extent.length;
  const uint64_t from = std::max(extent.offset, begin);
  const uint64_t to = std::min(extent_end, end);
  if (!extent.encoded && from > extent.offset) extent.physical += from - extent.offset;
  extent.offset = from;
  extent.length = to > from ? to - from : 0;
  return extent;
}

std::vector<FileExtent> ClipAll(absl::Span<const FileExtent> extents, uint64_t begin, uint64_t end) {
  std::vector<FileExtent> clipped;
  auto extent = std::partition_point(extents.begin(), extents.end(),
                                     [begin](const FileExtent& e) { return e.offset + e.length <= begin; });
  for (; extent != extents.end() && extent->offset < end; ++extent) {
    clipped.push_back(Clip(*extent, begin, end));
  }
  return clipped;
}

// Those that touch [begin, end).
std::vector<FileExtent> Touching(absl::Span<const FileExtent> extents, uint64_t begin, uint64_t end) {
  std::vector<FileExtent> touching;
  for (const FileExtent& extent : extents) {
    if (extent.offset < end && begin < extent.offset + extent.length) touching.push_back(extent);
  }
  return touching;
}

uint64_t BytesOf(absl::Span<const FileExtent> extents) {
  uint64_t bytes = 0;
  for (const FileExtent& extent : extents) bytes += extent.length;
  return bytes;
}

// Whether other places share the storage of all of [begin, end).
bool IsShared(absl::Span<const FileExtent> extents, uint64_t begin, uint64_t end) {
  uint64_t shared = 0;
  for (const FileExtent& extent : ClipAll(extents, begin, end)) shared += extent.shared ? extent.length : 0;
  return shared == end - begin;
}

}  // namespace

// The index has half of the memory, of which the AnchorTable takes a power of two, and its files and those
// looked at have most of the rest.
ReadingScan::ReadingScan(ExtentOps& ops, FileTree& tree, const ScanRequest& request, uint32_t block_size,
                         uint32_t stored_block, const ReadingLimits& limits, ScanStateFile* state, Pace& pace,
                         const Stop& stop, SharedTotals& totals, SpaceWon& won,
                         absl::FunctionRef<void(const Duplicate&)> found)
    : ops_(ops),
      tree_(tree),
      request_(request),
      block_size_(block_size),
      stored_block_(stored_block),
      section_bytes_(std::max<uint64_t>(kSectionBytes, block_size)),
      // A dry run shares nothing: what was read may go at once.
      page_cache_(request.dry_run ? 2 * kBytesAhead : limits.page_cache),
      max_open_(OpenFileShare(request.scans_at_once)),
      stop_(stop),
      totals_(totals),
      before_(totals.Get()),
      expected_(before_.bytes_found - std::min(before_.bytes_found, before_.bytes_scanned)),
      won_(won),
      found_(found),
      pace_(pace),
      seen_links_(limits.memory / 64),
      rows_(std::max<uint64_t>(1, (request.min_extent_length + block_size - 1) / block_size)),
      finder_(limits.memory / 2, block_size, /*checksum_bits=*/64),
      recent_(limits.memory / 64 * (state == nullptr ? 7 : 3)),
      table_(limits.memory / 64 * (state == nullptr ? 20 : 24), block_size),
      state_(state, request.checkpoint_interval, limits.memory / 64 * 24, block_size,
             DeviceOf(tree.root_fd()), finder_.anchors(), table_),
      origins_(limits.memory / 32),
      looked_at_(limits.memory / 64),
      given_up_(limits.memory / 64),
      cached_(ops),
      reader_(block_size),
      sharer_(ops, tree, block_size, std::max(1U, request.workers), page_cache_ / 2, max_open_, pace_, stop,
              totals) {
  if (!request.full_scan) state_.Load();
}

absl::Status ReadingScan::Add(NamedFile file) {
  collected_bytes_ += file.path.size();
  collected_.push_back(std::move(file));
  if (collected_.size() < kMaxCollected && collected_bytes_ < kMaxCollectedBytes) return absl::OkStatus();
  return ReadCollected();
}

void ReadingScan::Unchanged(const FileFacts& facts) {
  // How much is new shows only as it is found.
  expected_ = 0;
  totals_.Update([&](Totals& t) {
    ++t.files_unchanged;
    t.bytes_unchanged += facts.size;
    t.bytes_found = before_.bytes_scanned + found_bytes_;
  });
}

void ReadingScan::Found(uint64_t bytes) {
  found_bytes_ += bytes;
  totals_.Update(
      [&](Totals& t) { t.bytes_found = before_.bytes_scanned + std::max(found_bytes_, expected_); });
}

absl::Status ReadingScan::ReadCollected() {
  // Both XFS and btrfs number files about in the order in which they place them.
  std::stable_sort(collected_.begin(), collected_.end(),
                   [](const NamedFile& a, const NamedFile& b) { return a.inode < b.inode; });
  collected_bytes_ = 0;
  const std::vector<NamedFile> files = std::exchange(collected_, {});
  std::vector<absl::optional<FileFacts>> facts(files.size());
  if (state_.knows_files()) facts = tree_.Look(files, stop_);
  for (size_t i = 0; i < files.size(); ++i) {
    RETURN_IF_ERROR(stop_.Check());
    if (facts[i] && state_.Met(files[i].path, *facts[i])) {
      Unchanged(*facts[i]);
      continue;
    }
    RETURN_IF_ERROR(LookAt(files[i]));
    if (state_.CheckpointDue(std::chrono::steady_clock::now())) RETURN_IF_ERROR(Checkpoint());
  }
  return absl::OkStatus();
}

absl::Status ReadingScan::Drain() {
  while (std::unique_ptr<Section> section = reader_.Pop()) RETURN_IF_ERROR(Compare(std::move(section)));
  EndRun();
  sharer_.Begin(std::exchange(batch_, {}));
  BatchBegun();
  sharer_.Wait();
  BatchBegun();
  return stop_.Check();
}

absl::Status ReadingScan::Checkpoint() {
  RETURN_IF_ERROR(Drain());
  if (!state_.news()) return absl::OkStatus();
  RETURN_IF_ERROR(ops_.Commit(tree_.root_fd()));
  state_.Save(/*complete=*/false);
  return absl::OkStatus();
}

void ReadingScan::BatchBegun() {
  Heed(sharer_.TakeFailed());
  // A batch that is stopped is not done.
  if (!state_.kept() || !stop_.Check().ok()) return;
  for (const LookedAt& file : std::exchange(in_batch_, {})) {
    if (!file.again) state_.Done(file.path, file.facts);
  }
  while (!unfinished_.empty() && IsCompared(unfinished_.front())) {
    const ScannedFile& file = *unfinished_.front();
    if (file.shares) {
      in_batch_.push_back({file.path, file.open->facts, file.again || file.failed});
    } else if (!file.failed) {
      state_.Done(file.path, file.open->facts);
    }
    unfinished_.pop_front();
  }
}

void ReadingScan::Heed(absl::Span<const FailedShare> failed) {
  std::set<std::pair<FileKey, uint64_t>> sections;  // of sources, by offset
  absl::flat_hash_set<FileKey> again;
  for (const auto& [share, cause] : failed) {
    if (cause == FailedShare::Cause::kDestination) continue;
    if (cause != FailedShare::Cause::kUnfit) {
      again.insert(share.destination.file);
    } else if (unfit_.size() < kMaxUnfit) {
      unfit_.insert(share.source.file);
    }
    for (const uint64_t offset : {share.source.offset, share.source.offset + share.length - 1}) {
      sections.emplace(share.source.file, offset / section_bytes_ * section_bytes_);
    }
  }
  if (sections.empty()) return;
  absl::optional<FileTable::File> file;  // of the last address: the next is often of the same
  const auto fails = [&](uint64_t address, uint64_t length) {
    if (!file || address < file->address || address >= file->address + file->blocks * block_size_) {
      file = table_.Find(address);
    }
    if (!file || unfit_.contains(file->key)) return true;
    const uint64_t offset = address - file->address;
    const auto section = sections.lower_bound({file->key, offset / section_bytes_ * section_bytes_});
    return section != sections.end() && section->first == file->key && section->second < offset + length;
  };
  const auto section_fails = [&](uint64_t address) { return fails(address, section_bytes_); };
  rows_.Forget(section_fails);
  recent_.Forget(section_fails);
  origins_.Forget(fails);
  for (LookedAt& file : in_batch_) file.again |= again.contains({file.facts.device, file.facts.inode});
  for (const std::shared_ptr<ScannedFile>& file : unfinished_) file->again |= again.contains(file->key);
  if (in_hand_ != nullptr) in_hand_->again |= again.contains(in_hand_->key);
}

bool ReadingScan::IsCompared(const std::shared_ptr<ScannedFile>& file) const {
  return file->sections_ahead == 0 && (run_.empty() || run_.back().file != file);
}

absl::Status ReadingScan::Finish(bool complete) {
  absl::Status status = ReadCollected();
  if (status.ok()) {
    expected_ = 0;
    Found(0);
    status = Drain();
  }
  sharer_.Wait();
  // A stopped scan keeps what it has done, too.
  for (const std::shared_ptr<ScannedFile>& file : unfinished_) {
    if (!file->shares && !file->failed && IsCompared(file)) state_.Done(file->path, file->open->facts);
  }
  const Totals totals = totals_.Get();
  Log(LogLevel::kInfo, "files read",
      {{"files", totals.files_read - before_.files_read},
       {"bytes", totals.bytes_scanned - before_.bytes_scanned},
       {"duplicate_bytes", totals.duplicate_bytes - before_.duplicate_bytes},
       {"freeable_bytes", totals.bytes_freeable - before_.bytes_freeable},
       {"fragmenting_bytes", totals.bytes_fragmenting - before_.bytes_fragmenting},
       {"files_unchanged", totals.files_unchanged - before_.files_unchanged},
       {"page_cache_limit_bytes", page_cache_},
       {"anchors", finder_.anchors().entries()},
       {"sampling", finder_.anchors().sampling()},
       {"files_known", table_.files()}});
  if (state_.news()) {
    RETURN_IF_ERROR(ops_.Commit(tree_.root_fd()));
    state_.Save(complete && status.ok());
  }
  return status;
}

absl::Status ReadingScan::LookAt(const NamedFile& named) {
  absl::StatusOr<OpenFile> opened = tree_.Open(named.path, /*for_destination=*/false);
  auto file = std::make_shared<ScannedFile>();
  file->path = named.path;
  if (!opened.ok()) {
    Failed(*file, opened.status());
    return absl::OkStatus();
  }
  const FileFacts facts = opened->facts;
  // In all of a scan by reading, and in its state, the subvolume of a FileKey is the device number that
  // stat(2) tells: each subvolume of btrfs has one of its own.
  const FileKey key{facts.device, facts.inode};
  file->settled = Settled(facts);
  const bool met = state_.Met(named.path, facts);
  const bool seen = facts.links > 1 && seen_links_.Meet(key);
  if (met) {
    Unchanged(facts);
    return absl::OkStatus();
  }
  const bool small = facts.size < request_.min_file_size || facts.size == 0;
  if (seen || small || IsSwap(*opened)) {
    totals_.Update([](Totals& t) { ++t.files_skipped; });
    if ((seen || small) && file->settled) state_.Done(named.path, facts);
    return absl::OkStatus();
  }
  state_.BeforeReading(facts);
  const absl::optional<uint64_t> address = table_.Place(facts.size);
  if (!address) {
    // Not Done: the next scan has a new index.
    LogFew(LogLevel::kWarning, "a file is skipped: its size is more than the index has addresses for",
           {{"path", named.path}, {"bytes", facts.size}});
    totals_.Update([](Totals& t) { ++t.files_skipped; });
    return absl::OkStatus();
  }
  file->address = *address;
  totals_.Update([&](Totals& t) {
    ++t.files_scanned;
    ++t.files_read;
  });
  file->key = key;
  file->open = std::make_shared<const OpenFile>(*std::move(opened));
  in_hand_ = file;
  const absl::Cleanup read = [this] { in_hand_.reset(); };
  for (uint64_t offset = 0; offset < facts.size;) {
    RETURN_IF_ERROR(stop_.Check());
    const absl::StatusOr<uint64_t> next = ReadWindow(file, offset);
    if (!next.ok()) {
      RETURN_IF_ERROR(stop_.Check());
      Failed(*file, next.status());
      break;
    }
    offset = *next;
  }
  if (!state_.kept() || !file->settled) return absl::OkStatus();
  if (file->sections > 0) {
    unfinished_.push_back(std::move(file));
  } else if (!file->failed) {
    state_.Done(file->path, facts);
  }
  return absl::OkStatus();
}

void ReadingScan::Failed(ScannedFile& file, const absl::Status& status) {
  if (file.failed) return;
  file.failed = true;
  LogFew(LogLevel::kWarning, "cannot scan a file", {{"path", file.path}, {"error", status}});
  totals_.Update([](Totals& t) { ++t.files_failed; });
}

bool ReadingScan::IsSwap(const OpenFile& file) {
  return file.facts.size >= kLeastSwap && ops_.IsSwap(file.fd.get());
}

absl::StatusOr<uint64_t> ReadingScan::ReadWindow(const std::shared_ptr<ScannedFile>& file, uint64_t offset) {
  const int fd = file->open->fd.get();
  const uint64_t size = file->open->facts.size;
  const uint64_t length = std::min(kWindowBytes, size - offset);
  const uint64_t next = offset + length;
  ASSIGN_OR_RETURN(const std::vector<FileExtent> extents,
                   AllExtents(ops_, fd, offset, length, /*flush=*/false));
  if (extents.empty() && next < size) {
    ASSIGN_OR_RETURN(const ExtentList behind, ops_.Extents(fd, next, size - next, 1, /*flush=*/false));
    if (behind.extents.empty()) return size;
    return std::max(next, behind.extents.front().offset / kWindowBytes * kWindowBytes);
  }
  std::vector<FileExtent> fresh;
  std::vector<FileExtent> skipped;
  for (const FileExtent& extent : extents) {
    // It has its place, and can be looked at, once it is written.
    if (extent.delayed) file->settled = false;
    if (!HasData(extent)) continue;
    if (!extent.shared || extent.encoded) {
      fresh.push_back(Clip(extent, offset, next));
      continue;
    }
    // Storage that another place shares may have been looked at there.
    const FileExtent part = Clip(extent, offset, next);
    uint64_t at = part.physical;
    const uint64_t end = part.physical + part.length;
    const auto piece = [&](uint64_t from, uint64_t to) {
      return Clip(part, part.offset + (from - part.physical), part.offset + (to - part.physical));
    };
    for (const StorageSet::Range& range : looked_at_.Missing(at, end)) {
      if (range.first > at) skipped.push_back(piece(at, range.first));
      fresh.push_back(piece(range.first, range.second));
      at = range.second;
    }
    if (at < end) skipped.push_back(piece(at, end));
    looked_at_.Add(part.physical, end);
  }
  if (fresh.empty() && skipped.empty()) return next;
  for (uint64_t begin = offset; begin < next; begin += section_bytes_) {
    const uint64_t end = std::min(begin + section_bytes_, next);
    auto section = std::make_unique<Section>();
    section->file = file;
    section->first_block = begin / block_size_;
    section->blocks = (end - begin + block_size_ - 1) / block_size_;
    section->extents = ClipAll(fresh, begin, end);
    section->skipped = ClipAll(skipped, begin, end);
    if (section->extents.empty() && section->skipped.empty()) continue;
    RETURN_IF_ERROR(ReadSection(std::move(section)));
  }
  return next;
}

absl::Status ReadingScan::ReadSection(std::unique_ptr<Section> section) {
  RETURN_IF_ERROR(stop_.Check());
  const uint64_t bytes = BytesOf(section->extents);
  for (const FileExtent& extent : section->extents) {
    BringIn(section->file->open, extent.offset, extent.length);
  }
  RETURN_IF_ERROR(stop_.Check());
  Found(bytes);
  bytes_ahead_ += bytes;
  ++sections_ahead_;
  ++section->file->sections;
  ++section->file->sections_ahead;
  reader_.Push(std::move(section));
  while (bytes_ahead_ > kBytesAhead || sections_ahead_ > kSectionsAhead) {
    RETURN_IF_ERROR(Compare(reader_.Pop()));
  }
  return absl::OkStatus();
}

void ReadingScan::BringIn(const std::shared_ptr<const OpenFile>& file, uint64_t offset, uint64_t length) {
  // A throttled scan reads piece by piece here, so that the reader finds all of it cached.
  const uint64_t most = pace_.step() <= kSectionBytes ? std::min(pace_.step(), kSmallRead) : kProbeBytes;
  for (const uint64_t end = offset + length; offset < end && stop_.Check().ok();) {
    const uint64_t step = std::min(most, end - offset);
    pace_.Wait(step, stop_);
    const bool small = step <= kSmallRead;
    // In the middle, since readahead goes somewhat beyond what was read.
    const CachedPart cached =
        small ? ops_.Cached(file->fd.get(), offset, step) : ops_.Cached(file->fd.get(), offset + step / 2, 0);
    if (small && cached != CachedPart::kAll) ops_.StartReading(file->fd.get(), offset, step);
    if (cached == CachedPart::kLittle) cached_.Add({file, offset, step});
    offset += step;
  }
  cached_.ForgetUntil(max_open_, page_cache_);
}

absl::Status ReadingScan::Compare(std::unique_ptr<Section> section) {
  RETURN_IF_ERROR(stop_.Check());
  bytes_ahead_ -= BytesOf(section->extents);
  --sections_ahead_;
  ScannedFile& file = *section->file;
  if (!run_.empty() && run_.back().file != section->file) EndRun();
  absl::Status status = section->status;
  if (status.ok()) status = ReadSkipped(*section);
  RETURN_IF_ERROR(stop_.Check());
  // Also where it failed: its file is open until the batch begins.
  ++batch_sections_;
  if (!status.ok()) {
    --file.sections_ahead;
    Failed(file, status);
    ShareBatchWhenDue();
    return absl::OkStatus();
  }
  totals_.Update([&](Totals& t) { t.bytes_scanned += BytesOf(section->extents); });
  batch_bytes_ += section->bytes_read;
  const auto first = std::find_if(section->fingerprints.begin(), section->fingerprints.end(),
                                  [](uint64_t fingerprint) { return fingerprint != 0; });
  if (first != section->fingerprints.end() && !unfit_.contains(file.key)) {
    if (!file.in_table) {
      table_.Add(file.address, file.path, file.key, file.open->facts.size, *first);
      file.in_table = true;
    }
    asked_.clear();
    const uint64_t address = file.address + section->first_block * block_size_;
    const auto is_shared = [&](uint64_t first_block, uint64_t end_block) {
      return IsShared(section->extents, (section->first_block + first_block) * block_size_,
                      (section->first_block + end_block) * block_size_);
    };
    for (const BlockRun& piece : rows_.Take(address, section->fingerprints, is_shared)) {
      if (const absl::optional<Run> run = RunOf(*section, piece)) {
        Take(*run);
      } else if (!table_.Has(piece.source_extent)) {
        rows_.Forget([&](uint64_t kept) { return kept == piece.source_extent; });
      }
    }
    // To a file that is forgotten no anchor need lead.
    const std::vector<BlockRun> runs = finder_.Find(
        address, section->fingerprints, [this](uint64_t earlier) { return EarlierFingerprints(earlier); },
        table_.Has(file.address));
    for (const BlockRun& found : runs) {
      // What an earlier scan kept of a short row.
      if (RowFinder::IsWithinRow(found, address, section->fingerprints) &&
          is_shared(found.source_block, found.block + found.blocks)) {
        continue;
      }
      if (absl::optional<Run> run = RunOf(*section, found)) Join(*std::move(run));
    }
    recent_.Keep(address, std::move(section->fingerprints));
  }
  RETURN_IF_ERROR(stop_.Check());
  --file.sections_ahead;
  ShareBatchWhenDue();
  return absl::OkStatus();
}

// Storage that was looked at elsewhere has to be looked at here too, if it turned out to be a duplicate: the
// other places are giving it up.
absl::Status ReadingScan::ReadSkipped(Section& section) {
  std::vector<FileExtent> fresh;
  for (const FileExtent& extent : section.skipped) {
    for (const StorageSet::Range& range :
         looked_at_.Missing(extent.physical, extent.physical + extent.length)) {
      fresh.push_back(Clip(extent, extent.offset + (range.first - extent.physical),
                           extent.offset + (range.second - extent.physical)));
      looked_at_.Add(range.first, range.second);
    }
  }
  if (fresh.empty()) return absl::OkStatus();
  Found(BytesOf(fresh));
  for (const FileExtent& extent : fresh) BringIn(section.file->open, extent.offset, extent.length);
  RETURN_IF_ERROR(stop_.Check());
  ASSIGN_OR_RETURN(const std::vector<uint64_t> fingerprints,
                   ReadFingerprints(section.file->open->fd.get(), block_size_, fresh, section.first_block,
                                    section.blocks, section.bytes_read));
  for (size_t i = 0; i < fingerprints.size(); ++i) {
    if (fingerprints[i] != 0) section.fingerprints[i] = fingerprints[i];
  }
  section.extents.insert(section.extents.end(), fresh.begin(), fresh.end());
  std::sort(section.extents.begin(), section.extents.end(),
            [](const FileExtent& a, const FileExtent& b) { return a.offset < b.offset; });
  return absl::OkStatus();
}

absl::optional<absl::Span<const uint64_t>> ReadingScan::EarlierFingerprints(uint64_t address) {
  constexpr absl::Span<const uint64_t> kGone;
  if (!unfit_.empty()) {
    const auto file = table_.Find(address);
    if (file && unfit_.contains(file->key)) return kGone;
  }
  const std::vector<uint64_t>* known = recent_.Find(address);
  if (known == nullptr && ReadEarlier(address).ok()) known = recent_.Find(address);
  if (known != nullptr) return absl::MakeConstSpan(*known);
  // A file that is gone or cannot be read matches nothing; the walk counts and logs such files.
  if (stop_.Check().ok()) return kGone;
  return absl::nullopt;
}

absl::Status ReadingScan::ReadEarlier(uint64_t address) {
  const absl::optional<FileTable::File> file = table_.Find(address);
  if (!file) return absl::NotFoundError("forgotten");
  const uint64_t offset = address - file->address;
  const uint64_t length = std::min(section_bytes_, file->blocks * block_size_ - offset);
  if (length > kReadForOneAnchor && ++asked_[address] < 2) return absl::NotFoundError("one anchor only");
  ASSIGN_OR_RETURN(OpenFile opened, tree_.Open(file->path, /*for_destination=*/false));
  if (!(FileKey{opened.facts.device, opened.facts.inode} == file->key)) {
    return absl::NotFoundError("another file by now");
  }
  if (IsSwap(opened)) return absl::NotFoundError("swapped to by now");
  const auto open = std::make_shared<const OpenFile>(std::move(opened));
  ASSIGN_OR_RETURN(std::vector<FileExtent> extents,
                   AllExtents(ops_, open->fd.get(), offset, length, /*flush=*/false));
  extents.erase(
      std::remove_if(extents.begin(), extents.end(), [](const FileExtent& e) { return !HasData(e); }),
      extents.end());
  extents = ClipAll(extents, offset, offset + length);
  // Kept as well: the comparison follows.
  for (const FileExtent& extent : extents) BringIn(open, extent.offset, extent.length);
  RETURN_IF_ERROR(stop_.Check());
  uint64_t bytes = 0;
  ASSIGN_OR_RETURN(std::vector<uint64_t> fingerprints,
                   ReadFingerprints(open->fd.get(), block_size_, extents, offset / block_size_,
                                    (length + block_size_ - 1) / block_size_, bytes));
  batch_bytes_ += bytes;
  recent_.Keep(address, std::move(fingerprints));
  return absl::OkStatus();
}

absl::optional<ReadingScan::Run> ReadingScan::RunOf(const Section& section, const BlockRun& found) const {
  const absl::optional<FileTable::File> source = table_.Find(found.source_extent);
  if (!source) return absl::nullopt;
  Run run;
  run.source_path = source->path;
  run.source_key = source->key;
  run.source_address = source->address;
  run.source_offset = found.source_extent - source->address + found.source_block * block_size_;
  run.file = section.file;
  run.offset = (section.first_block + found.block) * block_size_;
  run.length = found.blocks * block_size_;
  // The same file under another name.
  const uint64_t apart = std::max(run.source_offset, run.offset) - std::min(run.source_offset, run.offset);
  if (run.source_key == run.file->key && apart < run.length) return absl::nullopt;
  run.extents = Touching(section.extents, run.offset, run.offset + run.length);
  return run;
}

// Runs end where sections do; what goes on behind is the same run.
void ReadingScan::Join(Run run) {
  if (!run_.empty()) {
    const Run& last = run_.back();
    const bool adjacent = last.file == run.file && last.offset + last.length == run.offset &&
                          last.source_address == run.source_address &&
                          last.source_offset + last.length == run.source_offset;
    if (!adjacent || run_bytes_ >= kWindowBytes) EndRun();
  }
  run_bytes_ += run.length;
  run_.push_back(std::move(run));
}

void ReadingScan::EndRun() {
  const std::vector<Run> parts = std::exchange(run_, {});
  const uint64_t length = std::exchange(run_bytes_, 0);
  if (parts.empty()) return;
  if (length < request_.min_extent_length) {
    const absl::StatusOr<Place> place = PlaceIn(*parts.front().file, parts.front().offset, length);
    if (!place.ok() || place->splits_first || place->splits_last) return;
  }
  for (const Run& part : parts) {
    for (const Run& run : WithOrigins(part)) {
      Take(run);
      origins_.Add(run.file->address + run.offset, run.length, run.source_address + run.source_offset);
    }
  }
}

std::vector<ReadingScan::Run> ReadingScan::WithOrigins(const Run& run) const {
  std::vector<Run> runs;
  const uint64_t source = run.source_address + run.source_offset;
  for (const OriginMap::Piece& piece : origins_.Find(source, run.length)) {
    Run part = run;
    part.source_offset += piece.address - source;
    part.offset += piece.address - source;
    part.length = piece.length;
    absl::optional<FileTable::File> file;
    if (piece.origin != piece.address) file = table_.Find(piece.origin);
    if (file) {
      part.source_path = file->path;
      part.source_key = file->key;
      part.source_address = file->address;
      part.source_offset = piece.origin - file->address;
    }
    runs.push_back(std::move(part));
  }
  return runs;
}

void ReadingScan::Take(const Run& run) {
  for (const Stretch& stretch : Unshared(run)) {
    const uint64_t begin = run.offset + stretch.offset;
    const std::vector<FileExtent> extents = ClipAll(run.extents, begin, begin + stretch.length);
    if (extents.empty()) continue;
    if (run.file->open->facts.immutable) {
      totals_.Update([&](Totals& t) { t.bytes_held += stretch.length; });
      continue;
    }
    if (!FitsIntoFile(run, stretch)) {
      totals_.Update([&](Totals& t) { t.bytes_fragmenting += stretch.length; });
      continue;
    }
    Duplicate duplicate{
        run.source_path, run.source_offset + stretch.offset, run.file->path, begin, stretch.length, 0};
    for (const FileExtent& extent : extents) {
      // A file's last block goes free as a whole.
      const uint64_t length = (extent.length + stored_block_ - 1) / stored_block_ * stored_block_;
      if (!extent.shared) {
        duplicate.freeable += length;
        continue;
      }
      const uint64_t end = extent.physical + length;
      // Each of its places comes here; the space is one.
      for (const StorageSet::Range& range : given_up_.Missing(extent.physical, end))
        duplicate.freeable += range.second - range.first;
      given_up_.Add(extent.physical, end);
      looked_at_.Remove(extent.physical, end);
    }
    totals_.Update([&](Totals& t) {
      ++t.duplicate_ranges;
      t.duplicate_bytes += duplicate.length;
      t.bytes_freeable += duplicate.freeable;
      t.bytes_read += 2 * duplicate.length;
    });
    found_(duplicate);
    if (request_.dry_run) continue;
    run.file->shares = true;
    batch_.paths.emplace(run.source_key, run.source_path);
    batch_.paths.emplace(run.file->key, run.file->path);
    batch_.shares.push_back({{run.source_key, duplicate.source_offset},
                             {run.file->key, duplicate.destination_offset},
                             duplicate.length,
                             extents.front().physical});
  }
}

// Where the run's two sides do not lie on the same storage, within the file.
std::vector<Stretch> ReadingScan::Unshared(const Run& run) {
  const uint64_t size = run.file->open->facts.size;
  if (run.offset >= size) return {};
  const uint64_t length = std::min(run.length, size - run.offset);
  // Storage that nobody shares is not the source's.
  if (std::none_of(run.extents.begin(), run.extents.end(), [](const FileExtent& e) { return e.shared; }))
    return {{0, length}};
  absl::StatusOr<OpenFile> source = tree_.Open(run.source_path, /*for_destination=*/false);
  // Gone since: no match any more.
  if (!source.ok()) return {};
  absl::StatusOr<std::vector<FileExtent>> extents =
      AllExtents(ops_, source->fd.get(), run.source_offset, length, /*flush=*/false);
  if (!extents.ok()) return {};
  return UnsharedStretches(*extents, run.source_offset, run.extents, run.offset, length);
}

absl::StatusOr<ReadingScan::Place> ReadingScan::PlaceIn(const ScannedFile& file, uint64_t offset,
                                                        uint64_t length) {
  const uint64_t end = offset + length;
  // With the neighbours: some filesystems cut extents where the question begins and ends.
  const uint64_t from = offset - std::min<uint64_t>(offset, block_size_);
  ASSIGN_OR_RETURN(const std::vector<FileExtent> extents,
                   AllExtents(ops_, file.open->fd.get(), from, end + block_size_ - from, /*flush=*/false));
  Place place;
  for (const FileExtent& extent : Touching(extents, offset, end)) {
    ++place.extents;
    place.splits_first |= extent.offset < offset;
    place.splits_last |= extent.offset + extent.length > end && end < file.open->facts.size;
  }
  return place;
}

bool ReadingScan::FitsIntoFile(const Run& run, const Stretch& stretch) {
  ScannedFile& file = *run.file;
  const uint64_t size = file.open->facts.size;
  const uint64_t most = request_.max_extents_per_file;
  // An extent is a block at least.
  if ((size + stored_block_ - 1) / stored_block_ <= most) return true;
  const uint64_t begin = run.offset + stretch.offset;
  const uint64_t source = run.source_address + run.source_offset + stretch.offset;
  const absl::StatusOr<Place> place = PlaceIn(file, begin, stretch.length);
  const absl::StatusOr<uint64_t> of_source = SourceExtents(run, stretch);
  if (!place.ok() || !of_source.ok()) return false;
  // Where the last stretch ended the extent is split already, and what goes on there is no other one.
  const bool goes_on = begin == file.shared_until;
  const uint64_t joined = goes_on && source == file.shared_from_until ? 1 : 0;
  const uint64_t before = place->extents + joined;
  const uint64_t after =
      *of_source + (place->splits_first && !goes_on ? 1 : 0) + (place->splits_last ? 1 : 0);
  if (after > before && !file.extents) {
    const absl::StatusOr<ExtentList> all = ops_.Extents(file.open->fd.get(), 0, size, most, /*flush=*/false);
    if (!all.ok()) return false;
    file.extents = all->next_offset == 0 ? all->extents.size() : kTooManyExtents;
  }
  if (file.extents) {
    if (after > before && *file.extents + after - before > most) return false;
    *file.extents = std::max(*file.extents + after, before) - before;
  }
  file.shared_until = begin + stretch.length;
  file.shared_from_until = source + stretch.length;
  return true;
}

absl::StatusOr<uint64_t> ReadingScan::SourceExtents(const Run& run, const Stretch& stretch) {
  ASSIGN_OR_RETURN(const OpenFile source, tree_.Open(run.source_path, /*for_destination=*/false));
  ASSIGN_OR_RETURN(const std::vector<FileExtent> extents,
                   AllExtents(ops_, source.fd.get(), run.source_offset + stretch.offset, stretch.length,
                              /*flush=*/false));
  return extents.size();
}

void ReadingScan::ShareBatchWhenDue() {
  // Two batches and what is on the way fit into what may be kept, so that nothing goes before it is shared.
  if (batch_bytes_ < std::min(page_cache_ / 4, kBatchBytes) && batch_sections_ < max_open_ / 4 &&
      batch_.shares.size() < kMaxBatchPlaces) {
    return;
  }
  batch_bytes_ = 0;
  batch_sections_ = 0;
  if (request_.dry_run) return;
  sharer_.Begin(std::exchange(batch_, {}));
  BatchBegun();
  won_.MeasureNowAndThen();
}

}  // namespace cowherd
