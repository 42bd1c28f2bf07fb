#include "client/progress.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/format.h"

namespace cowherd {
namespace {

constexpr absl::Duration kWindow = absl::Seconds(10);
constexpr absl::Duration kRateAfter = absl::Seconds(1);
constexpr absl::Duration kTimeLeftAfter = absl::Seconds(3);

}  // namespace

void Progress::Update(absl::Time now, uint64_t done, uint64_t total) {
  if (!samples_.empty() && (now < samples_.back().at || done < samples_.back().done)) samples_.clear();
  samples_.push_back({now, done, total});
  // The oldest one kept is the last that is a whole window old.
  while (samples_.size() > 2 && now - samples_[1].at >= kWindow) samples_.pop_front();
}

absl::optional<double> Progress::Rate() const {
  if (samples_.empty()) return absl::nullopt;
  const absl::Duration seen = samples_.back().at - samples_.front().at;
  if (seen < kRateAfter) return absl::nullopt;
  return static_cast<double>(samples_.back().done - samples_.front().done) / absl::ToDoubleSeconds(seen);
}

bool Progress::TotalIsSteady() const {
  return !samples_.empty() && samples_.back().total != 0 && samples_.back().total == samples_.front().total &&
         samples_.back().done <= samples_.back().total;
}

absl::optional<absl::Duration> Progress::TimeLeft() const {
  const absl::optional<double> rate = Rate();
  if (!rate || *rate <= 0 || !TotalIsSteady()) return absl::nullopt;
  if (samples_.back().at - samples_.front().at < kTimeLeftAfter) return absl::nullopt;
  return absl::Seconds(static_cast<double>(samples_.back().total - samples_.back().done) / *rate);
}

std::string Progress::Line() const {
  if (samples_.empty()) return "";
  const Sample& last = samples_.back();
  std::string line;
  if (Rate() && TotalIsSteady()) {
    const double share = static_cast<double>(last.done) / static_cast<double>(last.total);
    absl::StrAppendFormat(&line, "%3d%%  ", static_cast<int>(100 * share));
  }
  absl::StrAppend(&line, FormatSize(last.done));
  if (last.total != 0) absl::StrAppend(&line, " of ", FormatSize(last.total));
  if (const absl::optional<double> rate = Rate()) {
    absl::StrAppend(&line, "  ", FormatSize(static_cast<uint64_t>(*rate)), "/s");
  }
  if (const absl::optional<absl::Duration> left = TimeLeft()) {
    absl::StrAppend(&line, "  ", FormatSpan(*left), " left");
  }
  return line;
}

void ProgressLine::Show(absl::string_view text) {
  if (!shown_) return;
  // The last column stays free: a full line would wrap.
  out_ << '\r' << text.substr(0, std::max<size_t>(columns_, 1) - 1) << "\x1b[K" << std::flush;
  dirty_ = true;
}

void ProgressLine::Clear() {
  if (!dirty_) return;
  out_ << "\r\x1b[K" << std::flush;
  dirty_ = false;
}

}  // namespace cowherd
