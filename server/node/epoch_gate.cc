#include "server/node/epoch_gate.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

absl::Status EpochGate::CheckLocked(uint64_t epoch) const {
  if (epoch == 0 || epoch >= highest_) return absl::OkStatus();
  return WithField(MakeError(absl::StatusCode::kFailedPrecondition, "STALE_EPOCH",
                             absl::StrCat("epoch ", epoch, " is over: a controller of epoch ", highest_,
                                          " has given orders since")),
                   "epoch");
}

absl::Status EpochGate::Check(uint64_t epoch) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return CheckLocked(epoch);
}

absl::Status EpochGate::Enter(uint64_t epoch) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (epoch == 0 || epoch <= highest_) return CheckLocked(epoch);
  }
  std::lock_guard<std::mutex> keeping(keeping_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (epoch <= highest_) return CheckLocked(epoch);
  }
  if (absl::Status kept = keep_(epoch); !kept.ok()) {
    return MakeError(absl::StatusCode::kUnavailable, "EPOCH_NOT_KEPT",
                     absl::StrCat("the epoch of the order cannot be kept: ", kept.message()));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  highest_ = epoch;
  for (Watch* watch : watches_) {
    if (watch->epoch_ != 0 && watch->epoch_ < epoch) watch->told_();
  }
  return absl::OkStatus();
}

EpochGate::Watch::Watch(EpochGate& gate, uint64_t epoch, absl::AnyInvocable<void()> told)
    : gate_(gate), epoch_(epoch), told_(std::move(told)) {
  std::lock_guard<std::mutex> lock(gate_.mutex_);
  gate_.watches_.insert(this);
  if (!gate_.CheckLocked(epoch_).ok()) told_();
}

EpochGate::Watch::~Watch() {
  std::lock_guard<std::mutex> lock(gate_.mutex_);
  gate_.watches_.erase(this);
}

}  // namespace cowherd
