#ifndef COWHERD_SERVER_SCAN_EXTENT_PLAN_H_
#define COWHERD_SERVER_SCAN_EXTENT_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/fs/storage_map.h"
#include "server/scan/run_finder.h"
#include "server/scan/storage_set.h"

namespace cowherd {

// Who refers to an extent, as far as the scan may touch them.
struct ExtentUse {
  StorageExtent extent;
  std::vector<Reference> references;  // those that can be opened and are within the scan; with their tails
  bool all = false;                   // there are no others, and all may share with another extent
  bool told = true;                   // false: it is not known who does
};

struct FilePosition {
  FileKey file;
  uint64_t offset = 0;
  friend bool operator==(const FilePosition& a, const FilePosition& b) {
    return a.file == b.file && a.offset == b.offset;
  }
};

struct StoragePosition {
  uint64_t extent = 0;  // address
  uint64_t offset = 0;  // in the extent, as files see it
};

// A part of an extent, and where its files are to find those bytes from now on.
struct Segment {
  uint64_t offset = 0;  // in the extent, as files see it
  uint64_t length = 0;
  bool move = false;  // unique: copied, so that the extent goes free. Else a duplicate of:
  FilePosition source;
  uint32_t pieces = 1;  // extents that it becomes, at most
  StoragePosition source_storage = {};
};

constexpr uint32_t kTailsDiffer = UINT32_MAX;

// How to free an extent: every byte of it that a file refers to is in one segment.
struct ExtentPlan {
  StorageExtent extent;
  std::vector<Reference> references;
  std::vector<Segment> segments;  // ascending
  // Blocks, by their offset in the extent, that files end within: how many bytes of them files have, or
  // kTailsDiffer. The kernel shares such a block only with one that ends its file too, after as many bytes
  // (fs/remap_range.c), though checksums are of whole blocks.
  std::map<uint64_t, uint32_t> tails;
  uint64_t duplicate_bytes = 0;
  uint64_t moved_bytes = 0;  // copies together: a block that files end within differently takes several
};

// What files refer to, by offsets in the extent.
StorageSet LiveOf(absl::Span<const Reference> references);

// Whether it has the byte at that offset in the extent.
bool HasByte(const Reference& reference, uint64_t offset);

// How many bytes a file that ends within the block before `end`, an offset in the extent, has of it. 0: all.
uint32_t TailBefore(const Reference& reference, uint64_t end);

// Where, in the extent, one call of the kernel cannot go on: references begin or end there, or files end
// differently within the block behind it. Ascending.
std::vector<uint64_t> CutsOf(const ExtentPlan& plan);

// A part of a segment that is cut nowhere. Offsets are in the extent.
struct PlanPart {
  size_t segment = 0;  // index
  uint64_t begin = 0;
  uint64_t end = 0;
};

// All of the plan's. Ascending.
std::vector<PlanPart> PartsOf(const ExtentPlan& plan);

// Those that the reference has: it has all of a part or nothing.
absl::Span<const PlanPart> PartsOf(absl::Span<const PlanPart> parts, const Reference& reference);

enum class ExtentVerdict {
  kUnique,  // nothing in it is a duplicate
  kPlanned,
  kOutside,  // no file of the scan refers to it
  // Files that may not be touched refer to it too, or more places than a plan takes: it would stay.
  kHeldOutside,
  // Too much would have to be moved for what goes free, or nothing can be shared, or a file keeps the extent
  // for what it has not written yet.
  kLittle,
  kFragments,  // a file would get too many extents
};

struct PlanOptions {
  uint32_t block_size = 4096;
  // Bytes given up for each byte that is moved, at least.
  uint64_t freed_per_moved = 4;
  // Shorter duplicates are moved along with what is unique, unless the whole extent is shorter.
  uint64_t min_length = 4096;
};

// Plans extents one after another, so that what an earlier plan of the same batch gives up is not taken as a
// source. Pure. One thread.
class ExtentPlanner {
 public:
  // Null: not known any more.
  using UseOf = absl::FunctionRef<const ExtentUse*(uint64_t address)>;

  // Whether the checksums of that extent are those of the one that is planned, all of them.
  using IsCopy = absl::FunctionRef<bool(uint64_t address)>;

  // Whether files may be split as that plan does; asked last.
  using MaySplit = absl::FunctionRef<bool(const ExtentPlan&)>;

  explicit ExtentPlanner(const PlanOptions& options) : options_(options) {}

  ExtentVerdict Plan(const ExtentUse& use, absl::Span<const BlockRun> runs, IsCopy is_copy, UseOf use_of,
                     MaySplit may_split);

  // A part of the extent planned last whose source no file refers to any more: storage outlives its last
  // reference while another part of its extent has one.
  struct Part {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t source_extent = 0;
    uint64_t source_begin = 0;
  };
  const std::vector<Part>& sourceless() const { return sourceless_; }

  const std::map<uint64_t, ExtentPlan>& batch() const { return batch_; }
  // Of the batch: bytes of its extents that files refer to, places that are to share, and bytes to be copied.
  uint64_t bytes() const { return bytes_; }
  size_t places() const { return places_; }
  uint64_t moved_bytes() const { return moved_bytes_; }
  // Whether a plan of the batch shares with that extent. It must not be planned before the next batch: those
  // who share with it are not told by its references yet.
  bool IsSource(uint64_t extent) const { return sources_.contains(extent); }
  void NextBatch();

 private:
  struct Piece {
    uint64_t length = 0;
    bool found = false;
    FilePosition position;
    uint32_t pieces = 1;
    StoragePosition storage = {};
    bool sourceless = false;  // not found, since no file has it
  };

  bool PlanEncoded(ExtentPlan& plan, absl::Span<const BlockRun> runs, IsCopy is_copy, UseOf use_of);
  bool ShareWhole(ExtentPlan& plan, uint64_t source_extent, UseOf use_of);
  void PlanPlain(ExtentPlan& plan, absl::Span<const BlockRun> runs, UseOf use_of);
  // Bytes of files that share with others in one way.
  struct Wanted {
    uint64_t length = 0;
    uint32_t tail = 0;  // as ExtentPlan's; 0: whole blocks
  };
  Wanted WantedAt(const ExtentPlan& plan, uint64_t offset, uint64_t most) const;
  // Where a file has such bytes of that extent, from `offset` on.
  Piece Locate(const ExtentPlan& current, uint64_t address, uint64_t offset, Wanted wanted,
               UseOf use_of) const;
  Piece LocateReference(uint64_t address, absl::Span<const Reference> references, bool encoded,
                        uint64_t offset, Wanted wanted) const;

  const PlanOptions options_;
  std::map<uint64_t, ExtentPlan> batch_;
  absl::flat_hash_set<uint64_t> sources_;  // addresses
  std::vector<Part> sourceless_;
  uint64_t bytes_ = 0;
  size_t places_ = 0;
  uint64_t moved_bytes_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_EXTENT_PLAN_H_
