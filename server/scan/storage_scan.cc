#include "server/scan/storage_scan.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/optional.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/scan/estimate.h"
#include "server/scan/extent_plan.h"
#include "server/scan/fragment_limit.h"
#include "server/scan/machine_share.h"
#include "server/scan/overlaps.h"
#include "server/scan/recent_fingerprints.h"
#include "server/scan/reclaim.h"
#include "server/scan/run_finder.h"
#include "server/scan/scan_files.h"
#include "server/scan/share.h"
#include "server/scan/storage_progress.h"

namespace cowherd {
namespace {

constexpr size_t kExtentsPerLook = 4096;
// Checksums of so much storage are fetched at once while going through it.
constexpr uint64_t kWindowBytes = 64 << 20;
// A batch is carried out when it holds so much, or takes so long to plan or, at a given rate, to share; it
// ends with a commit. Copies come before anything goes free: they must fit into what is left on a filesystem
// that is nearly full. And a snapshot that comes meanwhile holds all that was planned.
constexpr size_t kMaxBatchPlaces = 1 << 16;
constexpr uint64_t kMaxBatchMoved = 256 << 20;
constexpr uint64_t kLeastBatchBytes = 256 << 20;
constexpr uint64_t kMaxBatchBytes = uint64_t{8} << 30;
constexpr std::chrono::seconds kMaxBatchAge(20);
// On a filesystem that others write to there is always something new; the rest is for the next scan.
constexpr int kMaxRounds = 4;
// Shorter duplicates are looked back for only where they are much of their extent, or, some more times, all
// of it, and no more than some of one extent: they are all over, zeros mostly, and would cut files into
// pieces.
constexpr uint64_t kLeastLookedBackFor = 128 << 10;
constexpr uint64_t kMuchOfExtent = 4;  // a quarter
constexpr uint32_t kMaxShortParts = 16;
constexpr size_t kMaxPlacesOfShort = 32;
// Some 600 bytes each while they are looked back at.
constexpr size_t kMaxCovered = 1 << 15;

// What a scan remembers beside its anchors, in about the third of its budget that they leave; small budgets
// are exceeded by some MiB.
struct Limits {
  explicit Limits(size_t budget)
      : batch_places(std::clamp<size_t>(budget / 2048, 1 << 12, kMaxBatchPlaces)),
        earlier_bytes(std::max<size_t>(budget / 8, 4 << 20)),
        references(std::max<size_t>(budget / 2048, 1 << 12)),
        files(std::max<size_t>(budget / 256, 1 << 16)),
        extents(std::clamp<size_t>(budget / 512, 1 << 16, kMaxOpenExtents)),
        unchecked(std::max<size_t>(budget / 1024, 1 << 16)) {}

  size_t batch_places;
  size_t earlier_bytes;  // checksums of extents that are compared with later ones
  size_t references;     // of earlier extents, known at a time; some 100 bytes each
  size_t files;          // ScanFiles'
  size_t extents;        // to be looked at again, or planned by a dry run; some 24 bytes each
  size_t unchecked;      // files without checksums; some 36 bytes each
};

// A slow scan reads no further ahead than it shares within some seconds.
uint64_t PageCacheFor(const ScanRequest& request) {
  constexpr uint64_t kSeconds = 8;
  const uint64_t share = PageCacheShare(request.scans_at_once);
  if (request.bytes_per_second == 0) return share;
  const uint64_t rate = std::min(request.bytes_per_second, kMaxPageCache);
  return std::min(share, std::max(kMaxGroupBytes, rate * kSeconds));
}

uint64_t BatchBytesFor(const ScanRequest& request) {
  if (request.bytes_per_second == 0) return kMaxBatchBytes;
  const uint64_t rate = std::min(request.bytes_per_second, kMaxBatchBytes);
  return std::clamp(rate * static_cast<uint64_t>(kMaxBatchAge.count()), kLeastBatchBytes, kMaxBatchBytes);
}

// The first that begins there or behind, if there is one.
absl::StatusOr<absl::optional<StorageExtent>> NextExtent(StorageMap& map, uint64_t address) {
  while (true) {
    ASSIGN_OR_RETURN(const StorageExtents found, map.Extents(address, 1, 0));
    if (!found.extents.empty()) return found.extents.front();
    if (found.next == 0) return absl::nullopt;
    address = found.next;
  }
}

// The one that begins there, if it is still there.
absl::StatusOr<absl::optional<StorageExtent>> ExtentAt(StorageMap& map, uint64_t address) {
  ASSIGN_OR_RETURN(const StorageExtents found, map.Extents(address, 1, 0));
  if (found.extents.empty() || found.extents[0].address != address) return absl::nullopt;
  return found.extents[0];
}

// Checksums of extents that were passed already; keeps those used last. One thread.
class EarlierExtents {
 public:
  EarlierExtents(StorageMap& map, size_t budget) : map_(map), recent_(budget) {}

  // Null: there is no such extent. Good until the next call.
  absl::StatusOr<const std::vector<uint64_t>*> Find(uint64_t address) {
    if (const std::vector<uint64_t>* known = recent_.Find(address); known != nullptr) return known;
    ASSIGN_OR_RETURN(const absl::optional<StorageExtent> extent, ExtentAt(map_, address));
    if (!extent) return nullptr;
    ASSIGN_OR_RETURN(std::vector<uint64_t> checksums,
                     map_.Checksums(address, extent->length / map_.block_size()));
    Keep(address, std::move(checksums));
    return recent_.Find(address);
  }

  void Keep(uint64_t address, std::vector<uint64_t> checksums) {
    recent_.Keep(address, std::move(checksums));
  }

  // No file has those blocks any more: they match nothing, as long as the extent is known.
  void Blank(uint64_t address, uint64_t first, uint64_t blocks) {
    std::vector<uint64_t>* const checksums = recent_.Find(address);
    if (checksums == nullptr) return;
    const auto begin = checksums->begin() + static_cast<ptrdiff_t>(std::min(first, checksums->size()));
    std::fill_n(begin, std::min<uint64_t>(blocks, static_cast<uint64_t>(checksums->end() - begin)), 0);
  }

  void Clear() { recent_.Clear(); }

 private:
  StorageMap& map_;
  RecentFingerprints recent_;
};

class StorageScan {
 public:
  StorageScan(ExtentOps& ops, FileTree& tree, StorageMap& map, const ScanRequest& request,
              const std::function<bool(const std::string&)>& wanted, size_t index_budget,
              ScanStateFile* state, Pace& pace, const Stop& stop, SharedTotals& totals, SpaceWon& won,
              absl::FunctionRef<void(const Duplicate&)> found)
      : map_(map),
        request_(request),
        stop_(stop),
        totals_(totals),
        in_use_(totals.Get().bytes_found),
        won_(won),
        found_(found),
        block_(map.block_size()),
        max_batch_bytes_(BatchBytesFor(request)),
        limits_(index_budget),
        earlier_(map, limits_.earlier_bytes),
        finder_(index_budget / 3 * 2, block_, map.checksum_bits()),
        planner_({block_, request.min_freed_per_moved, request.min_extent_length}),
        fragments_(request.max_extents_per_file, map.may_compress()),
        wanted_(wanted),
        files_(
            tree, [this](const FileKey& file) { return Locate(file); }, limits_.files),
        pace_(pace),
        state_(state, finder_.anchors(), request.checkpoint_interval),
        reclaim_(ops, tree, files_, block_, std::max(1U, request.workers), request.min_freed_per_moved,
                 PageCacheFor(request), OpenFileShare(request.scans_at_once), pace, stop, totals) {}

  absl::StatusOr<UncheckedFiles> ScanAll() {
    const absl::Status status = Run();
    totals_.Update([&](Totals& t) {
      t.files_scanned += files_.taken();
      t.files_skipped += files_.refused() + unchecked_left_;
      t.files_failed += files_.failed();
    });
    if (unchecked_left_ > 0) {
      Log(LogLevel::kWarning, "too many files without checksums: some are left to later scans",
          {{"looked_at", unchecked_.size()}, {"left", unchecked_left_}});
    }
    if (open_left_ > 0) {
      Log(LogLevel::kWarning,
          "too many extents without checksums to look at again: the next scan looks at all",
          {{"extents", open_.size() + open_left_}});
    }
    const Totals totals = totals_.Get();
    Log(LogLevel::kInfo, "storage scanned",
        {{"extents", extents_},
         {"bytes", totals.bytes_scanned},
         {"duplicate_bytes", totals.duplicate_bytes},
         {"freeable_bytes", totals.bytes_freeable},
         {"moved_bytes", totals.bytes_moved},
         {"held_bytes", totals.bytes_held},
         {"unprofitable_bytes", totals.bytes_unprofitable},
         {"fragmenting_bytes", totals.bytes_fragmenting},
         {"anchors", finder_.anchors().entries()},
         {"sampling", finder_.anchors().sampling()}});
    RETURN_IF_ERROR(status);
    UncheckedFiles unchecked;
    for (const auto& [hash, file] : unchecked_) unchecked.files.push_back(file);
    std::sort(unchecked.files.begin(), unchecked.files.end());
    unchecked.all = unchecked_left_ == 0;
    return unchecked;
  }

 private:
  static constexpr size_t kExtentsPerProbe = 32;

  // A part of an extent that another one which stays so far holds too.
  struct Covered : ExtentOverlap {
    // Where it counts if it is left as it is. Null: the extent waits, and the part counts where it is told
    // the other way round.
    uint64_t Totals::*left = nullptr;

    // Which of the two was being looked at.
    uint64_t seen_at() const { return left != nullptr ? by : extent; }
  };

  absl::Status Run() {
    if (!state_.kept()) return Pass();
    ASSIGN_OR_RETURN(const uint64_t generation, map_.CommittedGeneration());
    if (!request_.full_scan) progress_ = state_.Load(generation, in_use_);
    anchors_loaded_ = progress_.target == 0;
    if (progress_.base > 0 || progress_.next > 0) {
      Log(LogLevel::kInfo, "goes on from the last scan: only what is newer is looked at",
          {{"generation", progress_.base}, {"from_address", progress_.next}});
      // How much is new shows only as it is found.
      looked_at_before_ = true;
      totals_.Update([](Totals& t) { t.bytes_found = t.bytes_scanned; });
    }
    if (progress_.next == 0) progress_.target = generation;
    RETURN_IF_ERROR(LookAgain(/*changed=*/generation > progress_.base));
    absl::Status status = CatchUp();
    // What was planned before a stop is not begun: it is for the next scan. So is what was to be looked back
    // for.
    if (!looks_back_ && !planner_.batch().empty()) {
      progress_.next = std::min(progress_.next, planner_.batch().begin()->first);
    }
    for (const Covered& part : covered_) {
      progress_.next = std::min(progress_.next, part.seen_at());
      // A look back that had begun prefers others than those before: then both are looked at anew, also where
      // they are older than what the next scan goes through.
      if (!looks_back_) continue;
      progress_.next = std::min({progress_.next, part.extent, part.by});
      if (progress_.base > 0 && open_.size() < limits_.extents) open_[part.extent] = OpenExtent::kStayed;
    }
    // Where nothing is new, the state stays as it is.
    if (anchors_loaded_) Save();
    return status;
  }

  // Looks at what is new, then at what came meanwhile: what was moved here, and what others wrote.
  absl::Status CatchUp() {
    for (int round = 0;; ++round) {
      RETURN_IF_ERROR(Pass());
      progress_.base = progress_.target;
      progress_.next = 0;
      ASSIGN_OR_RETURN(const uint64_t generation, map_.CommittedGeneration());
      if (generation == progress_.base || round == kMaxRounds) return absl::OkStatus();
      progress_.target = generation;
      RETURN_IF_ERROR(LookAtReserved());
    }
  }

  // A file without checksums may have written to it since it was looked at.
  absl::Status LookAtReserved() {
    for (const auto& [address, checksums] : open_) {
      RETURN_IF_ERROR(stop_.Check());
      if (checksums != OpenExtent::kReserved) continue;
      ASSIGN_OR_RETURN(const absl::optional<StorageExtent> extent, ExtentAt(map_, address));
      if (extent) Unchecked(*extent);
    }
    return absl::OkStatus();
  }

  void AllIsLookedAt() {
    totals_.Update([this](Totals& t) {
      t.bytes_found = t.bytes_scanned;
      if (looked_at_before_ && in_use_ > t.bytes_scanned) t.bytes_unchanged = in_use_ - t.bytes_scanned;
    });
  }

  // Ends with nothing planned that is not carried out.
  absl::Status Pass() {
    while (true) {
      ASSIGN_OR_RETURN(const StorageExtents page,
                       map_.Extents(progress_.next, kExtentsPerLook, progress_.base));
      const std::vector<StorageExtent>& extents = page.extents;
      if (extents.empty()) {
        if (page.next == 0) {
          AllIsLookedAt();
          return LookBack();
        }
        RETURN_IF_ERROR(stop_.Check());
        pace_.Wait(0, stop_);
        RETURN_IF_ERROR(CarryOutOld());
        progress_.next = page.next;
        continue;
      }
      if (!AnchorsAreLoaded()) continue;
      for (size_t first = 0; first < extents.size();) {
        size_t last = first;
        const uint64_t begin = extents[first].address;
        uint64_t end = begin;
        while (last < extents.size() &&
               (last == first || extents[last].address + extents[last].length - begin <= kWindowBytes)) {
          end = extents[last].address + extents[last].length;
          ++last;
        }
        pace_.Wait(0, stop_);
        ASSIGN_OR_RETURN(const std::vector<uint64_t> checksums,
                         map_.Checksums(begin, (end - begin) / block_));
        for (; first < last; ++first) {
          RETURN_IF_ERROR(stop_.Check());
          const StorageExtent& extent = extents[first];
          RETURN_IF_ERROR(Look(extent, absl::MakeConstSpan(checksums).subspan(
                                           (extent.address - begin) / block_, extent.length / block_)));
        }
        progress_.next = extents[last - 1].address + 1;
        RETURN_IF_ERROR(CarryOutOld());
        // What there was no room for is in no state.
        const bool due = open_left_ == 0 && state_.CheckpointDue(std::chrono::steady_clock::now());
        if (due || covered_.size() >= kMaxCovered) RETURN_IF_ERROR(LookBack());
        if (due) Save();
      }
      if (page.next != 0) progress_.next = page.next;
    }
  }

  // False: they are not to be trusted, and all is to be looked at.
  bool AnchorsAreLoaded() {
    if (!anchors_loaded_) {
      anchors_loaded_ = true;
      if (!state_.LoadAnchors()) {
        progress_.base = progress_.next = 0;
        looked_at_before_ = false;
        return false;
      }
    }
    return true;
  }

  void Save() {
    if (open_left_ > 0) {
      // The next scan would not look at those.
      state_.Discard();
      return;
    }
    progress_.indexed = finder_.anchors().keys_seen() * block_;
    progress_.open.clear();
    for (const auto& [address, checksums] : open_) progress_.open.push_back({address, checksums});
    state_.Save(progress_);
    progress_.open = {};
  }

  // Data may have come to old extents that had no checksums; `changed`: since the last scan.
  absl::Status LookAgain(bool changed) {
    for (const OpenExtent& open : progress_.open) {
      RETURN_IF_ERROR(stop_.Check());
      if (open.checksums == OpenExtent::kStayed) tried_again_.insert(open.address);
      ASSIGN_OR_RETURN(const absl::optional<StorageExtent> extent, ExtentAt(map_, open.address));
      if (!extent) continue;
      ASSIGN_OR_RETURN(const std::vector<uint64_t> checksums,
                       map_.Checksums(open.address, extent->length / block_));
      const bool none = NoneIn(checksums);
      const bool had_none =
          open.checksums == OpenExtent::kReserved || open.checksums == OpenExtent::kUnchecked;
      if (had_none ? none : HashOf(checksums) == open.checksums) {
        open_.emplace(open.address, open.checksums);
        if (none && (changed || open.checksums != OpenExtent::kReserved)) Unchecked(*extent);
      } else if (AnchorsAreLoaded()) {
        RETURN_IF_ERROR(Look(*extent, checksums));
        if (covered_.size() >= kMaxCovered) RETURN_IF_ERROR(LookBack());
      }
    }
    // Plans are made in the order of addresses, and those that follow begin anew.
    return CarryOut();
  }

  void KeepOpen(const StorageExtent& extent, absl::Span<const uint64_t> checksums) {
    const bool whole = std::find(checksums.begin(), checksums.end(), 0) == checksums.end();
    if (whole) {
      open_.erase(extent.address);
    } else if (open_.size() < limits_.extents || open_.contains(extent.address)) {
      open_[extent.address] = HashOf(checksums);
    } else {
      ++open_left_;
    }
  }

  // What was to go free and did not, since its data changed or for an error, is tried once more.
  absl::Status KeepStaying() {
    std::vector<StorageExtent> there;
    uint64_t told_until = 0;  // the address
    for (const auto& [address, plan] : planner_.batch()) {
      if (address >= told_until) {
        ASSIGN_OR_RETURN(StorageExtents found, map_.Extents(address, kExtentsPerProbe, 0));
        there = std::move(found.extents);
        told_until = found.next == 0 ? UINT64_MAX : found.next;
      }
      const bool stays = std::any_of(there.begin(), there.end(),
                                     [a = address](const StorageExtent& e) { return e.address == a; });
      if (stays && !tried_again_.contains(address) && open_.size() < limits_.extents) {
        open_[address] = OpenExtent::kStayed;
      }
    }
    return absl::OkStatus();
  }

  static uint64_t HashOf(absl::Span<const uint64_t> checksums) {
    return XXH3_64bits(checksums.data(), checksums.size() * sizeof(uint64_t));
  }

  static bool NoneIn(absl::Span<const uint64_t> checksums) {
    return std::all_of(checksums.begin(), checksums.end(), [](uint64_t c) { return c == 0; });
  }

  absl::Status Look(const StorageExtent& extent, absl::Span<const uint64_t> checksums) {
    ++extents_;
    // What has no checksums counts where it is read.
    if (!NoneIn(checksums)) {
      totals_.Update([&](Totals& t) {
        t.bytes_scanned += extent.length;
        t.bytes_found = std::max(t.bytes_found, t.bytes_scanned);
      });
    }
    ASSIGN_OR_RETURN(const std::vector<BlockRun> runs, RunsOf(extent, checksums));
    if (state_.kept()) KeepOpen(extent, checksums);
    if (runs.empty()) {
      if (NoneIn(checksums)) Unchecked(extent);
      return absl::OkStatus();
    }
    // Not kept: what the planner asks for next may push it out.
    const ExtentUse use = LookUp(extent);
    if (use.told && use.all && !use.references.empty() && MayWait(extent, runs)) {
      Wait(use, runs);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const ExtentVerdict verdict, Judge(use, checksums, runs));
    switch (verdict) {
      case ExtentVerdict::kHeldOutside:
        Leave(extent, runs, &Totals::bytes_held);
        break;
      case ExtentVerdict::kFragments:
        Leave(extent, runs, &Totals::bytes_fragmenting);
        break;
      case ExtentVerdict::kLittle:
        Leave(extent, runs, &Totals::bytes_unprofitable);
        break;
      case ExtentVerdict::kUnique:
      case ExtentVerdict::kOutside:
      case ExtentVerdict::kPlanned:
        break;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<BlockRun>> RunsOf(const StorageExtent& extent,
                                               absl::Span<const uint64_t> checksums) {
    std::vector<BlockRun> runs =
        finder_.Find(extent.address, checksums, [this](uint64_t address) { return ChecksumsOf(address); });
    RETURN_IF_ERROR(stop_.Check());
    earlier_.Keep(extent.address, {checksums.begin(), checksums.end()});
    return runs;
  }

  // As RunFinder's. After a stop nothing is told: there may be thousands to ask for.
  absl::optional<absl::Span<const uint64_t>> ChecksumsOf(uint64_t address) {
    constexpr absl::Span<const uint64_t> kGone;
    if (IsGone(address)) return kGone;
    if (!stop_.Check().ok()) return absl::nullopt;
    const absl::StatusOr<const std::vector<uint64_t>*> earlier = Earlier(address);
    if (!earlier.ok()) return absl::nullopt;
    return *earlier == nullptr ? kGone : absl::MakeConstSpan(**earlier);
  }

  // As EarlierExtents; an error is logged.
  absl::StatusOr<const std::vector<uint64_t>*> Earlier(uint64_t address) {
    const absl::StatusOr<const std::vector<uint64_t>*> earlier = earlier_.Find(address);
    if (!earlier.ok()) {
      LogFew(LogLevel::kWarning, "cannot read the checksums of an extent",
             {{"address", address}, {"error", earlier.status()}});
    }
    return earlier;
  }

  // Null: it is not there, or that cannot be told. Good until the next call.
  const std::vector<uint64_t>* Known(uint64_t address) { return Earlier(address).value_or(nullptr); }

  // Only a dry run finds it: it may share with the extent that is looked back at.
  bool IsGone(uint64_t address) const {
    return looks_back_ && given_up_.contains(address) && planner_.batch().count(address) == 0;
  }

  // Plans the extent, and carries out the batch if it is full.
  absl::StatusOr<ExtentVerdict> Judge(const ExtentUse& use, absl::Span<const uint64_t> checksums,
                                      absl::Span<const BlockRun> runs) {
    const StorageExtent& extent = use.extent;
    // Only of compressed extents, which are short.
    const auto is_copy = [&](uint64_t address) {
      const bool has_all = std::find(checksums.begin(), checksums.end(), 0) == checksums.end();
      if (!has_all) return false;
      const absl::optional<absl::Span<const uint64_t>> others = ChecksumsOf(address);
      return others && *others == checksums;
    };
    const ExtentVerdict verdict = planner_.Plan(
        use, runs, is_copy, [this](uint64_t address) { return UseOf(address); },
        [this](const ExtentPlan& plan) { return MaySplit(plan); });
    // What was asked for since was not told.
    RETURN_IF_ERROR(stop_.Check());
    for (const ExtentPlanner::Part& part : planner_.sourceless()) {
      finder_.Prefer(extent.address, checksums, part.begin / block_, part.end / block_);
      earlier_.Blank(part.source_extent, part.source_begin / block_, (part.end - part.begin) / block_);
    }
    if (verdict != ExtentVerdict::kPlanned) return verdict;
    if (planner_.batch().size() == 1) batch_begin_ = std::chrono::steady_clock::now();
    RETURN_IF_ERROR(Tell(planner_.batch().at(extent.address)));
    if (request_.dry_run && given_up_.size() < limits_.extents) given_up_.insert(extent.address);
    if (BatchIsFull()) RETURN_IF_ERROR(CarryOut());
    return verdict;
  }

  // The extent stays with its duplicates. The extents that it shares them with may go free instead.
  void Leave(const StorageExtent& extent, absl::Span<const BlockRun> runs, uint64_t Totals::*left) {
    for (const BlockRun& run : runs) {
      if (MayLookBackFor(extent, run) && !IsSourceless(run)) {
        Cover(extent, run, left);
      } else {
        CountLeft(left, run.blocks);
      }
    }
  }

  // All of the extent lies in others, of which more would go free, and others that stay hold a part of those
  // too. So it is with copies of a file that are cut into extents at different places, where now the one and
  // now the other has the lower addresses.
  bool MayWait(const StorageExtent& extent, absl::Span<const BlockRun> runs) {
    const uint64_t blocks = extent.length / block_;
    uint64_t found = 0;
    bool others_hold_more = false;
    absl::flat_hash_set<uint64_t> sources;
    for (const BlockRun& run : runs) {
      if (run.blocks * block_ < kLeastLookedBackFor || !MayLookBackFor(extent, run)) return false;
      sources.insert(run.source_extent);
      others_hold_more |= overlapping_.contains(run.source_extent);
      found += run.blocks;
    }
    if (!others_hold_more || found < blocks) return false;
    uint64_t of_sources = 0;
    for (const uint64_t source : sources) of_sources += BlocksOf(source);
    return of_sources > blocks;
  }

  // Which of them go free is for LookBack to say.
  void Wait(const ExtentUse& use, absl::Span<const BlockRun> runs) {
    const uint64_t blocks = use.extent.length / block_;
    const uint64_t live = LiveBlocksOf(use);
    for (const BlockRun& run : runs) {
      Cover(use.extent, run, &Totals::bytes_unprofitable);
      covered_.push_back(
          {{use.extent.address, blocks, live, run.block, run.source_extent, run.source_block, run.blocks}});
    }
  }

  void Cover(const StorageExtent& extent, const BlockRun& run, uint64_t Totals::*left) {
    const uint64_t blocks = BlocksOf(run.source_extent);
    const ExtentUse* const use = UseOf(run.source_extent);
    covered_.push_back(
        {{run.source_extent, blocks, use == nullptr || !use->told ? blocks : LiveBlocksOf(*use),
          run.source_block, extent.address, run.block, run.blocks},
         left});
    overlapping_.try_emplace(extent.address);
    ++overlapping_[run.source_extent];
  }

  // That files refer to.
  uint64_t LiveBlocksOf(const ExtentUse& use) const {
    return LiveOf(use.references).LengthWithin(0, UINT64_MAX) / block_;
  }

  // 0: there is no such extent.
  uint64_t BlocksOf(uint64_t address) {
    const std::vector<uint64_t>* const checksums = Known(address);
    return checksums == nullptr ? 0 : checksums->size();
  }

  bool MayLookBackFor(const StorageExtent& extent, const BlockRun& run) {
    const uint64_t source = run.source_extent;
    if (source == extent.address || planner_.batch().count(source) > 0) return false;
    if (request_.dry_run && (given_up_.size() >= limits_.extents || given_up_.contains(source))) return false;
    if (run.blocks * block_ >= kLeastLookedBackFor) return true;
    const uint64_t blocks = BlocksOf(source);
    const auto others = overlapping_.find(source);
    const uint32_t parts = others == overlapping_.end() ? 0 : others->second;
    if (run.blocks == blocks) return parts < 2 * kMaxShortParts;
    // Shorter ones than the least length would be moved.
    return run.blocks * kMuchOfExtent >= blocks && run.blocks * block_ >= request_.min_extent_length &&
           parts < kMaxShortParts;
  }

  // A part of it is where no file has anything any more, as the planner found.
  bool IsSourceless(const BlockRun& run) const {
    const auto& parts = planner_.sourceless();
    return std::any_of(parts.begin(), parts.end(), [&](const ExtentPlanner::Part& part) {
      return part.begin < (run.block + run.blocks) * block_ && run.block * block_ < part.end;
    });
  }

  void CountLeft(uint64_t Totals::*left, uint64_t blocks) {
    totals_.Update([&](Totals& t) { t.*left += blocks * block_; });
  }

  // Carries out the batch, and looks once more at extents that others which stay hold too.
  absl::Status LookBack() {
    RETURN_IF_ERROR(CarryOut());
    looks_back_ = true;
    const absl::flat_hash_set<uint64_t> keep = OrderCovered();
    for (const Covered& part : covered_) {
      RETURN_IF_ERROR(stop_.Check());
      pace_.Wait(0, stop_);
      if (keep.contains(part.extent)) PreferPart(part.extent, part.block, part.blocks);
    }
    std::vector<Covered> all = covered_;
    std::vector<Covered> left;
    absl::flat_hash_set<uint64_t> planned;
    while (!all.empty()) {
      // What others share with in this batch is for the next one, and what is better kept for after that.
      std::vector<Covered> waiting;
      for (size_t first = 0; first < all.size();) {
        RETURN_IF_ERROR(stop_.Check());
        pace_.Wait(0, stop_);
        size_t last = first;
        while (last < all.size() && all[last].extent == all[first].extent) ++last;
        const auto parts = absl::MakeConstSpan(all).subspan(first, last - first);
        first = last;
        const uint64_t extent = parts.front().extent;
        if (planned.contains(extent)) continue;
        const bool goers_wait = !waiting.empty() && !keep.contains(waiting.front().extent);
        if (planner_.IsSource(extent) || (keep.contains(extent) && goers_wait)) {
          waiting.insert(waiting.end(), parts.begin(), parts.end());
          continue;
        }
        ASSIGN_OR_RETURN(const bool is_planned, PlanAgain(parts));
        if (is_planned) {
          planned.insert(extent);
        } else {
          left.insert(left.end(), parts.begin(), parts.end());
        }
        RETURN_IF_ERROR(CarryOutOld());
      }
      RETURN_IF_ERROR(CarryOut());
      all = std::move(waiting);
    }
    for (const Covered& part : left) {
      if (part.left != nullptr && !planned.contains(part.by)) CountLeft(part.left, part.blocks);
    }
    covered_.clear();
    overlapping_.clear();
    looks_back_ = false;
    return absl::OkStatus();
  }

  // By extent: first those that are better given up, the longest before others; of those that hold the same,
  // those that stay come last, and so are preferred. Returns those that are better kept.
  absl::flat_hash_set<uint64_t> OrderCovered() {
    absl::flat_hash_set<uint64_t> keep =
        ExtentsToKeep({covered_.begin(), covered_.end()}, request_.min_freed_per_moved);
    const auto key = [&keep](const Covered& part) {
      return std::make_tuple(keep.contains(part.extent), UINT64_MAX - part.extent_blocks, part.extent,
                             keep.contains(part.by), part.block);
    };
    std::stable_sort(covered_.begin(), covered_.end(),
                     [&key](const Covered& a, const Covered& b) { return key(a) < key(b); });
    return keep;
  }

  // Of one extent. If it is not planned, the others are no sources for it any more.
  absl::StatusOr<bool> PlanAgain(absl::Span<const Covered> covered) {
    const uint64_t address = covered.front().extent;
    ASSIGN_OR_RETURN(const absl::optional<StorageExtent> extent, ExtentAt(map_, address));
    if (!extent) return false;
    const uint64_t blocks = extent->length / block_;
    ASSIGN_OR_RETURN(const std::vector<uint64_t> checksums, map_.Checksums(address, blocks));
    ASSIGN_OR_RETURN(std::vector<BlockRun> runs, RunsOf(*extent, checksums));
    uint64_t found = 0;
    for (const BlockRun& run : runs) found += run.blocks;
    uint64_t most = found;
    for (const Covered& part : covered) most += part.blocks;
    // Its files are asked for only where it may be worth it.
    if (most * 2 < blocks) return false;
    if (found < blocks) {
      for (const Covered& part : covered) PreferPart(part.by, part.by_block, part.blocks);
      ASSIGN_OR_RETURN(runs, RunsOf(*extent, checksums));
    }
    if (!runs.empty()) {
      const ExtentUse use = LookUp(*extent);
      // All of these would have to share anew, for the little that a short one gives up: zeros mostly.
      const bool too_many = extent->length < kLeastLookedBackFor && use.references.size() > kMaxPlacesOfShort;
      if (!too_many) {
        ASSIGN_OR_RETURN(const ExtentVerdict verdict, Judge(use, checksums, runs));
        if (verdict == ExtentVerdict::kPlanned) return true;
      }
    }
    for (const Covered& part : covered) {
      finder_.Prefer(address, checksums, part.block, part.block + part.blocks);
    }
    return false;
  }

  void PreferPart(uint64_t address, uint64_t block, uint64_t blocks) {
    if (given_up_.contains(address)) return;
    const std::vector<uint64_t>* const checksums = Known(address);
    if (checksums != nullptr) finder_.Prefer(address, *checksums, block, block + blocks);
  }

  bool MaySplit(const ExtentPlan& plan) {
    return fragments_.Take(plan, [this](const FileKey& file) {
      return map_.ExtentsOf(file, request_.max_extents_per_file).value_or(UINT64_MAX);
    });
  }

  // No checksums: nodatasum, or reserved and not written yet.
  void Unchecked(const StorageExtent& extent) {
    const auto open = open_.find(extent.address);
    if (open != open_.end()) open->second = OpenExtent::kUnchecked;
    const absl::StatusOr<std::vector<Reference>> references = ReferencesOf(extent);
    if (!references.ok()) return;
    const bool reserved = std::all_of(references->begin(), references->end(),
                                      [](const Reference& reference) { return reference.unwritten; });
    if (reserved && open != open_.end()) open->second = OpenExtent::kReserved;
    for (const Reference& reference : *references) {
      if (reference.unwritten) continue;
      if (!Locate(reference.file).ok()) continue;
      unchecked_.emplace(HashOf({reference.file.subvolume, reference.file.inode, seed_}), reference.file);
      if (unchecked_.size() <= limits_.unchecked) continue;
      unchecked_.erase(std::prev(unchecked_.end()));
      ++unchecked_left_;
    }
  }

  absl::Status Tell(const ExtentPlan& plan) {
    for (const Segment& segment : plan.segments) {
      if (segment.move) continue;
      const auto r =
          std::find_if(plan.references.begin(), plan.references.end(),
                       [&](const Reference& reference) { return HasByte(reference, segment.offset); });
      if (r == plan.references.end()) continue;
      absl::StatusOr<std::string> source = files_.Path(segment.source.file);
      absl::StatusOr<std::string> destination = files_.Path(r->file);
      if (!source.ok() || !destination.ok()) continue;
      Duplicate duplicate;
      duplicate.source_path = *std::move(source);
      duplicate.source_offset = segment.source.offset;
      duplicate.destination_path = *std::move(destination);
      duplicate.destination_offset = r->offset + (segment.offset - r->extent_offset);
      duplicate.length = segment.length;
      duplicate.freeable = FreeableOf(plan, segment);
      totals_.Update([&](Totals& t) {
        ++t.duplicate_ranges;
        t.duplicate_bytes += duplicate.length;
      });
      found_(duplicate);
    }
    return absl::OkStatus();
  }

  // Plans age: files change, and snapshots come.
  absl::Status CarryOutOld() {
    const bool old = std::chrono::steady_clock::now() - batch_begin_ > kMaxBatchAge;
    return old && !planner_.batch().empty() ? CarryOut() : absl::OkStatus();
  }

  bool BatchIsFull() const {
    return planner_.bytes() >= max_batch_bytes_ || planner_.places() >= limits_.batch_places ||
           planner_.moved_bytes() >= kMaxBatchMoved;
  }

  absl::Status CarryOut() {
    const Estimate estimate = EstimateOf(planner_.batch());
    totals_.Update([&](Totals& t) {
      t.bytes_freeable += estimate.freeable;
      t.bytes_moved += estimate.moved;
      t.bytes_read += estimate.read;
    });
    if (!request_.dry_run && !planner_.batch().empty()) {
      RETURN_IF_ERROR(reclaim_.Run(planner_.batch()));
      map_.Forget();
      files_.Forget();
      won_.MeasureNowAndThen();
      if (state_.kept()) RETURN_IF_ERROR(KeepStaying());
      for (const StorageExtent& moved : reclaim_.TakeMoved()) RETURN_IF_ERROR(Prefer(moved));
      earlier_.Clear();
      uses_.clear();
      known_references_ = 0;
    }
    planner_.NextBatch();
    return absl::OkStatus();
  }

  // What was moved may lie behind: later extents are to share with it.
  absl::Status Prefer(const StorageExtent& moved) {
    for (uint64_t from = moved.address; from < moved.address + moved.length;) {
      ASSIGN_OR_RETURN(const absl::optional<StorageExtent> extent, NextExtent(map_, from));
      if (!extent || extent->address >= moved.address + moved.length) break;
      ASSIGN_OR_RETURN(const std::vector<uint64_t> checksums,
                       map_.Checksums(extent->address, extent->length / block_));
      finder_.Prefer(extent->address, checksums);
      from = extent->address + extent->length;
    }
    return absl::OkStatus();
  }

  const ExtentUse* UseOf(uint64_t address) {
    const auto known = uses_.find(address);
    if (known != uses_.end()) return &known->second;
    if (!stop_.Check().ok()) return nullptr;
    const absl::StatusOr<const std::vector<uint64_t>*> earlier = Earlier(address);
    if (earlier.ok() && *earlier == nullptr) return nullptr;
    ExtentUse use{{address, 0}, {}, /*all=*/false, /*told=*/false};
    if (earlier.ok()) use = LookUp({address, (*earlier)->size() * block_});
    if (known_references_ >= limits_.references) {
      uses_.clear();
      known_references_ = 0;
    }
    known_references_ += use.references.size() + 1;
    return &uses_.emplace(address, std::move(use)).first->second;
  }

  absl::StatusOr<ScanFile> Locate(const FileKey& file) {
    ASSIGN_OR_RETURN(std::string path, map_.PathOf(file, wanted_));
    ASSIGN_OR_RETURN(const InodeFacts inode, map_.InodeOf(file));
    if (inode.size < request_.min_file_size) return absl::NotFoundError("smaller than the scan asks for");
    return ScanFile{std::move(path), inode.generation, inode.immutable, inode.size};
  }

  absl::StatusOr<std::vector<Reference>> ReferencesOf(const StorageExtent& extent) {
    absl::StatusOr<std::vector<Reference>> references = map_.References(extent);
    if (!references.ok()) {
      LogFew(LogLevel::kWarning, "cannot tell which files have an extent",
             {{"address", extent.address}, {"error", references.status()}});
    }
    return references;
  }

  uint32_t TailOf(const Reference& reference, uint64_t size) const {
    const uint64_t end = reference.offset + reference.length;
    return size < end && size + block_ > end ? static_cast<uint32_t>(size % block_) : 0;
  }

  // What cannot be told is taken as held outside.
  ExtentUse LookUp(const StorageExtent& extent) {
    ExtentUse use;
    use.extent = extent;
    const absl::StatusOr<std::vector<Reference>> references = ReferencesOf(extent);
    use.told = references.ok();
    if (!use.told) return use;
    use.all = true;
    for (const Reference& reference : *references) {
      if (!stop_.Check().ok()) return {extent, {}, /*all=*/false, /*told=*/false};
      const absl::StatusOr<ScanFile> file = files_.Find(reference.file);
      if (file.ok()) {
        use.references.push_back(reference);
        use.references.back().tail = TailOf(reference, file->size);
      }
      // An immutable file is a source, and gives up nothing.
      use.all &= file.ok() && !file->immutable;
    }
    return use;
  }

  StorageMap& map_;
  const ScanRequest& request_;
  const Stop& stop_;
  SharedTotals& totals_;
  const uint64_t in_use_;  // on the filesystem when the scan began
  bool looked_at_before_ = false;
  SpaceWon& won_;
  absl::FunctionRef<void(const Duplicate&)> found_;
  const uint32_t block_;
  const uint64_t max_batch_bytes_;
  const Limits limits_;
  EarlierExtents earlier_;
  RunFinder finder_;
  ExtentPlanner planner_;
  FragmentLimit fragments_;
  const std::function<bool(const std::string&)>& wanted_;
  ScanFiles files_;
  Pace& pace_;
  StorageState state_;
  StorageProgress progress_;
  bool anchors_loaded_ = true;
  bool looks_back_ = false;
  absl::btree_map<uint64_t, uint64_t> open_;  // addresses of OpenExtents, and their checksums
  uint64_t open_left_ = 0;                    // that there was no room for
  absl::btree_set<uint64_t> tried_again_;     // addresses
  std::vector<Covered> covered_;
  // Extents of covered_, and those that hold their parts: how many parts of them others hold.
  absl::flat_hash_map<uint64_t, uint32_t> overlapping_;
  // Planned by a dry run, and so still there. Once there are too many, it does not look back.
  absl::flat_hash_set<uint64_t> given_up_;
  Reclaim reclaim_;
  absl::flat_hash_map<uint64_t, ExtentUse> uses_;
  size_t known_references_ = 0;
  // By a hash that differs from scan to scan: if there are too many, each looks at others.
  const uint64_t seed_ = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  absl::btree_map<uint64_t, FileKey> unchecked_;
  uint64_t unchecked_left_ = 0;  // some are counted again
  std::chrono::steady_clock::time_point batch_begin_;
  uint64_t extents_ = 0;
};

}  // namespace

absl::StatusOr<UncheckedFiles> ScanStorage(ExtentOps& ops, FileTree& tree, StorageMap& map,
                                           const ScanRequest& request,
                                           const std::function<bool(const std::string&)>& wanted,
                                           size_t index_budget, ScanStateFile* state, Pace& pace,
                                           const Stop& stop, SharedTotals& totals, SpaceWon& won,
                                           absl::FunctionRef<void(const Duplicate&)> found) {
  return StorageScan(ops, tree, map, request, wanted, index_budget, state, pace, stop, totals, won, found)
      .ScanAll();
}

}  // namespace cowherd
