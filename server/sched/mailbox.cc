#include "server/sched/mailbox.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/base/status.h"

namespace cowherd {

absl::Status Mailbox::PostCall(Work work) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) {
      return MakeError(absl::StatusCode::kUnavailable, "STOPPING",
                       "the controller is stopping; repeat later");
    }
    if (calls_ >= max_calls_) {
      return MakeError(absl::StatusCode::kResourceExhausted, "BUSY",
                       "too many calls are waiting; repeat later");
    }
    ++calls_;
    work_.push_back(std::move(work));
  }
  ready_.notify_one();
  return absl::OkStatus();
}

void Mailbox::PostNews(Work work) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return;
    work_.push_back(std::move(work));
  }
  ready_.notify_one();
}

std::deque<Mailbox::Work> Mailbox::Take() {
  std::lock_guard<std::mutex> lock(mutex_);
  calls_ = 0;
  return std::exchange(work_, {});
}

bool Mailbox::Wait(absl::Duration at_most) {
  std::unique_lock<std::mutex> lock(mutex_);
  // Clocks cannot add the infinite duration.
  const absl::Duration wait = std::min(at_most, absl::Hours(24 * 365));
  ready_.wait_for(lock, absl::ToChronoMilliseconds(wait), [this] { return closed_ || !work_.empty(); });
  return !closed_;
}

void Mailbox::Close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  ready_.notify_all();
}

}  // namespace cowherd
