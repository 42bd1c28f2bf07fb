#include "server/node/pool_watch.h"

#include <utility>

namespace cowherd {

PoolWatch::PoolWatch(WorkPool& pool, std::chrono::milliseconds interval, std::chrono::milliseconds limit,
                     std::function<void(bool)> told)
    : pool_(pool), interval_(interval), limit_(limit), told_(std::move(told)), thread_([this] { Run(); }) {}

PoolWatch::~PoolWatch() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void PoolWatch::Run() {
  using Clock = std::chrono::steady_clock;
  bool well = true;
  Clock::time_point given = Clock::now();
  // Kept by the pool, too: it may get to it after this watch has gone.
  auto done = std::make_shared<std::atomic<bool>>(true);
  bool taken = true;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_.wait_for(lock, interval_, [this] { return stopped_; })) {
    if (taken && *done) {
      if (!std::exchange(well, true)) told_(true);
      given = Clock::now();
      done = std::make_shared<std::atomic<bool>>(false);
      taken = false;
    } else if (well && Clock::now() - given >= limit_) {
      well = false;
      told_(false);
    }
    // A queue that is full is waited for as well.
    if (!taken) taken = pool_.Submit([done] { *done = true; }).ok();
  }
}

}  // namespace cowherd
