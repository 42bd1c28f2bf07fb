#include "server/sched/rests.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/sched/reasons.h"

namespace cowherd {
namespace {

// Of records of the store.
constexpr char kKind[] = "hold";

}  // namespace

absl::Status Rests::Load() {
  ASSIGN_OR_RETURN(const auto records, store_.LoadRecords(kKind));
  for (const auto& [name, value] : records) {
    ASSIGN_OR_RETURN(cowherd::Hold hold, ParseHold(name, value));
    holds_.Set(name, std::move(hold));
  }
  return absl::OkStatus();
}

absl::Status Rests::Hold(const std::string& name, cowherd::Hold hold, absl::Time now) {
  hold.since = now;
  RETURN_IF_ERROR(store_.PutRecord(kKind, name, SerializeHold(hold)));
  Log(LogLevel::kInfo, "held",
      {{"what", name}, {"kind", HoldName(hold.kind)}, {"by", hold.by}, {"reason", hold.reason}});
  holds_.Set(name, std::move(hold));
  return absl::OkStatus();
}

absl::Status Rests::Lift(const std::string& name) {
  if (holds_.Find(name) == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(store_.DeleteRecord(kKind, name));
  Log(LogLevel::kInfo, "goes on", {{"what", name}});
  holds_.Lift(name);
  return absl::OkStatus();
}

absl::Time Rests::wake() const { return std::min(jobs_.wake(), nodes_.wake()); }

bool Rests::MayRun(const std::string& node) const {
  const cowherd::Hold* hold = holds_.OfNode(node);
  return nodes_.IsOpen(node) && (hold == nullptr || hold->kind != cowherd::Hold::Kind::kPause);
}

Gate Rests::GateOf(const std::string& node, const NodeEntry* entry) const {
  if (entry == nullptr || entry->state != NodeState::kUp || !MayRun(node)) return Gate::kShut;
  return holds_.OfNode(node) != nullptr ? Gate::kDrained : Gate::kOpen;
}

absl::Duration Rests::OpenFor(uint64_t job, const std::string& node, absl::Time now) const {
  absl::Duration open_for = absl::InfiniteDuration();
  for (const WindowState& state : {jobs_.StateOf(job), nodes_.StateOf(node)}) {
    // Where one is closed, only the last figures of a run are asked for.
    if (state.open && state.until > now) open_for = std::min(open_for, state.until - now);
  }
  return open_for;
}

absl::Status Rests::WhyJob(uint64_t job) const {
  const WindowState state = jobs_.StateOf(job);
  return state.open ? absl::OkStatus() : WindowClosed(state);
}

absl::Status Rests::WhyNode(const std::string& node) const {
  if (const cowherd::Hold* hold = holds_.OfNode(node); hold != nullptr) {
    return MakeError(absl::StatusCode::kUnavailable, "HELD",
                     absl::StrCat(holds_.Find(Holds::Node(node)) == hold ? "its node" : "the cluster",
                                  hold->kind == cowherd::Hold::Kind::kPause ? " is paused" : " is drained",
                                  hold->by.empty() ? "" : " by ", hold->by, hold->reason.empty() ? "" : ": ",
                                  hold->reason));
  }
  const WindowState state = nodes_.StateOf(node);
  return state.open ? absl::OkStatus() : WindowClosed(state);
}

}  // namespace cowherd
