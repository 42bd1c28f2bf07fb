#ifndef COWHERD_SERVER_SCHED_MAILBOX_H_
#define COWHERD_SERVER_SCHED_MAILBOX_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace cowherd {

// Hands work to the one thread that owns the state. Any thread may post; one thread takes.
class Mailbox {
 public:
  using Work = absl::AnyInvocable<void()>;

  // At most `max_calls` posted calls wait at a time. `holds` tells whether that thread may still speak for
  // the state: nobody else changed it meanwhile. Empty: nobody else can.
  explicit Mailbox(size_t max_calls, std::function<bool()> holds = nullptr)
      : max_calls_(max_calls), holds_(std::move(holds)) {}

  // Whether what is read or written now counts. A call may have waited here for long.
  bool Holds() const { return holds_ == nullptr || holds_(); }

  // For callers that can be told to wait. RESOURCE_EXHAUSTED "BUSY": too many wait. UNAVAILABLE "STOPPING":
  // closed. In both cases `work` was dropped.
  absl::Status PostCall(Work work);

  // For news that must arrive and whose number is bounded elsewhere. Dropped once closed.
  void PostNews(Work work);

  // What was posted, in order; does not wait.
  std::deque<Work> Take();

  // Waits until there is something to take or the mailbox is closed, at most this long. False: closed.
  bool Wait(absl::Duration at_most);

  // Takes no more. What is in it can still be taken.
  void Close();

 private:
  const size_t max_calls_;
  const std::function<bool()> holds_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Work> work_;
  size_t calls_ = 0;
  bool closed_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_MAILBOX_H_
