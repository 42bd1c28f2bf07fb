#ifndef COWHERD_SERVER_NODE_POOL_WATCH_H_
#define COWHERD_SERVER_NODE_POOL_WATCH_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

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
  ~PoolWatch();
  PoolWatch(const PoolWatch&) = delete;
  PoolWatch& operator=(const PoolWatch&) = delete;

 private:
  void Run();

  WorkPool& pool_;
  const std::chrono::milliseconds interval_;
  const std::chrono::milliseconds limit_;
  const std::function<void(bool)> told_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_POOL_WATCH_H_
