#include "client/dedupe_split.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kDefaultComparison = uint64_t{16} << 20;
// A multiple of every block size: parts must start on a block.
constexpr uint64_t kBlocks = uint64_t{64} << 10;

// "destinations[1].offset" of a part, as the whole request counts destinations.
void RenumberField(const std::vector<size_t>& live, std::string* field) {
  absl::string_view rest = *field;
  if (!absl::ConsumePrefix(&rest, "destinations[")) return;
  const size_t end = rest.find(']');
  uint64_t index = 0;
  if (end == absl::string_view::npos || !absl::SimpleAtoi(rest.substr(0, end), &index)) return;
  if (index >= live.size()) return;
  *field = absl::StrCat("destinations[", live[index], rest.substr(end));
}

bool MeansStopped(const absl::Status& status) {
  return absl::IsCancelled(status) || absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status);
}

}  // namespace

DedupeSplit::DedupeSplit(v1::DedupeRangesRequest whole, uint64_t part_bytes) : whole_(std::move(whole)) {
  const uint64_t asked = whole_.max_bytes_per_call() == 0 ? kDefaultComparison : whole_.max_bytes_per_call();
  const uint64_t comparison = std::max(asked / kBlocks, uint64_t{1}) * kBlocks;
  const uint64_t destinations = std::max<uint64_t>(whole_.destinations_size(), 1);
  part_length_ = std::max<uint64_t>(part_bytes / destinations / comparison, 1) * comparison;
  for (int i = 0; i < whole_.destinations_size(); ++i) {
    live_.push_back(static_cast<size_t>(i));
    results_.emplace_back();
    *results_.back().mutable_destination() = whole_.destinations(i);
  }
}

bool DedupeSplit::Next(v1::DedupeRangesRequest* part) {
  if (done_ == whole_.length() || live_.empty()) return false;
  part_now_ = std::min(part_length_, whole_.length() - done_);
  *part = whole_;
  part->set_length(part_now_);
  part->mutable_source()->set_offset(whole_.source().offset() + done_);
  part->clear_destinations();
  for (const size_t index : live_) {
    v1::FilePosition* destination = part->add_destinations();
    *destination = whole_.destinations(static_cast<int>(index));
    destination->set_offset(destination->offset() + done_);
  }
  return true;
}

absl::Status DedupeSplit::Add(const v1::DedupeRangesResponse& answer) {
  if (static_cast<size_t>(answer.results_size()) != live_.size()) {
    return MakeError(
        absl::StatusCode::kInternal, "BAD_ANSWER",
        absl::StrCat("the node answered for ", answer.results_size(), " destinations instead of ",
                     live_.size(), "; check that node and client are of one version"));
  }
  answered_ = true;
  done_ += part_now_;
  std::vector<size_t> still_live;
  for (size_t i = 0; i < live_.size(); ++i) {
    const v1::DestinationResult& of_part = answer.results(static_cast<int>(i));
    v1::DestinationResult& result = results_[live_[i]];
    result.set_bytes_accepted(result.bytes_accepted() + of_part.bytes_accepted());
    result.set_bytes_shared(result.bytes_shared() + of_part.bytes_shared());
    if (of_part.outcome() == v1::DEDUPED && done_ < whole_.length()) {
      still_live.push_back(live_[i]);
      continue;
    }
    result.set_outcome(of_part.outcome());
    if (of_part.has_error()) {
      *result.mutable_error() = of_part.error();
      RenumberField(live_, result.mutable_error()->mutable_field());
    }
  }
  live_ = std::move(still_live);
  return absl::OkStatus();
}

void DedupeSplit::Fail(const absl::Status& status) {
  for (const size_t index : live_) {
    v1::DestinationResult& result = results_[index];
    result.set_outcome(MeansStopped(status) ? v1::STOPPED : v1::FAILED);
    *result.mutable_error() = ToErrorDetail(status);
    RenumberField(live_, result.mutable_error()->mutable_field());
  }
  live_.clear();
}

uint64_t DedupeSplit::bytes_total() const {
  return whole_.length() * static_cast<uint64_t>(whole_.destinations_size());
}

uint64_t DedupeSplit::bytes_done() const { return bytes_total() - live_.size() * (whole_.length() - done_); }

v1::DedupeRangesResponse DedupeSplit::Result() const {
  v1::DedupeRangesResponse whole;
  whole.set_bytes_requested(bytes_total());
  for (const v1::DestinationResult& result : results_) {
    *whole.add_results() = result;
    whole.set_bytes_accepted(whole.bytes_accepted() + result.bytes_accepted());
    whole.set_bytes_shared(whole.bytes_shared() + result.bytes_shared());
  }
  return whole;
}

}  // namespace cowherd
