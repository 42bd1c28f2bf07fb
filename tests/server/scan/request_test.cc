#include "server/scan/request.h"

#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using ::testing::ElementsAre;
using testing::HasField;
using testing::HasReason;
using testing::IsOk;

class ScanRequestTest : public ::testing::Test {
 protected:
  ScanRequestTest() { scan_.set_root("data"); }

  absl::StatusOr<RootedScan> Check() { return CheckScan(scan_, roots_); }

  const RootTable roots_ = testing::Roots();
  v1::TreeScan scan_;
};

TEST_F(ScanRequestTest, Defaults) {
  const auto checked = Check();
  ASSERT_THAT(checked, IsOk());
  EXPECT_EQ(checked->root->name, "data");
  EXPECT_TRUE(checked->request.paths.empty());
  EXPECT_EQ(checked->request.min_extent_length, uint64_t{16} << 10);
  EXPECT_EQ(checked->request.min_file_size, uint64_t{4} << 10);
  EXPECT_EQ(checked->request.workers, 2U);
  EXPECT_FALSE(checked->request.dry_run);
  EXPECT_FALSE(checked->request.full_scan);
  EXPECT_EQ(checked->request.min_freed_per_moved, 4U);
  EXPECT_EQ(checked->request.max_extents_per_file, 65536U);
}

TEST_F(ScanRequestTest, AllGiven) {
  scan_.add_paths("/data/vm");
  scan_.add_paths("/data");
  v1::ScanOptions& options = *scan_.mutable_options();
  options.add_include("*.img");
  options.add_exclude("\xff");
  options.set_min_extent_length(1);
  options.set_min_file_size(2);
  options.set_dry_run(true);
  options.set_full_scan(true);
  options.set_bytes_per_second(3);
  options.set_workers(64);
  options.set_min_freed_per_moved(5);
  options.set_max_extents_per_file(6);
  const auto checked = Check();
  ASSERT_THAT(checked, IsOk());
  EXPECT_THAT(checked->request.paths, ElementsAre("vm", ""));
  EXPECT_THAT(checked->request.include, ElementsAre("*.img"));
  EXPECT_THAT(checked->request.exclude, ElementsAre("\xff"));
  EXPECT_EQ(checked->request.min_extent_length, 1U);
  EXPECT_EQ(checked->request.min_file_size, 2U);
  EXPECT_TRUE(checked->request.dry_run);
  EXPECT_TRUE(checked->request.full_scan);
  EXPECT_EQ(checked->request.bytes_per_second, 3U);
  EXPECT_EQ(checked->request.workers, 64U);
  EXPECT_EQ(checked->request.min_freed_per_moved, 5U);
  EXPECT_EQ(checked->request.max_extents_per_file, 6U);
}

TEST_F(ScanRequestTest, FaultsNameTheField) {
  scan_.set_root("none");
  EXPECT_THAT(Check(), HasField("scan.root"));
  EXPECT_THAT(Check(), HasReason("ROOT_UNKNOWN"));
  scan_.set_root("");
  EXPECT_THAT(Check(), HasField("scan.root"));
  scan_.set_root("data");
  scan_.add_paths("/data/a");
  scan_.add_paths("/data/../b");
  EXPECT_THAT(Check(), HasField("scan.paths[1]"));
  scan_.set_paths(1, "/etc");
  EXPECT_THAT(Check(), HasReason("OUTSIDE_ROOTS"));
  scan_.set_paths(1, "/more/a");
  EXPECT_THAT(Check(), HasField("scan.paths[1]"));
  scan_.clear_paths();
  scan_.mutable_options()->set_workers(65);
  EXPECT_THAT(Check(), HasField("scan.options.workers"));
  scan_.mutable_options()->set_workers(0);
  scan_.mutable_options()->set_min_extent_length(UINT64_MAX);
  EXPECT_THAT(Check(), HasField("scan.options.min_extent_length"));
}

}  // namespace
}  // namespace cowherd
