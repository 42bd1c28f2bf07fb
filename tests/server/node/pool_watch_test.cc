#include "server/node/pool_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/server/node/node_under_test.h"

namespace cowherd {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using testing::Gate;

// What a watch tells.
class Told {
 public:
  void operator()(bool well) {
    std::lock_guard<std::mutex> lock(mutex_);
    told_.push_back(well);
    changed_.notify_all();
  }
  std::vector<bool> Await(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return told_.size() >= count; });
    return told_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> told_;
};

struct PoolCase {
  const char* name;
  size_t queued;
};

// With room in the queue, and with none.
class PoolWatchTest : public ::testing::TestWithParam<PoolCase> {};

TEST_P(PoolWatchTest, TellsOfThreadsThatAllHangAndOfTheirReturn) {
  Gate gate;
  Told told;
  WorkPool pool(2, GetParam().queued);
  PoolWatch watch(pool, milliseconds(1), milliseconds(50), [&told](bool well) { told(well); });
  for (int hangs = 1; hangs <= 2; ++hangs) {
    while (!pool.Submit([&gate] { gate.Pass(); }).ok()) std::this_thread::yield();
    gate.AwaitSomeoneWaiting(hangs);
  }
  EXPECT_THAT(told.Await(1), ElementsAre(false));
  gate.Open();
  EXPECT_THAT(told.Await(2), ElementsAre(false, true));
}

INSTANTIATE_TEST_SUITE_P(Pools, PoolWatchTest, ::testing::Values(PoolCase{"Room", 100}, PoolCase{"Full", 1}),
                         [](const auto& info) { return info.param.name; });

TEST(PoolWatch, OneThreadThatIsFreeWillDo) {
  Gate gate;
  Told told;
  {
    WorkPool pool(2, 100);
    PoolWatch watch(pool, milliseconds(1), milliseconds(50), [&told](bool well) { told(well); });
    ASSERT_TRUE(pool.Submit([&gate] { gate.Pass(); }).ok());
    gate.AwaitSomeoneWaiting();
    // Longer than the limit.
    std::this_thread::sleep_for(milliseconds(150));
    gate.Open();
  }
  EXPECT_THAT(told.Await(0), ElementsAre());
}

TEST(PoolWatch, DoesNotWaitForAPoolThatHangs) {
  Gate gate;
  WorkPool pool(1, 100);
  ASSERT_TRUE(pool.Submit([&gate] { gate.Pass(); }).ok());
  gate.AwaitSomeoneWaiting();
  {
    PoolWatch watch(pool, milliseconds(1), milliseconds(1), [](bool) {});
  }
  gate.Open();
}

}  // namespace
}  // namespace cowherd
