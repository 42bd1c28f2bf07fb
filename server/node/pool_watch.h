#ifndef COWHERD_SERVER_NODE_POOL_WATCH_H_
#define COWHERD_SERVER_NODE_POOL_WATCH_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "server/base/repeating_thread.h"
#include "server/base/work_pool.h"

namespace cowherd {

// Looks whether a pool still gets to its work: where a disk hangs, its threads may all wait in the kernel.
class PoolWatch {
 public:
  // Gives the pool something to do every `interval`. `told` hears false once that has waited for `limit`, and
  // true once it is done after all; at first all is well, which is not told. It is called on a thread of the
  // watch. `pool` must outlive the watch, which does not wait for it when it goes.
  PoolWatch(WorkPool& pool, std::chrono::milliseconds interval, std::chrono::milliseconds limit,
            std::function<void(bool well)> told);

 private:
  using Clock = std::chrono::steady_clock;

  void Look();

  WorkPool& pool_;
  const std::chrono::milliseconds limit_;
  const std::function<void(bool)> told_;
  bool well_ = true;
  Clock::time_point given_ = Clock::now();
  // Whether the pool has taken what it was given last.
  bool taken_ = true;
  // Kept by the pool, too: it may get to it after this watch has gone.
  std::shared_ptr<std::atomic<bool>> done_ = std::make_shared<std::atomic<bool>>(true);
  RepeatingThread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_POOL_WATCH_H_
