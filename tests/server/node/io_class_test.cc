#include "server/node/io_class.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

// As ioprio_set(2) numbers them.
constexpr int kBestEffort = 2;
constexpr int kIdle = 3;

int ClassNow() { return static_cast<int>(::syscall(SYS_ioprio_get, /*IOPRIO_WHO_PROCESS*/ 1, 0)) >> 13; }

TEST(IoClassTest, Names) {
  EXPECT_EQ(*ParseIoClass("idle"), IoClass::kIdle);
  EXPECT_EQ(*ParseIoClass("best-effort"), IoClass::kBestEffort);
  EXPECT_EQ(*ParseIoClass("none"), IoClass::kNone);
  EXPECT_FALSE(ParseIoClass("Idle").ok());
}

// In a thread of its own, since the class is a thread's.
TEST(IoClassTest, HoldsForThreadsStartedMeanwhileAndEnds) {
  std::thread([] {
    const int before = ClassNow();
    {
      const ScopedIoClass idle(IoClass::kIdle);
      EXPECT_EQ(ClassNow(), kIdle);
      std::thread([] { EXPECT_EQ(ClassNow(), kIdle); }).join();
      {
        const ScopedIoClass best_effort(IoClass::kBestEffort);
        EXPECT_EQ(ClassNow(), kBestEffort);
        const ScopedIoClass none(IoClass::kNone);
        EXPECT_EQ(ClassNow(), kBestEffort);
      }
      EXPECT_EQ(ClassNow(), kIdle);
    }
    EXPECT_EQ(ClassNow(), before);
  }).join();
}

}  // namespace
}  // namespace cowherd
