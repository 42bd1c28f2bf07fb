#include "server/scan/reading_state.h"

#include <utility>

#include "absl/types/optional.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {

ReadingState::ReadingState(ScanStateFile* file, std::chrono::milliseconds checkpoint_interval, size_t budget,
                           uint64_t device, AnchorTable& anchors, FileTable& table)
    : kept_(file, checkpoint_interval), seen_(budget), device_(device), anchors_(anchors), table_(table) {}

void ReadingState::Load() {
  absl::optional<std::string> head = kept_.LoadHead();
  // The body too: files are passed over from now on, which is right only if the index has their blocks.
  if (!head || !kept_.CheckBody()) return;
  StateReader reader(*std::move(head));
  absl::Status status = seen_.Load(reader);
  if (status.ok() && !reader.at_end()) status = absl::DataLossError("more than files");
  if (status.ok()) {
    index_kept_ = true;
  } else {
    kept_.Distrust(status);
    seen_.Clear();
  }
}

bool ReadingState::Met(absl::string_view path, const FileFacts& facts) {
  return kept() && seen_.Meet(SeenFiles::HashOf(path, facts));
}

void ReadingState::BeforeReading(const FileFacts& facts) {
  if (std::exchange(index_kept_, false)) {
    const bool loaded = kept_.LoadBody([this](StateReader& reader) -> absl::Status {
      ASSIGN_OR_RETURN(const uint64_t then, reader.TakeNumber());
      RETURN_IF_ERROR(table_.Load(reader, then, device_));
      return LoadAnchors(anchors_, reader);
    });
    if (!loaded) {
      // It was whole a moment ago: somebody writes there. Files without their blocks in the index are not to
      // be passed over: the rest of this scan, and the next, look at all.
      seen_.Clear();
      anchors_.Clear();
      table_.Clear();
    }
  }
  table_.Forget({facts.device, facts.inode});
}

void ReadingState::Save(bool complete) {
  if (!kept()) return;
  if (seen_.left_out() > 0) {
    Log(LogLevel::kWarning, "there is no room to remember some files, which the next scan reads again",
        {{"files", uint64_t{seen_.left_out()}}});
  }
  StateWriter head(-1);
  seen_.Save(!complete, head);
  kept_.Save(head.text(), [this](StateWriter& body) {
    body.AddNumber(device_);
    table_.Save(body);
    SaveAnchors(anchors_, body);
  });
}

}  // namespace cowherd
