#ifndef COWHERD_SERVER_SCAN_KEPT_INDEX_H_
#define COWHERD_SERVER_SCAN_KEPT_INDEX_H_

#include <chrono>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "server/scan/anchor_table.h"
#include "server/scan/scan_state.h"

namespace cowherd {

// Keeps what a scan remembers in a state file, if there is one, and says when it is time to. Failures are
// logged: a scan needs no state. One thread.
class KeptIndex {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `file` may be null, and must outlive this.
  KeptIndex(ScanStateFile* file, std::chrono::milliseconds checkpoint_interval)
      : file_(file), interval_(checkpoint_interval) {}

  bool kept() const { return file_ != nullptr; }

  // The head. None: there is no state, or it was not to be trusted and is discarded.
  absl::optional<std::string> LoadHead();
  // False: the body is not to be trusted, nor is the head. The state is discarded.
  bool CheckBody();
  bool LoadBody(absl::FunctionRef<absl::Status(StateReader&)> take);
  void Distrust(const absl::Status& reason);
  // The state is sound, and not to be gone on with.
  void BeginAnew(absl::string_view reason);
  // Takes away what was saved.
  void Discard() {
    if (kept()) file_->Discard();
  }

  // The interval after the last, or later if saving takes long.
  bool CheckpointDue(Time now) const { return kept() && now >= next_save_; }
  void Save(absl::string_view head, absl::FunctionRef<void(StateWriter&)> write_body);

 private:
  // Saving takes this part of the time at most.
  static constexpr int kSavingPart = 20;

  ScanStateFile* const file_;
  const std::chrono::milliseconds interval_;
  Time next_save_ = std::chrono::steady_clock::now() + interval_;
};

void SaveAnchors(const AnchorTable& anchors, StateWriter& writer);
// Into an empty table. DATA_LOSS: they are none.
absl::Status LoadAnchors(AnchorTable& anchors, StateReader& reader);

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_KEPT_INDEX_H_
