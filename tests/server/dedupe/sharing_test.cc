#include "server/dedupe/sharing.h"

#include <cerrno>
#include <string>
#include <vector>

#include "server/fs/fake_filesystem.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {

bool operator==(const Stretch& a, const Stretch& b) { return a.offset == b.offset && a.length == b.length; }
void PrintTo(const Stretch& stretch, std::ostream* out) { *out << stretch.offset << "+" << stretch.length; }

namespace {

using testing::Blocks;
using testing::Bytes;
using testing::HasErrno;
using testing::IsOk;
using testing::kBlock;
using testing::OpenFd;

FileExtent Extent(uint64_t offset, uint64_t length, uint64_t physical) {
  FileExtent extent;
  extent.offset = offset;
  extent.length = length;
  extent.physical = physical;
  return extent;
}

FileExtent With(FileExtent extent, bool FileExtent::*flag) {
  extent.*flag = true;
  return extent;
}

struct Case {
  const char* name;
  std::vector<FileExtent> source;
  uint64_t source_offset;
  std::vector<FileExtent> destination;
  uint64_t destination_offset;
  uint64_t length;
  std::vector<Stretch> unshared;
};

class UnsharedStretchesTest : public ::testing::TestWithParam<Case> {};

TEST_P(UnsharedStretchesTest, Table) {
  const Case& c = GetParam();
  EXPECT_EQ(UnsharedStretches(c.source, c.source_offset, c.destination, c.destination_offset, c.length),
            c.unshared);
  // Which side is which does not matter.
  EXPECT_EQ(UnsharedStretches(c.destination, c.destination_offset, c.source, c.source_offset, c.length),
            c.unshared);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, UnsharedStretchesTest,
    ::testing::Values(
        Case{"Same", {Extent(0, 100, 1000)}, 0, {Extent(0, 100, 1000)}, 0, 100, {}},
        Case{"Other", {Extent(0, 100, 1000)}, 0, {Extent(0, 100, 2000)}, 0, 100, {{0, 100}}},
        Case{"NothingAsked", {Extent(0, 100, 1000)}, 0, {Extent(0, 100, 2000)}, 0, 0, {}},
        Case{"Shifted", {Extent(0, 100, 1000)}, 20, {Extent(500, 50, 1020)}, 500, 50, {}},
        Case{
            "SameExtentOtherPlaceInIt", {Extent(0, 100, 1000)}, 0, {Extent(0, 100, 1000)}, 10, 90, {{0, 90}}},
        Case{"CutElsewhere",
             {Extent(0, 30, 1000), Extent(30, 70, 1030)},
             0,
             {Extent(0, 60, 1000), Extent(60, 40, 1060)},
             0,
             100,
             {}},
        Case{"MiddleDiffers",
             {Extent(0, 100, 1000)},
             0,
             {Extent(0, 40, 1000), Extent(40, 20, 5000), Extent(60, 40, 1060)},
             0,
             100,
             {{40, 20}}},
        Case{"NeighboursAreOneStretch",
             {Extent(0, 100, 1000)},
             0,
             {Extent(0, 40, 3000), Extent(40, 20, 5000), Extent(60, 40, 1060)},
             0,
             100,
             {{0, 60}}},
        Case{"HoleInOne",
             {Extent(0, 100, 1000)},
             0,
             {Extent(0, 40, 1000), Extent(60, 40, 1060)},
             0,
             100,
             {{40, 20}}},
        Case{"HolesInBoth", {Extent(0, 40, 1000)}, 0, {Extent(0, 40, 1000)}, 0, 100, {{40, 60}}},
        Case{"NoExtents", {}, 0, {}, 0, 100, {{0, 100}}},
        Case{"ExtentsAroundTheRange",
             {Extent(0, 10, 1), Extent(10, 100, 1000), Extent(110, 9, 7)},
             20,
             {Extent(0, 10, 2), Extent(10, 100, 1000), Extent(110, 9, 8)},
             20,
             50,
             {}},
        Case{"Inline",
             {With(Extent(0, 100, 0), &FileExtent::inline_data)},
             0,
             {With(Extent(0, 100, 0), &FileExtent::inline_data)},
             0,
             100,
             {{0, 100}}},
        Case{"Delayed",
             {With(Extent(0, 100, 0), &FileExtent::delayed)},
             0,
             {With(Extent(0, 100, 0), &FileExtent::delayed)},
             0,
             100,
             {{0, 100}}},
        Case{"Unwritten",
             {With(Extent(0, 100, 1000), &FileExtent::unwritten)},
             0,
             {With(Extent(0, 100, 1000), &FileExtent::unwritten)},
             0,
             100,
             {{0, 100}}},
        Case{"EncodedSameAddress",
             {With(Extent(0, 100, 1000), &FileExtent::encoded)},
             0,
             {With(Extent(64, 100, 1000), &FileExtent::encoded)},
             80,
             50,
             {}},
        Case{"EncodedAndPlain",
             {With(Extent(0, 100, 1000), &FileExtent::encoded)},
             0,
             {Extent(0, 100, 1000)},
             0,
             100,
             {{0, 100}}},
        Case{"OddTail",
             {Extent(0, 8192, 1 << 20)},
             0,
             {Extent(0, 4096, 1 << 20), Extent(4096, 4096, 9 << 20)},
             0,
             5000,
             {{4096, 904}}}),
    [](const auto& info) { return info.param.name; });

TEST(SharingTest, AllExtentsAsksOnToTheEnd) {
  FakeFilesystem fs;
  // Every other block is a hole: 5000 extents, more than one call gives.
  fs.AddFile("/data/a", "");
  for (uint64_t i = 0; i < 5000; ++i) fs.Write("/data/a", 2 * i * kBlock, Bytes(i, kBlock));
  const auto extents = AllExtents(fs, OpenFd(fs, "a").get(), 0, 10000 * kBlock, false);
  ASSERT_THAT(extents, IsOk());
  ASSERT_EQ(extents->size(), 5000U);
  for (uint64_t i = 0; i < 5000; ++i) EXPECT_EQ((*extents)[i].offset, 2 * i * kBlock);
}

TEST(SharingTest, FindUnsharedLooksAtTheFiles) {
  FakeFilesystem fs;
  fs.AddFile("/data/a", Blocks(1, 4));
  fs.AddFile("/data/b", Blocks(1, 4));
  const Fd a = OpenFd(fs, "a");
  const Fd b = OpenFd(fs, "b");
  EXPECT_EQ(*FindUnshared(fs, a.get(), 0, b.get(), 0, 4 * kBlock, true),
            (std::vector<Stretch>{{0, 4 * kBlock}}));
  ASSERT_THAT(fs.Dedupe(a.get(), kBlock, 2 * kBlock, {{b.get(), kBlock}}), IsOk());
  EXPECT_EQ(*FindUnshared(fs, a.get(), 0, b.get(), 0, 4 * kBlock, true),
            (std::vector<Stretch>{{0, kBlock}, {3 * kBlock, kBlock}}));
  fs.Fail(FakeFilesystem::Operation::kExtents, "/data/b", EIO);
  EXPECT_THAT(FindUnshared(fs, a.get(), 0, b.get(), 0, kBlock, true), HasErrno(EIO));
}

}  // namespace
}  // namespace cowherd
