#include "server/scan/reading_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/scan/run_finder.h"

namespace cowherd {

ReadingState::ReadingState(ScanStateFile* file, std::chrono::milliseconds checkpoint_interval, size_t budget,
                           uint32_t block_size, uint64_t device, AnchorTable& anchors, FileTable& table)
    : kept_(file, checkpoint_interval),
      budget_(budget),
      seen_(budget / 2),
      block_size_(block_size),
      device_(device),
      anchors_(anchors),
      table_(table) {}

void ReadingState::Load() {
  const absl::optional<std::string> head = kept_.LoadHead();
  // The body too: files are passed over from now on, which is right only if the index has their blocks.
  if (!head || !kept_.CheckBody()) return;
  const absl::StatusOr<std::string> reason = ReasonToBeginAnew(*head);
  if (!reason.ok()) return kept_.Distrust(reason.status());
  if (!reason->empty()) return kept_.BeginAnew(*reason);
  index_kept_ = kept_.LoadBody([this](StateReader& reader) {
    absl::Status status = seen_.Load(reader);
    reader.SkipRest();
    return status;
  });
  if (!index_kept_) seen_.Clear();
  HoldBudget();
}

absl::StatusOr<std::string> ReadingState::ReasonToBeginAnew(absl::string_view head) {
  StateReader reader{std::string(head)};
  uint64_t row_end = 0;
  uint64_t indexed_bytes = 0;
  uint64_t indexed_files = 0;
  for (uint64_t* number : {&row_end, &indexed_bytes, &indexed_files, &last_.bytes, &last_.files}) {
    ASSIGN_OR_RETURN(*number, reader.TakeNumber());
  }
  if (!reader.at_end()) return absl::DataLossError("more than a head");
  if (row_end > kMaxAddress / 2) {
    return absl::StrCat("the sizes of all files it ever held add up to ", row_end, " bytes");
  }
  if (indexed_bytes > 2 * last_.bytes) {
    return absl::StrCat("it has held ", indexed_bytes, " bytes so far, and there are ", last_.bytes);
  }
  if (indexed_files > 2 * last_.files) {
    return absl::StrCat("it has held ", indexed_files, " files so far, and there are ", last_.files);
  }
  return std::string();
}

void ReadingState::Count(const FileFacts& facts) {
  ++now_.files;
  now_.bytes += table_.BlocksOf(facts.size) * block_size_;
}

bool ReadingState::Met(absl::string_view path, const FileFacts& facts) {
  if (!kept() || !seen_.Meet(SeenFiles::HashOf(path, facts))) return false;
  Count(facts);
  return true;
}

void ReadingState::BeforeReading(const FileFacts& facts) {
  LoadIndex();
  Count(facts);
  table_.Forget({facts.device, facts.inode});
}

void ReadingState::LoadIndex() {
  if (!std::exchange(index_kept_, false)) return;
  const bool loaded = kept_.LoadBody([this](StateReader& reader) -> absl::Status {
    RETURN_IF_ERROR(SeenFiles::Skip(reader));
    ASSIGN_OR_RETURN(const uint64_t then, reader.TakeNumber());
    RETURN_IF_ERROR(table_.Load(reader, then, device_));
    return LoadAnchors(anchors_, reader);
  });
  if (loaded) return;
  // It was whole a moment ago: somebody writes there. Files without their blocks in the index are not to be
  // passed over: the rest of this scan, and the next, look at all.
  seen_.Clear();
  anchors_.Clear();
  table_.Clear();
}

void ReadingState::Done(absl::string_view path, const FileFacts& facts) {
  if (!kept()) return;
  seen_.Add(SeenFiles::HashOf(path, facts));
  HoldBudget();
}

void ReadingState::HoldBudget() { table_.SetBudget(budget_ - std::min(budget_, seen_.bytes())); }

void ReadingState::Save(bool complete) {
  if (!kept()) return;
  // Also if nothing was read since, but only small files were met.
  LoadIndex();
  if (seen_.left_out() > 0) {
    Log(LogLevel::kWarning, "there is no room to remember some files, which the next scan reads again",
        {{"files", uint64_t{seen_.left_out()}}});
  }
  const Amount there =
      complete ? now_ : Amount{std::max(last_.files, now_.files), std::max(last_.bytes, now_.bytes)};
  StateWriter head(-1);
  for (uint64_t number :
       {table_.end(), anchors_.keys_seen() * block_size_, table_.files_seen(), there.bytes, there.files}) {
    head.AddNumber(number);
  }
  kept_.Save(head.text(), [&](StateWriter& body) {
    seen_.Save(!complete, body);
    body.AddNumber(device_);
    table_.Save(body);
    SaveAnchors(anchors_, body);
  });
}

}  // namespace cowherd
