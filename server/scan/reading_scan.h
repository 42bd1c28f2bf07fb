#ifndef COWHERD_SERVER_SCAN_READING_SCAN_H_
#define COWHERD_SERVER_SCAN_READING_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/dedupe/sharing.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/scan/batch_sharer.h"
#include "server/scan/cached_ranges.h"
#include "server/scan/file_table.h"
#include "server/scan/origin_map.h"
#include "server/scan/pace.h"
#include "server/scan/reading_state.h"
#include "server/scan/recent_fingerprints.h"
#include "server/scan/row_finder.h"
#include "server/scan/run_finder.h"
#include "server/scan/scan_types.h"
#include "server/scan/section_reader.h"
#include "server/scan/seen_links.h"
#include "server/scan/share.h"
#include "server/scan/space_won.h"
#include "server/scan/storage_set.h"
#include "server/scan/walk.h"

namespace cowherd {

// What a scan by reading may use.
struct ReadingLimits {
  size_t memory = 0;        // bytes for what it remembers
  uint64_t page_cache = 0;  // bytes that it brings in and keeps until they are shared
};

// The scan of files that have no checksums: reads each once, in the order of inode numbers, and finds runs of
// blocks that were read before. Sharing goes on in the background in batches, while both sides are still in
// the page cache where the limit allows it; what was not there before is taken out again. A MiB, or a range
// that is shared, of which only a part was there goes or stays as a whole. Storage that several places share
// already is read once; if it turns out to be a duplicate, each of its places is, since all have to give it
// up. Memory is bounded by the limits, and some MiB a worker; beyond a 64th of it for files with several
// names, such a file is read, and its duplicates may be counted, once for each name. One thread.
//
// What the kernel says of a batch is heeded from the next but one on: where a source was changed, or is not
// to be shared with (an active swap file), the next that is equal takes its place.
//
// With a state, a file that an earlier scan has looked at is passed over as long as its path, inode number,
// size and times stay; new ones are compared with the blocks it had. What could not be shared for want of
// room or memory, for an error of the disk or a change, is looked at again. Such a scan misses what only a
// full one would find: what could not be shared for what its file is, and new data whose only equal lies in a
// file that was itself a duplicate of one that is changed or gone by now. A stop loses what was read for the
// batch in hand, or, if it comes while an earlier file is read again, as much as kill -9: what was since the
// last checkpoint. A file counts as looked at when all of it is.
class ReadingScan {
 public:
  // `block_size`: what is compared as one. `stored_block`: what the filesystem gives to files, and gets back;
  // not more. `state` may be null; a file that it says was looked at is passed over.
  ReadingScan(ExtentOps& ops, FileTree& tree, const ScanRequest& request, uint32_t block_size,
              uint32_t stored_block, const ReadingLimits& limits, ScanStateFile* state, Pace& pace,
              const Stop& stop, SharedTotals& totals, SpaceWon& won,
              absl::FunctionRef<void(const Duplicate&)> found);

  // Collects files, some ten thousand at a time, before they are read. Files that cannot be read are counted
  // and logged. An error: `stop`'s.
  absl::Status Add(NamedFile file);

  // Reads what was added, and shares what is left to share. `complete`: all files of the scan were added.
  absl::Status Finish(bool complete);

 private:
  // A duplicate run, or a part of one: within one section on both sides.
  struct Run {
    std::string source_path;
    FileKey source_key;
    uint64_t source_address = 0;  // of the file
    uint64_t source_offset = 0;
    std::shared_ptr<ScannedFile> file;
    uint64_t offset = 0;
    uint64_t length = 0;
    std::vector<FileExtent> extents;  // of this place
  };

  // What a range of a file lies in.
  struct Place {
    uint64_t extents = 0;
    bool splits_first = false;  // which begins before it
    bool splits_last = false;
  };

  // A file that was looked at.
  struct LookedAt {
    std::string path;
    FileFacts facts;
    bool again = false;  // as ScannedFile
  };

  absl::Status ReadCollected();
  // An earlier scan has looked at that file.
  void Unchanged(const FileFacts& facts);
  // So much more is to be read.
  void Found(uint64_t bytes);
  // Compares and shares all that was read.
  absl::Status Drain();
  absl::Status Checkpoint();
  // All batches but the one begun last are done.
  void BatchBegun();
  // What failed as a source is none any more until it is read again; what may share another time is not done.
  void Heed(absl::Span<const FailedShare> failed);
  // What has nothing to share is done when it is compared.
  bool IsCompared(const std::shared_ptr<ScannedFile>& file) const;
  absl::Status LookAt(const NamedFile& named);
  // Whether the kernel swaps to it, and so shares nothing of it.
  bool IsSwap(const OpenFile& file);
  // Reads a part of the file, and tells where the next one begins. Holes are passed over at once: a file may
  // be some EiB of them.
  absl::StatusOr<uint64_t> ReadWindow(const std::shared_ptr<ScannedFile>& file, uint64_t offset);
  absl::Status ReadSection(std::unique_ptr<Section> section);
  // Has the range read at the scan's pace, unless it is cached; then it is not for this scan to take out
  // again. Ends early on a stop.
  void BringIn(const std::shared_ptr<const OpenFile>& file, uint64_t offset, uint64_t length);
  absl::Status Compare(std::unique_ptr<Section> section);
  absl::Status ReadSkipped(Section& section);
  absl::optional<absl::Span<const uint64_t>> EarlierFingerprints(uint64_t address);
  absl::Status ReadEarlier(uint64_t address);
  // None: its source is forgotten, or it is the same place under another name.
  absl::optional<Run> RunOf(const Section& section, const BlockRun& found) const;
  void Join(Run run);
  // The run in hand is at its end.
  void EndRun();
  // With sources that share with no other place themselves.
  std::vector<Run> WithOrigins(const Run& run) const;
  void Take(const Run& run);
  std::vector<Stretch> Unshared(const Run& run);
  absl::StatusOr<Place> PlaceIn(const ScannedFile& file, uint64_t offset, uint64_t length);
  // Whether the file keeps to its limit of extents if this stretch becomes those of its source; then it is
  // booked.
  bool FitsIntoFile(const Run& run, const Stretch& stretch);
  absl::StatusOr<uint64_t> SourceExtents(const Run& run, const Stretch& stretch);
  void ShareBatchWhenDue();
  void Failed(ScannedFile& file, const absl::Status& status);

  ExtentOps& ops_;
  FileTree& tree_;
  const ScanRequest& request_;
  const uint32_t block_size_;
  const uint32_t stored_block_;
  const uint64_t section_bytes_;
  const uint64_t page_cache_;
  const size_t max_open_;
  const Stop& stop_;
  SharedTotals& totals_;
  const Totals before_;
  uint64_t expected_;  // to be read, if that was known at first
  uint64_t found_bytes_ = 0;
  SpaceWon& won_;
  absl::FunctionRef<void(const Duplicate&)> found_;
  Pace& pace_;

  std::vector<NamedFile> collected_;
  size_t collected_bytes_ = 0;
  SeenLinks seen_links_;

  RowFinder rows_;
  RunFinder finder_;
  RecentFingerprints recent_;
  FileTable table_;
  ReadingState state_;
  std::shared_ptr<ScannedFile> in_hand_;                 // being read
  std::deque<std::shared_ptr<ScannedFile>> unfinished_;  // sections are on the way, or shares not in a batch
  std::vector<LookedAt> in_batch_;  // all their shares are in the batch begun last, or before
  OriginMap origins_;
  absl::flat_hash_set<FileKey> unfit_;        // files that share with no other
  StorageSet looked_at_;                      // shared storage
  StorageSet given_up_;                       // shared storage that was counted as such
  absl::flat_hash_map<uint64_t, int> asked_;  // sections that anchors of the one in hand lead to

  std::vector<Run> run_;  // adjacent parts
  uint64_t run_bytes_ = 0;

  CachedRanges cached_;
  uint64_t bytes_ahead_ = 0;
  size_t sections_ahead_ = 0;
  ShareBatch batch_;
  uint64_t batch_bytes_ = 0;  // read since the last batch began
  size_t batch_sections_ = 0;
  SectionReader reader_;
  BatchSharer sharer_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_READING_SCAN_H_
