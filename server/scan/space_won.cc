#include "server/scan/space_won.h"

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr auto kInterval = std::chrono::seconds(30);

}  // namespace

absl::Status SpaceWon::Begin() {
  std::lock_guard<std::mutex> lock(mutex_);
  ASSIGN_OR_RETURN(before_, CommittedFree());
  return absl::OkStatus();
}

absl::Status SpaceWon::Measure() {
  std::lock_guard<std::mutex> lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t now, CommittedFree());
  totals_.Update([&](Totals& t) { t.bytes_won = static_cast<int64_t>(now) - static_cast<int64_t>(before_); });
  return absl::OkStatus();
}

void SpaceWon::MeasureNowAndThen() {
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || std::chrono::steady_clock::now() - last_ < kInterval) return;
  lock.unlock();
  if (absl::Status status = Measure(); !status.ok()) {
    Log(LogLevel::kWarning, "cannot measure the space won", {{"error", status}});
  }
}

absl::StatusOr<uint64_t> SpaceWon::CommittedFree() {
  last_ = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(ops_.Commit(root_));
  ASSIGN_OR_RETURN(FsFacts facts, ops_.Facts(root_));
  return facts.free_bytes;
}

}  // namespace cowherd
