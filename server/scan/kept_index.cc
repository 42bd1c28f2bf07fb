#include "server/scan/kept_index.h"

#include <algorithm>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {

absl::optional<std::string> KeptIndex::LoadHead() {
  if (!kept()) return absl::nullopt;
  absl::StatusOr<std::string> head = file_->ReadHead();
  if (head.ok()) return *std::move(head);
  if (!absl::IsNotFound(head.status())) Distrust(head.status());
  return absl::nullopt;
}

bool KeptIndex::CheckBody() {
  const absl::Status status = file_->CheckBody();
  if (!status.ok()) Distrust(status);
  return status.ok();
}

bool KeptIndex::LoadBody(absl::FunctionRef<absl::Status(StateReader&)> take) {
  const absl::Status status = file_->ReadBody(take);
  if (!status.ok()) Distrust(status);
  return status.ok();
}

void KeptIndex::Distrust(const absl::Status& reason) {
  Log(LogLevel::kWarning, "the state of the last scan is discarded, all is looked at", {{"reason", reason}});
  file_->Discard();
}

void KeptIndex::BeginAnew(absl::string_view reason) {
  Log(LogLevel::kInfo, "the index of earlier scans is not used, all is looked at", {{"reason", reason}});
  file_->Discard();
}

void KeptIndex::Save(absl::string_view head, absl::FunctionRef<void(StateWriter&)> write_body) {
  if (!kept()) return;
  const Time begin = std::chrono::steady_clock::now();
  const absl::Status status = file_->Save(head, write_body);
  if (!status.ok()) Log(LogLevel::kWarning, "cannot keep the state of a scan", {{"error", status}});
  const Time end = std::chrono::steady_clock::now();
  next_save_ = end + std::max<Time::duration>(interval_, (end - begin) * kSavingPart);
}

void SaveAnchors(const AnchorTable& anchors, StateWriter& writer) {
  writer.AddNumber(static_cast<uint64_t>(anchors.sampling()));
  writer.AddNumber(anchors.entries());
  anchors.ForEach([&](uint64_t key, uint64_t value) {
    const uint64_t entry[] = {key, value};
    writer.Add(entry, sizeof(entry));
  });
}

absl::Status LoadAnchors(AnchorTable& anchors, StateReader& reader) {
  ASSIGN_OR_RETURN(const uint64_t sampling, reader.TakeNumber());
  ASSIGN_OR_RETURN(const uint64_t entries, reader.TakeNumber());
  anchors.Prepare(entries, static_cast<int>(std::min<uint64_t>(sampling, 64)));
  for (uint64_t i = 0; i < entries; ++i) {
    uint64_t entry[2] = {};
    RETURN_IF_ERROR(reader.Take(entry, sizeof(entry)));
    if (entry[0] == 0) return absl::DataLossError("an anchor without a key");
    anchors.Put(entry[0], entry[1]);
  }
  return absl::OkStatus();
}

}  // namespace cowherd
