#ifndef COWHERD_SERVER_SCAN_READING_STATE_H_
#define COWHERD_SERVER_SCAN_READING_STATE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/fs/file_tree.h"
#include "server/scan/anchor_table.h"
#include "server/scan/file_table.h"
#include "server/scan/kept_index.h"
#include "server/scan/scan_state.h"
#include "server/scan/seen_files.h"

namespace cowherd {

// What a scan by reading keeps for the next, if there is a state file: which files it has looked at, and the
// index of their blocks, with which new files are compared. One thread.
class ReadingState {
 public:
  // `file` may be null. `budget`: bytes for the files looked at and for the table; the former take half of it
  // at most, and the latter has the rest. `device`: the number that the root's has now.
  ReadingState(ScanStateFile* file, std::chrono::milliseconds checkpoint_interval, size_t budget,
               uint32_t block_size, uint64_t device, AnchorTable& anchors, FileTable& table);

  bool kept() const { return kept_.kept(); }

  // Takes what was saved, but for the index; what is not to be trusted is discarded, and so is an index that
  // has come to hold twice as much as there is: what is gone takes the place of what is there.
  void Load();

  // Otherwise Met knows none.
  bool knows_files() const { return seen_.last() > 0; }
  // Whether an earlier scan has looked at this file, as it is.
  bool Met(absl::string_view path, const FileFacts& facts);

  // Before a file is read that was not met: loads the index, and forgets there what the file held.
  void BeforeReading(const FileFacts& facts);

  // This scan has looked at it, and shared what it has to share.
  void Done(absl::string_view path, const FileFacts& facts);

  bool CheckpointDue(KeptIndex::Time now) const { return kept_.CheckpointDue(now); }
  // There is something to save.
  bool news() const { return kept() && seen_.added() > 0; }
  // `complete`: files that were not met are gone.
  void Save(bool complete);

 private:
  // Files that were met or read, and their bytes in whole blocks: no less than a new index of them holds.
  struct Amount {
    uint64_t files = 0;
    uint64_t bytes = 0;
  };

  // Why the index is not to be gone on with; empty: it is. `head`: what Save wrote.
  absl::StatusOr<std::string> ReasonToBeginAnew(absl::string_view head);
  void Count(const FileFacts& facts);
  void LoadIndex();
  void HoldBudget();

  KeptIndex kept_;
  const size_t budget_;
  SeenFiles seen_;
  const uint32_t block_size_;
  const uint64_t device_;
  Amount last_;  // of the last complete scan, or of those since that got further
  Amount now_;   // of this scan
  AnchorTable& anchors_;
  FileTable& table_;
  bool index_kept_ = false;  // and not loaded yet
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_READING_STATE_H_
