#ifndef COWHERD_SERVER_SCHED_LOOP_THREAD_H_
#define COWHERD_SERVER_SCHED_LOOP_THREAD_H_

#include <algorithm>
#include <thread>

#include "server/base/clock.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"
#include "server/sched/schedules.h"

namespace cowherd {

// The machine's clock may be set at any time: as often it is looked at.
inline constexpr absl::Duration kLookAtClock = absl::Seconds(5);

// Runs a loop and its schedules on their own thread until it goes, or the mailbox does not hold any more.
// Both must be ready (Recover).
class LoopThread {
 public:
  LoopThread(Loop& loop, Schedules& schedules, Mailbox& mailbox, const Clock& clock)
      : mailbox_(mailbox), thread_([&loop, &schedules, &mailbox, &clock] {
          while (mailbox.Holds()) {
            schedules.Step();
            const absl::Time wake = loop.Step();
            const absl::Duration idle =
                std::min({wake - clock.Now(), schedules.wake() - clock.Wall(), kLookAtClock});
            if (!mailbox.Wait(std::max(idle, absl::ZeroDuration()))) break;
          }
          mailbox.Close();
          loop.Stop();
        }) {}
  // Closes the mailbox; what is in it is still done.
  ~LoopThread() {
    mailbox_.Close();
    thread_.join();
  }
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

 private:
  Mailbox& mailbox_;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_LOOP_THREAD_H_
