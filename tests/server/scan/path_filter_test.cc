#include "server/scan/path_filter.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

TEST(PathFilterTest, NoGlobsMeanAll) {
  const PathFilter filter({}, {});
  EXPECT_TRUE(filter.WantsFile("a"));
  EXPECT_TRUE(filter.WantsFile(".hidden/\xff\n"));
  EXPECT_TRUE(filter.EntersDirectory("a/b"));
}

TEST(PathFilterTest, GlobWithoutSlashIsForTheNameAlone) {
  const PathFilter filter({"*.img"}, {});
  EXPECT_TRUE(filter.WantsFile("a.img"));
  EXPECT_TRUE(filter.WantsFile("d.x/e/a.img"));
  EXPECT_FALSE(filter.WantsFile("a.img/b"));
  EXPECT_FALSE(filter.WantsFile("a.imgx"));
  EXPECT_TRUE(filter.EntersDirectory("no_img"));
}

TEST(PathFilterTest, GlobWithSlashIsForTheWholePathAndStarsCrossSlashes) {
  const PathFilter filter({"vm/*.img"}, {});
  EXPECT_TRUE(filter.WantsFile("vm/a.img"));
  EXPECT_TRUE(filter.WantsFile("vm/b/c/a.img"));
  EXPECT_FALSE(filter.WantsFile("x/vm/a.img"));
  EXPECT_FALSE(filter.WantsFile("a.img"));
}

TEST(PathFilterTest, ReachesWhatAWalkWouldComeTo) {
  const PathFilter filter({"*.img"}, {"tmp"});
  EXPECT_TRUE(filter.Reaches({""}, "a.img"));
  EXPECT_TRUE(filter.Reaches({""}, "d/e/a.img"));
  EXPECT_FALSE(filter.Reaches({""}, "d/tmp/a.img"));
  EXPECT_FALSE(filter.Reaches({""}, "d/a.txt"));
  EXPECT_TRUE(filter.Reaches({"x", "d"}, "d/e/a.img"));
  EXPECT_FALSE(filter.Reaches({"d"}, "dd/a.img"));
  EXPECT_FALSE(filter.Reaches({"d/e"}, "d/a.img"));
  // What is named itself is wanted, and entered.
  EXPECT_TRUE(filter.Reaches({"d/a.txt"}, "d/a.txt"));
  EXPECT_TRUE(filter.Reaches({"tmp"}, "tmp/a.img"));
}

TEST(PathFilterTest, ExcludeWins) {
  const PathFilter filter({"*.img"}, {"tmp*", "vm/old/*"});
  EXPECT_FALSE(filter.WantsFile("tmp.img"));
  EXPECT_FALSE(filter.WantsFile("vm/old/a.img"));
  EXPECT_TRUE(filter.WantsFile("vm/a.img"));
  EXPECT_FALSE(filter.EntersDirectory("a/tmp"));
  EXPECT_FALSE(filter.EntersDirectory("vm/old/x"));
  EXPECT_TRUE(filter.EntersDirectory("vm"));
}

TEST(PathFilterTest, BytesThatAreNotUtf8Match) {
  const PathFilter filter({}, {"*\xff*", "a\nb"});
  EXPECT_FALSE(filter.WantsFile("d/x\xffy"));
  EXPECT_FALSE(filter.WantsFile("a\nb"));
  EXPECT_TRUE(filter.WantsFile("ab"));
}

}  // namespace
}  // namespace cowherd
