#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/dedupe/sharing.h"
#include "server/fs/fake_filesystem.h"
#include "server/scan/reading_source.h"
#include "server/scan/source_blocks.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::Bytes;
using testing::HasErrno;
using testing::IsOk;
using testing::kBlock;
using testing::OpenFd;

class ReadingSourceTest : public ::testing::Test {
 protected:
  // Of `count` blocks of a file, from `first`.
  std::vector<Fingerprint> Read(const std::string& relative, uint64_t first, size_t count) {
    const Fd fd = OpenFd(fs_, relative);
    const auto extents = AllExtents(fs_, fd.get(), first * kBlock, count * kBlock, false);
    bytes_read_ = 0;
    auto fingerprints = source_.Fingerprints(fd.get(), *extents, first, count, bytes_read_);
    EXPECT_THAT(fingerprints, IsOk());
    return *fingerprints;
  }

  FakeFilesystem fs_;
  ReadingSource source_{kBlock};
  uint64_t bytes_read_ = 0;
};

TEST_F(ReadingSourceTest, EqualBlocksHaveEqualFingerprints) {
  fs_.AddFile("/data/a", Blocks(1, 600));  // more than one read
  fs_.AddFile("/data/b", Blocks(2, 1) + Blocks(1, 600));
  const auto a = Read("a", 0, 600);
  EXPECT_EQ(bytes_read_, 600 * kBlock);
  EXPECT_EQ(a, Read("b", 1, 600));
  EXPECT_EQ(std::vector<Fingerprint>(a.begin() + 100, a.begin() + 103), Read("a", 100, 3));
  EXPECT_EQ(bytes_read_, 3 * kBlock);
  std::set<Fingerprint> distinct(a.begin(), a.end());
  EXPECT_EQ(distinct.size(), 600U);
  EXPECT_EQ(distinct.count(kNoFingerprint), 0U);
}

TEST_F(ReadingSourceTest, PartialTailEqualsOnlyItsLike) {
  const std::string zeros(kBlock, '\0');
  fs_.AddFile("/data/whole", zeros);
  fs_.AddFile("/data/partial", zeros.substr(100));
  fs_.AddFile("/data/other", zeros.substr(101));
  fs_.AddFile("/data/same", Blocks(1, 1) + zeros.substr(100));
  const Fingerprint partial = Read("partial", 0, 1)[0];
  EXPECT_NE(partial, kNoFingerprint);
  EXPECT_NE(partial, Read("whole", 0, 1)[0]);
  EXPECT_NE(partial, Read("other", 0, 1)[0]);
  EXPECT_EQ(partial, Read("same", 1, 1)[0]);
}

TEST_F(ReadingSourceTest, NothingWhereThereIsNoData) {
  fs_.AddFile("/data/a", Blocks(1, 8));
  fs_.PunchHole("/data/a", 2 * kBlock, 2 * kBlock);
  fs_.Preallocate("/data/a", 5 * kBlock, kBlock);
  const auto a = Read("a", 0, 12);
  for (size_t i = 0; i < 12; ++i)
    EXPECT_EQ(a[i] == kNoFingerprint, i == 2 || i == 3 || i == 5 || i >= 8) << i;
  EXPECT_EQ(bytes_read_, 5 * kBlock);
  fs_.KeepInline(2000);
  fs_.AddFile("/data/inline", Bytes(1, 2000));
  EXPECT_EQ(Read("inline", 0, 1)[0], kNoFingerprint);
  EXPECT_EQ(bytes_read_, 0U);
}

TEST_F(ReadingSourceTest, FileCutMeanwhileEndsEarly) {
  fs_.AddFile("/data/a", Blocks(1, 8));
  const Fd fd = OpenFd(fs_, "a");
  const auto extents = AllExtents(fs_, fd.get(), 0, 8 * kBlock, false);
  fs_.Truncate("/data/a", 3 * kBlock + 10);
  uint64_t read = 0;
  const auto fingerprints = source_.Fingerprints(fd.get(), *extents, 0, 8, read);
  ASSERT_THAT(fingerprints, IsOk());
  EXPECT_NE((*fingerprints)[3], kNoFingerprint);
  EXPECT_EQ((*fingerprints)[4], kNoFingerprint);
  EXPECT_EQ(read, 3 * kBlock + 10);
}

TEST_F(ReadingSourceTest, ReadErrorsAreErrors) {
  uint64_t read = 0;
  FileExtent extent;
  extent.length = kBlock;
  EXPECT_THAT(source_.Fingerprints(-1, {extent}, 0, 1, read), HasErrno(EBADF));
}

class SourceBlocksTest : public ReadingSourceTest {
 protected:
  std::unique_ptr<FileTree> tree_ = (fs_.AddDirectory("/data"), testing::OpenData(fs_));
  SourceBlocks blocks_{fs_, *tree_, source_, kBlock};
};

TEST_F(SourceBlocksTest, GivesWhatTheFileHoldsAndReadsItOnce) {
  fs_.AddFile("/data/a", Blocks(1, 300));
  const auto a = Read("a", 0, 300);
  for (uint64_t i = 0; i < 300; ++i) EXPECT_EQ(blocks_.At("a", i), a[i]);
  for (uint64_t i = 300; i-- > 0;) EXPECT_EQ(blocks_.At("a", i), a[i]);
  EXPECT_EQ(blocks_.TakeBytesRead(), 300 * kBlock);
  EXPECT_EQ(blocks_.TakeBytesRead(), 0U);
  EXPECT_EQ(blocks_.At("a", 300), kNoFingerprint);
  EXPECT_EQ(blocks_.At("a", 100000), kNoFingerprint);
}

TEST_F(SourceBlocksTest, FilesThatCannotBeReadMatchNothing) {
  EXPECT_EQ(blocks_.At("absent", 0), kNoFingerprint);
  EXPECT_THAT(blocks_.Open("absent"), HasErrno(ENOENT));
  fs_.AddFile("/data/bad", Blocks(1, 1));
  fs_.Fail(FakeFilesystem::Operation::kExtents, "/data/bad", EIO);
  EXPECT_EQ(blocks_.At("bad", 0), kNoFingerprint);
}

TEST_F(SourceBlocksTest, ManyFilesInTurn) {
  for (int i = 0; i < 200; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i, 1));
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 200; ++i) EXPECT_EQ(blocks_.At(absl::StrCat(i), 0), Read(absl::StrCat(i), 0, 1)[0]);
  }
}

TEST_F(SourceBlocksTest, AFileInUseStaysOpen) {
  fs_.AddFile("/data/a", Blocks(1, 1));
  const auto first = blocks_.Open("a");
  ASSERT_THAT(first, IsOk());
  fs_.Remove("/data/a");
  EXPECT_EQ(*blocks_.Open("a"), *first);
}

}  // namespace
}  // namespace cowherd
