#include "server/controller/store_pulse.h"

#include <algorithm>

namespace cowherd {
namespace {

bool Failed(const absl::Status& status) {
  return !status.ok() && !absl::IsNotFound(status) && !absl::IsAlreadyExists(status) &&
         !absl::IsInvalidArgument(status);
}

}  // namespace

uint64_t StorePulse::Begin(absl::Duration now) {
  std::lock_guard<std::mutex> lock(mutex_);
  under_way_[++last_operation_] = now;
  return last_operation_;
}

void StorePulse::End(uint64_t operation) {
  std::lock_guard<std::mutex> lock(mutex_);
  under_way_.erase(operation);
}

void StorePulse::Wrote(const absl::Status& status, absl::Duration now) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!Failed(status)) {
    failing_since_.reset();
    return;
  }
  if (!failing_since_) failing_since_ = now;
  last_failure_ = now;
}

bool StorePulse::Hangs(absl::Duration now) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(under_way_.begin(), under_way_.end(),
                     [now](const auto& operation) { return now - operation.second >= kPatience; });
}

bool StorePulse::Fails(absl::Duration now) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failing_since_ && now - *failing_since_ >= kPatience && now - last_failure_ < kMemory;
}

}  // namespace cowherd
