#include "server/scan/copy_out.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "server/base/full_io.h"
#include "server/base/stop.h"
#include "server/fs/fake_filesystem.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Bytes;
using testing::IsOk;
using testing::kBlock;
using testing::StatusIs;

// A file that ends within a block, and the place of all of it.
class CopyOutTest : public ::testing::Test {
 protected:
  CopyOutTest() : tree_(Prepared(fs_)), copy_out_(*tree_, kBlock) {
    Share place;
    place.length = 4 * kBlock;
    EXPECT_EQ(*copy_out_.Add(testing::OpenFd(fs_, "file").get(), {place}), place.length);
  }

  static std::unique_ptr<FileTree> Prepared(FakeFilesystem& fs) {
    fs.AddFile("/data/file", Bytes(1, 4 * kBlock - 100));
    return testing::OpenData(fs);
  }

  FakeFilesystem fs_;
  const std::unique_ptr<FileTree> tree_;
  CopyOut copy_out_;
};

TEST_F(CopyOutTest, CopiesWholeBlocksAndTheOddEndApart) {
  EXPECT_THAT(copy_out_.Flush(Stop()), IsOk());
  ASSERT_EQ(copy_out_.copies().size(), 2U);
  std::string copied;
  for (const CopyOut::Copied& copy : copy_out_.copies()) {
    std::string bytes(copy.length, 0);
    EXPECT_EQ(*ReadFully(copy_out_.fd(copy.file), &bytes[0], bytes.size(), copy.offset), copy.length);
    copied += bytes;
  }
  EXPECT_EQ(copied, fs_.Content("/data/file"));
  EXPECT_EQ(copy_out_.size(), 3 * kBlock);
}

// It would become as many extents in each place.
TEST_F(CopyOutTest, WhatIsReadPieceByPieceIsOneCopy) {
  constexpr uint64_t kLength = 3 << 20;
  fs_.AddFile("/data/long", Bytes(2, kLength));
  Share place;
  place.length = kLength;
  copy_out_.Clear();
  EXPECT_EQ(*copy_out_.Add(testing::OpenFd(fs_, "long").get(), {place}), kLength);
  ASSERT_EQ(copy_out_.copies().size(), 1U);
  EXPECT_EQ(copy_out_.copies()[0].length, kLength);
  EXPECT_EQ(copy_out_.copies()[0].places[0].length, kLength);
}

TEST_F(CopyOutTest, AStopEndsTheWaitForTheDisk) {
  Stop stop;
  stop.Request();
  EXPECT_THAT(copy_out_.Flush(stop), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace cowherd
