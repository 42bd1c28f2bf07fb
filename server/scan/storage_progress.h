#ifndef COWHERD_SERVER_SCAN_STORAGE_PROGRESS_H_
#define COWHERD_SERVER_SCAN_STORAGE_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/scan/anchor_table.h"
#include "server/scan/kept_index.h"
#include "server/scan/scan_state.h"

namespace cowherd {

// An extent to be looked at again, though it is old.
struct OpenExtent {
  // As its checksums.
  static constexpr uint64_t kStayed = 0;     // it was to go free, and did not
  static constexpr uint64_t kReserved = 1;   // it has none: no file has written to it yet
  static constexpr uint64_t kUnchecked = 2;  // it has none: files without checksums use it

  uint64_t address = 0;
  uint64_t checksums = 0;  // one of these, or a hash of them as they were
  friend bool operator==(const OpenExtent& a, const OpenExtent& b) {
    return a.address == b.address && a.checksums == b.checksums;
  }
};

// More are no progress.
constexpr uint64_t kMaxOpenExtents = 1 << 20;

// How far a scan of a filesystem's storage has come, in its generations: extents up to `base` were looked at,
// and those up to `target` where they lie below address `next`. All 0: nothing was.
struct StorageProgress {
  uint64_t base = 0;
  uint64_t target = 0;
  uint64_t next = 0;
  uint64_t indexed = 0;          // bytes that the anchors are of, with what is gone, if not all are kept
  std::vector<OpenExtent> open;  // ascending
};

// Pure. DATA_LOSS: it is none.
std::string EncodeProgress(const StorageProgress& progress);
absl::StatusOr<StorageProgress> DecodeProgress(absl::string_view text);

// Keeps a scan's progress and anchors in a state file, if there is one. One thread.
class StorageState {
 public:
  // `file` may be null. Both must outlive this.
  StorageState(ScanStateFile* file, AnchorTable& anchors, std::chrono::milliseconds checkpoint_interval)
      : kept_(file, checkpoint_interval), anchors_(anchors) {}

  bool kept() const { return kept_.kept(); }

  // What is not to be trusted, or is of a generation that the filesystem has yet to come to, is discarded; so
  // is what has come to hold twice as much as is in use: anchors of what is gone take the place of others.
  // The anchors are not loaded yet.
  StorageProgress Load(uint64_t generation, uint64_t in_use);
  // False: they are not to be trusted, nor is the progress. The state is discarded, the anchors are empty.
  bool LoadAnchors();

  bool CheckpointDue(KeptIndex::Time now) const { return kept_.CheckpointDue(now); }
  void Save(const StorageProgress& progress);
  // Takes away what was saved.
  void Discard() { kept_.Discard(); }

 private:
  KeptIndex kept_;
  AnchorTable& anchors_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_STORAGE_PROGRESS_H_
