#ifndef COWHERD_SERVER_BASE_REPEATING_THREAD_H_
#define COWHERD_SERVER_BASE_REPEATING_THREAD_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace cowherd {

// Does work on a thread of its own, until it goes: at once, and again each time `interval` has passed since
// it was done.
class RepeatingThread {
 public:
  RepeatingThread(std::chrono::milliseconds interval, std::function<void()> work)
      : thread_([this, interval, work = std::move(work)] {
          std::unique_lock<std::mutex> lock(mutex_);
          while (!ended_) {
            lock.unlock();
            work();
            lock.lock();
            ending_.wait_for(lock, interval, [this] { return ended_; });
          }
        }) {}
  // Waits for work under way.
  ~RepeatingThread() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    ending_.notify_all();
    thread_.join();
  }
  RepeatingThread(const RepeatingThread&) = delete;
  RepeatingThread& operator=(const RepeatingThread&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_REPEATING_THREAD_H_
