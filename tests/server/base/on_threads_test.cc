#include "server/base/on_threads.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

namespace cowherd {
namespace {

TEST(OnThreadsTest, CallsWithEachNumberAllAtOnce) {
  constexpr size_t kCount = 4;
  std::mutex mutex;
  std::condition_variable arrived;
  std::multiset<size_t> numbers;
  std::set<std::thread::id> threads;
  OnThreads(kCount, [&](size_t number) {
    std::unique_lock<std::mutex> lock(mutex);
    numbers.insert(number);
    threads.insert(std::this_thread::get_id());
    arrived.notify_all();
    arrived.wait(lock, [&] { return numbers.size() == kCount; });
  });
  EXPECT_EQ(numbers, (std::multiset<size_t>{0, 1, 2, 3}));
  EXPECT_EQ(threads.size(), kCount);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 1u);
}

TEST(OnThreadsTest, OneIsThisThread) {
  size_t calls = 0;
  OnThreads(1, [&, self = std::this_thread::get_id()](size_t number) {
    EXPECT_EQ(number, 0u);
    EXPECT_EQ(std::this_thread::get_id(), self);
    ++calls;
  });
  EXPECT_EQ(calls, 1u);
}

}  // namespace
}  // namespace cowherd
