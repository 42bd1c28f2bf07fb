#include "server/scan/storage_progress.h"

#include <algorithm>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kMaxOpenExtents = 1 << 20;

}  // namespace

std::string EncodeProgress(const StorageProgress& progress) {
  StateWriter text(-1);
  for (uint64_t number : {progress.base, progress.target, progress.next, uint64_t{progress.open.size()}}) {
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
  for (uint64_t* number : {&progress.base, &progress.target, &progress.next, &open}) {
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

StorageProgress StorageState::Load(uint64_t generation) {
  if (!kept()) return {};
  absl::StatusOr<StorageProgress> progress = ReadProgress(generation);
  if (progress.ok()) return *std::move(progress);
  if (!absl::IsNotFound(progress.status())) Distrust(progress.status());
  return {};
}

absl::StatusOr<StorageProgress> StorageState::ReadProgress(uint64_t generation) {
  ASSIGN_OR_RETURN(const std::string head, file_->ReadHead());
  ASSIGN_OR_RETURN(StorageProgress progress, DecodeProgress(head));
  if (progress.target > generation) return absl::DataLossError("of a later time than its filesystem");
  return progress;
}

void StorageState::Distrust(const absl::Status& reason) {
  Log(LogLevel::kWarning, "the state of the last scan is discarded, all is looked at", {{"reason", reason}});
  file_->Discard();
}

bool StorageState::LoadAnchors() {
  const absl::Status status = file_->ReadBody([this](StateReader& reader) { return TakeAnchors(reader); });
  if (status.ok()) return true;
  Distrust(status);
  anchors_.Clear();
  return false;
}

absl::Status StorageState::TakeAnchors(StateReader& reader) {
  ASSIGN_OR_RETURN(const uint64_t sampling, reader.TakeNumber());
  ASSIGN_OR_RETURN(const uint64_t entries, reader.TakeNumber());
  anchors_.Prepare(entries, static_cast<int>(std::min<uint64_t>(sampling, 64)));
  for (uint64_t i = 0; i < entries; ++i) {
    ASSIGN_OR_RETURN(const uint64_t key, reader.TakeNumber());
    ASSIGN_OR_RETURN(const uint64_t value, reader.TakeNumber());
    if (key == 0) return absl::DataLossError("an anchor without a key");
    anchors_.Put(key, value);
  }
  return absl::OkStatus();
}

void StorageState::Save(const StorageProgress& progress) {
  if (!kept()) return;
  const Time begin = std::chrono::steady_clock::now();
  const absl::Status status = file_->Save(EncodeProgress(progress), [this](StateWriter& body) {
    body.AddNumber(static_cast<uint64_t>(anchors_.sampling()));
    body.AddNumber(anchors_.entries());
    anchors_.ForEach([&](uint64_t key, uint64_t value) {
      body.AddNumber(key);
      body.AddNumber(value);
    });
  });
  if (!status.ok()) Log(LogLevel::kWarning, "cannot keep the state of a scan", {{"error", status}});
  const Time end = std::chrono::steady_clock::now();
  next_save_ = end + std::max<Time::duration>(checkpoint_interval_, (end - begin) * kSavingPart);
}

}  // namespace cowherd
