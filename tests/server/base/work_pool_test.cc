#include "server/base/work_pool.h"

#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

TEST(WorkPoolTest, OneThreadKeepsOrderAndDestructorRunsTheQueue) {
  std::vector<int> done;
  {
    std::promise<void> open;
    std::shared_future<void> gate = open.get_future().share();
    WorkPool pool(1, 1000);
    ASSERT_THAT(pool.Submit([gate] { gate.wait(); }), IsOk());
    for (int i = 0; i < 500; ++i) ASSERT_THAT(pool.Submit([&done, i] { done.push_back(i); }), IsOk());
    EXPECT_TRUE(done.empty());
    open.set_value();
  }
  ASSERT_EQ(done.size(), 500U);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(done[static_cast<size_t>(i)], i);
}

TEST(WorkPoolTest, RefusesWhatDoesNotFitTheQueueAndTakesAgainLater) {
  std::promise<void> started;
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  std::atomic<int> ran{0};
  std::promise<void> last;
  WorkPool pool(1, 2);
  ASSERT_THAT(pool.Submit([&started, gate] {
    started.set_value();
    gate.wait();
  }),
              IsOk());
  started.get_future().wait();
  ASSERT_THAT(pool.Submit([&] { ++ran; }), IsOk());
  ASSERT_THAT(pool.Submit([&] {
    ++ran;
    last.set_value();
  }),
              IsOk());
  const absl::Status full = pool.Submit([&] { ran += 100; });
  EXPECT_THAT(full, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(full, HasReason("BUSY"));
  open.set_value();
  last.get_future().wait();
  EXPECT_EQ(ran, 2);
  std::promise<void> again;
  ASSERT_THAT(pool.Submit([&] { again.set_value(); }), IsOk());
  again.get_future().wait();
}

TEST(WorkPoolTest, ThreadsWorkSideBySide) {
  // Each waits for the other: with one thread this would never end.
  std::promise<void> a;
  std::promise<void> b;
  WorkPool pool(2, 10);
  ASSERT_THAT(pool.Submit([&] {
    a.set_value();
    b.get_future().wait();
  }),
              IsOk());
  ASSERT_THAT(pool.Submit([&] {
    b.set_value();
    a.get_future().wait();
  }),
              IsOk());
}

TEST(WorkPoolTest, LetsGoOfWorkOnceItHasRun) {
  auto owned = std::make_shared<int>(1);
  std::weak_ptr<int> watched = owned;
  {
    WorkPool pool(1, 10);
    ASSERT_THAT(pool.Submit([owned = std::move(owned)] {}), IsOk());
  }
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace cowherd
