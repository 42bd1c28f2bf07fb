#include "server/base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <utility>

namespace cowherd {
namespace {

int NewFd() { return ::memfd_create("fd_test", MFD_CLOEXEC); }
bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(FdTest, ClosesWhatItOwns) {
  const int raw = NewFd();
  {
    const Fd fd(raw);
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(fd.get(), raw);
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
  EXPECT_FALSE(Fd().valid());
}

TEST(FdTest, MovesAndReleases) {
  const int first = NewFd();
  const int second = NewFd();
  Fd a(first);
  Fd b(second);
  b = std::move(a);
  EXPECT_FALSE(IsOpen(second));
  EXPECT_TRUE(IsOpen(first));
  EXPECT_EQ(b.get(), first);
  Fd c(std::move(b));
  EXPECT_EQ(c.get(), first);
  Fd& same = c;
  c = std::move(same);
  EXPECT_TRUE(IsOpen(first));
  EXPECT_EQ(c.Release(), first);
  EXPECT_FALSE(c.valid());
  EXPECT_TRUE(IsOpen(first));
  ::close(first);
}

}  // namespace
}  // namespace cowherd
