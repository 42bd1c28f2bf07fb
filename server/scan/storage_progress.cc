#include "server/scan/storage_progress.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

std::string EncodeProgress(const StorageProgress& progress) {
  StateWriter text(-1);
  for (uint64_t number :
       {progress.base, progress.target, progress.next, progress.indexed, uint64_t{progress.open.size()}}) {
    text.AddNumber(number);
  }
  for (const OpenExtent& extent : progress.open) {
    text.AddNumber(extent.address);
    text.AddNumber(extent.checksums);
  }
  return text.text();
}

absl::StatusOr<StorageProgress> DecodeProgress(absl::string_view text) {
  StateReader reader{std::string(text)};
  StorageProgress progress;
  uint64_t open = 0;
  for (uint64_t* number : {&progress.base, &progress.target, &progress.next, &progress.indexed, &open}) {
    ASSIGN_OR_RETURN(*number, reader.TakeNumber());
  }
  if (progress.target < progress.base || open > kMaxOpenExtents) return absl::DataLossError("not a progress");
  progress.open.resize(open);
  for (OpenExtent& extent : progress.open) {
    ASSIGN_OR_RETURN(extent.address, reader.TakeNumber());
    ASSIGN_OR_RETURN(extent.checksums, reader.TakeNumber());
  }
  if (!reader.at_end()) return absl::DataLossError("more than a progress");
  return progress;
}

StorageProgress StorageState::Load(uint64_t generation, uint64_t in_use) {
  const absl::optional<std::string> head = kept_.LoadHead();
  if (!head) return {};
  absl::StatusOr<StorageProgress> progress = DecodeProgress(*head);
  if (progress.ok() && progress->target > generation) {
    progress = absl::DataLossError("of a later time than its filesystem");
  }
  if (!progress.ok()) {
    kept_.Distrust(progress.status());
    return {};
  }
  if (progress->indexed > 2 * in_use) {
    kept_.BeginAnew(
        absl::StrCat("it has held ", progress->indexed, " bytes so far, and ", in_use, " are in use"));
    return {};
  }
  return *std::move(progress);
}

bool StorageState::LoadAnchors() {
  const bool loaded = kept_.CheckBody() && kept_.LoadBody([this](StateReader& reader) {
    return cowherd::LoadAnchors(anchors_, reader);
  });
  if (!loaded) anchors_.Clear();
  return loaded;
}

void StorageState::Save(const StorageProgress& progress) {
  kept_.Save(EncodeProgress(progress), [this](StateWriter& body) { SaveAnchors(anchors_, body); });
}

}  // namespace cowherd
