#ifndef COWHERD_SERVER_BASE_WORK_POOL_H_
#define COWHERD_SERVER_BASE_WORK_POOL_H_

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace cowherd {

// Threads that run what must not block a gRPC callback: ioctls and store writes. A pool of one thread runs
// its work in the order given. Any thread.
class WorkPool {
 public:
  using Work = absl::AnyInvocable<void()>;

  // At most `max_queued` wait at a time. threads >= 1.
  WorkPool(size_t threads, size_t max_queued);
  // Runs what is queued, then ends.
  ~WorkPool();
  WorkPool(const WorkPool&) = delete;
  WorkPool& operator=(const WorkPool&) = delete;

  // RESOURCE_EXHAUSTED "BUSY": the queue is full; `work` was not taken.
  absl::Status Submit(Work work);

 private:
  void Run();

  const size_t max_queued_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Work> queue_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_WORK_POOL_H_
