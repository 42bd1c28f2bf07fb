// Scans of files that are not as others are: mostly holes, or swapped to.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/swap.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "tests/kernel/scan_loop.h"
#include "tests/testing/command.h"
#include "tests/testing/loop_filesystem.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::kBlock;

std::string Content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// On filesystems whose files are read.
class OddFilesTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    LoopFilesystem::Options options;
    options.type = GetParam() == "xfs" ? "xfs" : "btrfs";
    absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
    ASSERT_TRUE(made.ok()) << made.status();
    loop_ = *std::move(made);
    if (GetParam() == "nodatasum") {
      ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
      ASSERT_EQ(loop_->Mount("nodatasum"), absl::OkStatus());
    }
  }

  std::string Path(const std::string& name) const { return absl::StrCat(loop_->path(), "/", name); }

  Totals Scan() {
    ScanRequest request;
    request.min_extent_length = kBlock;
    const Scanned scanned = ScanLoop(*loop_, request, Stop(), [](const Duplicate&) {});
    EXPECT_EQ(scanned.status, absl::OkStatus());
    return scanned.totals;
  }

  std::unique_ptr<LoopFilesystem> loop_;
};

TEST_P(OddFilesTest, HolesTakeNoTime) {
  const std::string content = testing::Bytes(1, 1 << 20) + testing::Bytes(2, 1 << 20);
  std::ofstream(Path("plain"), std::ios::binary) << content;
  const Fd sparse(::open(Path("sparse").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  constexpr off_t kPiB = off_t{1} << 50;
  ASSERT_EQ(::ftruncate(sparse.get(), 400 * kPiB), 0) << ErrnoName(errno);
  constexpr size_t kHalf = 1 << 20;
  ASSERT_EQ(::pwrite(sparse.get(), content.data(), kHalf, kBlock), static_cast<ssize_t>(kHalf));
  ASSERT_EQ(::pwrite(sparse.get(), content.data() + kHalf, kHalf, 300 * kPiB), static_cast<ssize_t>(kHalf));
  ::sync();
  const auto begin = std::chrono::steady_clock::now();
  const Totals totals = Scan();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(totals.bytes_accepted, 2 * kHalf);
  EXPECT_EQ(totals.ranges_failed + totals.ranges_differ + totals.files_failed, 0u);
}

// Zeros were written to it before those of the others, which are to share among themselves.
TEST_P(OddFilesTest, ASwapFileIsPassedOver) {
  const std::string swap = Path("swap");
  const std::string zeros(8 << 20, '\0');
  {
    const Fd file(::open(swap.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    int flags = FS_NOCOW_FL;  // btrfs asks for that
    if (GetParam() == "nodatasum") {
      ASSERT_EQ(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags), 0);
    }
    ASSERT_EQ(::write(file.get(), zeros.data(), zeros.size()), static_cast<ssize_t>(zeros.size()));
  }
  ASSERT_EQ(RunCommand({"/usr/sbin/mkswap", "-q", swap}), absl::OkStatus());
  for (const char* name : {"b", "c"}) std::ofstream(Path(name), std::ios::binary) << zeros;
  ::sync();
  const std::string before = Content(swap);
  {
    ASSERT_EQ(::swapon(swap.c_str(), 0), 0) << ErrnoName(errno);
    const absl::Cleanup off = [&swap] { EXPECT_EQ(::swapoff(swap.c_str()), 0) << ErrnoName(errno); };
    for (const bool again : {false, true}) {
      const Totals totals = Scan();
      EXPECT_EQ(totals.files_skipped, 1u);
      EXPECT_EQ(totals.files_failed + totals.ranges_failed + totals.ranges_differ, 0u);
      if (!again) {
        EXPECT_GE(totals.bytes_accepted, 2 * zeros.size() / 100 * 90);
      }
    }
  }
  EXPECT_TRUE(Content(swap) == before);
  EXPECT_TRUE(Content(Path("c")) == zeros);
}

INSTANTIATE_TEST_SUITE_P(Filesystems, OddFilesTest, ::testing::Values("nodatasum", "xfs"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace cowherd
