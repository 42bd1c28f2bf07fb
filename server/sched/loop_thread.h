#ifndef COWHERD_SERVER_SCHED_LOOP_THREAD_H_
#define COWHERD_SERVER_SCHED_LOOP_THREAD_H_

#include <algorithm>
#include <thread>

#include "server/base/clock.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"

namespace cowherd {

// Runs a loop on its own thread until it goes. The loop must be ready (Recover).
class LoopThread {
 public:
  LoopThread(Loop& loop, Mailbox& mailbox, const Clock& clock)
      : mailbox_(mailbox), thread_([&loop, &mailbox, &clock] {
          for (;;) {
            const absl::Duration idle = loop.Step() - clock.Now();
            if (!mailbox.Wait(std::max(idle, absl::ZeroDuration()))) break;
          }
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
