#include "server/node/io_class.h"

#include <gtest/gtest.h>
#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

int ClassNow() {
  return IOPRIO_PRIO_CLASS(static_cast<int>(::syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0)));
}

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
      EXPECT_EQ(ClassNow(), IOPRIO_CLASS_IDLE);
      std::thread([] { EXPECT_EQ(ClassNow(), IOPRIO_CLASS_IDLE); }).join();
      {
        const ScopedIoClass best_effort(IoClass::kBestEffort);
        EXPECT_EQ(ClassNow(), IOPRIO_CLASS_BE);
        const ScopedIoClass none(IoClass::kNone);
        EXPECT_EQ(ClassNow(), IOPRIO_CLASS_BE);
      }
      EXPECT_EQ(ClassNow(), IOPRIO_CLASS_IDLE);
    }
    EXPECT_EQ(ClassNow(), before);
  }).join();
}

}  // namespace
}  // namespace cowherd
