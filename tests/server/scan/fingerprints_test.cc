#include "server/scan/fingerprints.h"

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "server/dedupe/sharing.h"
#include "server/fs/fake_filesystem.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::HasErrno;
using testing::IsOk;
using testing::kBlock;
using testing::OpenFd;

class FingerprintsTest : public ::testing::Test {
 protected:
  // Of `count` blocks of a file, from `first`.
  std::vector<uint64_t> Read(const std::string& relative, uint64_t first, size_t count) {
    const Fd fd = OpenFd(fs_, relative);
    const auto extents = AllExtents(fs_, fd.get(), first * kBlock, count * kBlock, false);
    bytes_read_ = 0;
    auto fingerprints = ReadFingerprints(fd.get(), kBlock, *extents, first, count, bytes_read_);
    EXPECT_THAT(fingerprints, IsOk());
    return *fingerprints;
  }

  FakeFilesystem fs_;
  uint64_t bytes_read_ = 0;
};

TEST_F(FingerprintsTest, EqualBlocksHaveEqualFingerprints) {
  fs_.AddFile("/data/a", Blocks(1, 600));  // more than one read
  fs_.AddFile("/data/b", Blocks(2, 1) + Blocks(1, 600));
  const auto a = Read("a", 0, 600);
  EXPECT_EQ(bytes_read_, 600 * kBlock);
  EXPECT_EQ(a, Read("b", 1, 600));
  EXPECT_EQ(std::vector<uint64_t>(a.begin() + 100, a.begin() + 103), Read("a", 100, 3));
  EXPECT_EQ(bytes_read_, 3 * kBlock);
  std::set<uint64_t> distinct(a.begin(), a.end());
  EXPECT_EQ(distinct.size(), 600U);
  EXPECT_EQ(distinct.count(0), 0U);
}

TEST_F(FingerprintsTest, PartialTailEqualsOnlyItsLike) {
  const std::string zeros(kBlock, '\0');
  fs_.AddFile("/data/whole", zeros);
  fs_.AddFile("/data/partial", zeros.substr(100));
  fs_.AddFile("/data/other", zeros.substr(101));
  fs_.AddFile("/data/same", Blocks(1, 1) + zeros.substr(100));
  const uint64_t partial = Read("partial", 0, 1)[0];
  EXPECT_NE(partial, 0u);
  EXPECT_NE(partial, Read("whole", 0, 1)[0]);
  EXPECT_NE(partial, Read("other", 0, 1)[0]);
  EXPECT_EQ(partial, Read("same", 1, 1)[0]);
}

TEST_F(FingerprintsTest, OnlyWhatIsAskedForIsRead) {
  fs_.AddFile("/data/a", Blocks(1, 12));
  fs_.PunchHole("/data/a", 2 * kBlock, 2 * kBlock);
  fs_.PunchHole("/data/a", 5 * kBlock, kBlock);
  const auto a = Read("a", 0, 14);
  for (size_t i = 0; i < 14; ++i) EXPECT_EQ(a[i] == 0, i == 2 || i == 3 || i == 5 || i >= 12) << i;
  EXPECT_EQ(bytes_read_, 9 * kBlock);
}

TEST_F(FingerprintsTest, FileCutMeanwhileEndsEarly) {
  fs_.AddFile("/data/a", Blocks(1, 8));
  const Fd fd = OpenFd(fs_, "a");
  const auto extents = AllExtents(fs_, fd.get(), 0, 8 * kBlock, false);
  fs_.Truncate("/data/a", 3 * kBlock + 10);
  uint64_t read = 0;
  const auto fingerprints = ReadFingerprints(fd.get(), kBlock, *extents, 0, 8, read);
  ASSERT_THAT(fingerprints, IsOk());
  EXPECT_NE((*fingerprints)[3], 0u);
  EXPECT_EQ((*fingerprints)[4], 0u);
  EXPECT_EQ(read, 3 * kBlock + 10);
}

TEST_F(FingerprintsTest, ReadErrorsAreErrors) {
  uint64_t read = 0;
  FileExtent extent;
  extent.length = kBlock;
  EXPECT_THAT(ReadFingerprints(-1, kBlock, {extent}, 0, 1, read), HasErrno(EBADF));
}

}  // namespace
}  // namespace cowherd
