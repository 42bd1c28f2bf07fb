#ifndef COWHERD_SERVER_SCHED_LOOP_THREAD_H_
#define COWHERD_SERVER_SCHED_LOOP_THREAD_H_

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>

#include "server/base/clock.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"
#include "server/sched/schedules.h"

namespace cowherd {

// Runs a loop and its schedules on their own thread until it goes. Both must be ready (Recover). `holds`, if
// given, is asked before each step: false ends the loop early.
class LoopThread {
 public:
  LoopThread(Loop& loop, Schedules& schedules, Mailbox& mailbox, const Clock& clock,
             std::function<bool()> holds = nullptr)
      : mailbox_(mailbox), thread_([&loop, &schedules, &mailbox, &clock, holds = std::move(holds)] {
          while (holds == nullptr || holds()) {
            schedules.Step();
            const absl::Time wake = loop.Step();
            const absl::Duration idle = std::min(wake, schedules.wake()) - clock.Now();
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
