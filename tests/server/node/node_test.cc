#include "server/node/node.h"

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/scan/pace.h"
#include "server/scan/pressure_gate.h"
#include "tests/server/node/node_under_test.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::Bytes;
using testing::HasErrno;
using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::kBlock;
using testing::NodeUnderTest;

class NodeTest : public ::testing::Test {
 protected:
  v1::RunTaskResponse RunToTheEnd(const v1::RunTaskRequest& request) { return RunToTheEnd(node_, request); }

  static v1::RunTaskResponse RunToTheEnd(Node& node, const v1::RunTaskRequest& request) {
    const auto run = node.RunTask(request);
    EXPECT_THAT(run, IsOk());
    while (!(*run)->ended()) std::this_thread::yield();
    return (*run)->Report();
  }

  NodeUnderTest under_test_;
  FakeFilesystem& fs_ = under_test_.fs;
  Node& node_ = *under_test_.node;
  Stop stop_;
};

TEST_F(NodeTest, DescribesItselfWithARootThatIsNotThere) {
  const v1::Node node = node_.Describe();
  EXPECT_EQ(node.name(), "n1");
  EXPECT_EQ(node.labels().at("rack"), "r7");
  EXPECT_NE(node.version(), "");
  EXPECT_NE(node.kernel(), "");
  EXPECT_GT(node.started().seconds(), 0);
  EXPECT_EQ(node.max_tasks(), 2U);
  ASSERT_EQ(node.roots_size(), 2);
  EXPECT_EQ(node.roots(0).path(), "/data");
  EXPECT_EQ(node.roots(0).filesystem(), "btrfs");
  EXPECT_EQ(node.roots(0).block_size(), kBlock);
  EXPECT_TRUE(node.roots(0).dedupe_supported());
  EXPECT_GT(node.roots(0).free_bytes(), 0U);
  EXPECT_FALSE(node.roots(0).has_error());
  EXPECT_EQ(node.roots(1).error().reason(), "ROOT_ABSENT");
  EXPECT_EQ(node.roots(1).filesystem(), "");
  EXPECT_EQ(node.profile(), "full");
  EXPECT_EQ(node.capabilities_size(), 2);
  // Access times.
  ASSERT_EQ(node.roots(0).lacks_size(), 1);
  EXPECT_EQ(node.roots(0).lacks(0).capability(), "CAP_FOWNER");
  EXPECT_FALSE(node.roots(0).lacks(0).needed());
  fs_.AddDirectory("/mnt/more");  // mounted while the node runs
  EXPECT_FALSE(node_.Describe().roots(1).has_error());
}

TEST_F(NodeTest, VolumesForTheMetrics) {
  const auto volumes = LookAtVolumes(under_test_.roots, under_test_.rights, fs_, fs_);
  ASSERT_EQ(volumes.size(), 2U);
  EXPECT_TRUE(volumes[0].present);
  EXPECT_EQ(volumes[0].name, "data");
  EXPECT_GT(volumes[0].size_bytes, 0U);
  EXPECT_FALSE(volumes[1].present);
  EXPECT_EQ(volumes[0].missing_capabilities, std::vector<std::string>());
  EXPECT_EQ(LookAtVolumes(under_test_.roots, Rights(), fs_, fs_)[0].missing_capabilities,
            (std::vector<std::string>{"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"}));
}

TEST_F(NodeTest, DedupeRangesTellsEachDestination) {
  fs_.AddFile("/data/a", Blocks(1, 4));
  fs_.AddFile("/data/b", Blocks(1, 4));
  fs_.AddFile("/data/c", Blocks(2, 4));
  auto request = NodeUnderTest::Ranges("a", 4 * kBlock, {"b", "c", "\xff"});
  request.set_measure_shared(true);
  const auto response = node_.DedupeRanges(request, stop_);
  ASSERT_THAT(response, IsOk());
  EXPECT_EQ(response->bytes_requested(), 12 * kBlock);
  EXPECT_EQ(response->bytes_accepted(), 4 * kBlock);
  EXPECT_EQ(response->bytes_shared(), 4 * kBlock);
  ASSERT_EQ(response->results_size(), 3);
  EXPECT_EQ(response->results(0).outcome(), v1::DEDUPED);
  EXPECT_EQ(response->results(1).outcome(), v1::DATA_DIFFERS);
  EXPECT_EQ(response->results(2).outcome(), v1::FAILED);
  EXPECT_EQ(response->results(2).error().errno_name(), "ENOENT");
  EXPECT_EQ(response->results(2).destination().path(), "/data/\xff");
  const Totals sums = under_test_.book.Sums()["data"];
  EXPECT_EQ(sums.bytes_requested, 12 * kBlock);
  EXPECT_EQ(sums.ranges_deduped + sums.ranges_differ + sums.ranges_failed, 3U);
}

TEST_F(NodeTest, DedupeRangesRefusesAsAWhole) {
  EXPECT_THAT(node_.DedupeRanges(NodeUnderTest::Ranges("a", 0, {"b"}), stop_), HasField("length"));
  EXPECT_THAT(node_.DedupeRanges(NodeUnderTest::Ranges("absent", 1, {"b"}), stop_), HasErrno(ENOENT));
}

TEST_F(NodeTest, ScanTask) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  const auto report = RunToTheEnd(NodeUnderTest::ScanTask("t"));
  EXPECT_FALSE(report.summary().has_error());
  EXPECT_EQ(report.summary().totals().bytes_won(), static_cast<int64_t>(16 * kBlock));
  EXPECT_EQ(report.summary().totals().bytes_freeable(), 16 * kBlock);
  EXPECT_EQ(report.summary().totals().files_read(), report.summary().totals().files_scanned());
  ASSERT_EQ(report.summary().largest().groups_size(), 1);
  EXPECT_EQ(report.summary().largest().groups(0).bytes_freeable(), 16 * kBlock);
  EXPECT_EQ(under_test_.book.Sums()["data"].bytes_won, static_cast<int64_t>(16 * kBlock));
  EXPECT_EQ(node_.Describe().running_tasks(), 0U);
}

TEST_F(NodeTest, AScanTaskPausesUnderPressure) {
  // Somebody waited all of the eleven seconds that scans went on, and nobody does any more.
  PressureGate gate(0.2);
  const PressureGate::Time now = std::chrono::steady_clock::now();
  for (int ago : {11, 1, 0}) gate.Look(now - std::chrono::seconds(ago), std::chrono::seconds(100 - ago));
  ASSERT_TRUE(gate.paused());
  PressurePause pressure(gate, [] { return "some total=100000000\n"; });
  NodeUnderTest under_test(/*max_tasks=*/2, &pressure);
  under_test.fs.AddFile("/data/a", Blocks(1, 16));
  const auto report = RunToTheEnd(*under_test.node, NodeUnderTest::ScanTask("t"));
  EXPECT_FALSE(report.summary().has_error());
  EXPECT_GT(report.summary().totals().pressure_wait_ns(), 0U);
}

TEST_F(NodeTest, ScanTaskOfAnAbsentRootFails) {
  auto request = NodeUnderTest::ScanTask("t");
  request.mutable_scan()->set_root("more");
  EXPECT_EQ(RunToTheEnd(request).summary().error().reason(), "ROOT_ABSENT");
}

TEST_F(NodeTest, RangesTaskGivesEachResultInOrder) {
  fs_.AddFile("/data/a", Blocks(1, 4));
  fs_.AddFile("/data/b", Blocks(1, 4));
  fs_.AddFile("/data/c", Blocks(2, 4));
  v1::RunTaskRequest request;
  request.set_task_id("t");
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {"b"});
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("absent", 4 * kBlock, {"b", "c"});
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {"c"});
  const v1::TaskSummary summary = RunToTheEnd(request).summary();
  // The task failed, with the others done.
  EXPECT_EQ(summary.error().errno_name(), "ENOENT");
  ASSERT_EQ(summary.ranges_size(), 3);
  EXPECT_EQ(summary.ranges(0).response().results(0).outcome(), v1::DEDUPED);
  EXPECT_EQ(summary.ranges(1).error().errno_name(), "ENOENT");
  EXPECT_EQ(summary.ranges(1).error().field(), "source.path");
  EXPECT_EQ(summary.ranges(2).response().results(0).outcome(), v1::DATA_DIFFERS);
  EXPECT_EQ(summary.totals().ranges_deduped(), 1U);
  EXPECT_EQ(summary.totals().ranges_failed(), 2U);
  EXPECT_EQ(summary.totals().ranges_differ(), 1U);
  // Counted once for the root too.
  EXPECT_EQ(under_test_.book.Sums()["data"].ranges_deduped, 1U);
}

TEST_F(NodeTest, RangesTaskGoesAtItsRate) {
  for (const char* path : {"/data/a", "/data/b", "/data/c"}) fs_.AddFile(path, Blocks(1, 4));
  v1::RunTaskRequest request;
  request.set_task_id("t");
  for (const char* path : {"b", "c"}) {
    *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {path});
  }
  // What a tenth of a second gives may come at once; each of the two is 32 KiB.
  request.mutable_ranges()->set_bytes_per_second(256 << 10);
  const v1::TaskSummary summary = RunToTheEnd(request).summary();
  EXPECT_EQ(summary.totals().ranges_deduped(), 2U);
  EXPECT_GT(summary.totals().rate_wait_ns(), 0U);
}

TEST_F(NodeTest, CancelledRangesTaskKeepsWhatWasDone) {
  for (const char* path : {"/data/a", "/data/b", "/data/c"}) fs_.AddFile(path, Blocks(1, 4));
  v1::RunTaskRequest request;
  request.set_task_id("t");
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {"b"});
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {"c"});
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) {
    v1::CancelTaskRequest cancel;
    cancel.set_task_id("t");
    EXPECT_THAT(node_.CancelTask(cancel), IsOk());
  });
  const v1::TaskSummary summary = RunToTheEnd(request).summary();
  EXPECT_EQ(summary.error().reason(), "CANCELLED");
  ASSERT_EQ(summary.ranges_size(), 1);
  EXPECT_EQ(summary.totals().ranges_deduped(), 1U);
}

TEST_F(NodeTest, ARangesTaskEndsWhenItsTimeIsOver) {
  for (const char* path : {"/data/a", "/data/b", "/data/c"}) fs_.AddFile(path, Blocks(1, 4));
  v1::RunTaskRequest request;
  request.set_task_id("t");
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {"b"});
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 4 * kBlock, {"c"});
  request.mutable_work_for()->set_nanos(50'000'000);
  const auto begin = std::chrono::steady_clock::now();
  fs_.BeforeDedupe([begin](const FakeFilesystem::DedupeCall&) {
    while (std::chrono::steady_clock::now() < begin + std::chrono::milliseconds(100))
      std::this_thread::yield();
  });
  const v1::TaskSummary summary = RunToTheEnd(request).summary();
  EXPECT_EQ(summary.error().reason(), "DEADLINE_EXCEEDED");
  ASSERT_EQ(summary.ranges_size(), 1);
  EXPECT_EQ(summary.totals().ranges_deduped(), 1U);
}

TEST_F(NodeTest, TaskFaultsNameTheField) {
  v1::RunTaskRequest request;
  request.set_task_id("t");
  request.mutable_work_for();
  EXPECT_THAT(node_.RunTask(request), HasField("work_for"));
  request.mutable_work_for()->set_seconds(367 * 24 * 3600);
  EXPECT_THAT(node_.RunTask(request), HasField("work_for"));
  request.Clear();
  EXPECT_THAT(node_.RunTask(request), HasField("task_id"));
  request.set_task_id("t");
  EXPECT_THAT(node_.RunTask(request), HasField("work"));
  request.mutable_ranges();
  EXPECT_THAT(node_.RunTask(request), HasField("ranges.requests"));
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 1, {"b"});
  *request.mutable_ranges()->add_requests() = NodeUnderTest::Ranges("a", 1, {"../b"});
  EXPECT_THAT(node_.RunTask(request), HasField("ranges.requests[1].destinations[0].path"));
  request.mutable_scan()->set_root("none");
  EXPECT_THAT(node_.RunTask(request), HasField("scan.root"));
}

TEST_F(NodeTest, StaleEpochMayNeitherRunNorCancel) {
  auto request = NodeUnderTest::ScanTask("t");
  request.set_epoch(3);
  RunToTheEnd(request);
  request.set_epoch(2);
  EXPECT_THAT(node_.RunTask(request), HasReason("STALE_EPOCH"));
  v1::CancelTaskRequest cancel;
  cancel.set_task_id("t");
  cancel.set_epoch(2);
  EXPECT_THAT(node_.CancelTask(cancel), HasReason("STALE_EPOCH"));
  cancel.set_epoch(4);
  EXPECT_THAT(node_.CancelTask(cancel), IsOk());
}

TEST_F(NodeTest, StopTasksEndsWhatRuns) {
  for (int i = 0; i < 5; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(1, 16));
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) { node_.StopTasks(); });
  EXPECT_EQ(RunToTheEnd(NodeUnderTest::ScanTask("t")).summary().error().reason(), "NODE_STOPPING");
  EXPECT_THAT(node_.RunTask(NodeUnderTest::ScanTask("t2")), HasReason("NODE_STOPPING"));
}

TEST_F(NodeTest, FindSharesNothingWhateverIsAskedFor) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  v1::FindDuplicatesRequest request;
  request.mutable_scan()->set_root("data");
  const auto scan = node_.CheckFind(request);
  ASSERT_THAT(scan, IsOk());
  const auto totals = node_.OpenTotals(*scan->root);
  std::vector<v1::DuplicateRange> found;
  EXPECT_THAT(
      node_.FindDuplicates(*scan, stop_, *totals, [&](const v1::DuplicateRange& d) { found.push_back(d); }),
      IsOk());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].source().path(), "/data/a");
  EXPECT_EQ(found[0].destination().path(), "/data/b");
  EXPECT_EQ(found[0].length(), 16 * kBlock);
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

TEST_F(NodeTest, GetExtentsPages) {
  fs_.AddFile("/data/a", "");
  for (uint64_t i = 0; i < 25; ++i) fs_.Write("/data/a", 2 * i * kBlock, Bytes(i, kBlock));
  v1::GetExtentsRequest request;
  request.set_path("/data/a");
  EXPECT_EQ(node_.GetExtents(request)->extents_size(), 25);
  EXPECT_EQ(node_.GetExtents(request)->next_offset(), 0U);
  EXPECT_EQ(node_.GetExtents(request)->file_size(), 49 * kBlock);
  request.set_max_extents(10);
  std::vector<uint64_t> offsets;
  int pages = 0;
  do {
    const auto response = node_.GetExtents(request);
    ASSERT_THAT(response, IsOk());
    for (const v1::Extent& extent : response->extents()) offsets.push_back(extent.offset());
    request.set_offset(response->next_offset());
    ++pages;
  } while (request.offset() != 0);
  EXPECT_EQ(pages, 3);
  ASSERT_EQ(offsets.size(), 25U);
  for (uint64_t i = 0; i < 25; ++i) EXPECT_EQ(offsets[i], 2 * i * kBlock);
  request.set_max_extents(0);
  request.set_offset(10 * kBlock);
  request.set_length(5 * kBlock);
  EXPECT_EQ(node_.GetExtents(request)->extents_size(), 3);
  request.set_offset(1000 * kBlock);
  EXPECT_EQ(node_.GetExtents(request)->extents_size(), 0);
}

TEST_F(NodeTest, GetExtentsFaultsNameTheField) {
  v1::GetExtentsRequest request;
  EXPECT_THAT(node_.GetExtents(request), HasField("path"));
  request.set_path("/etc/passwd");
  EXPECT_THAT(node_.GetExtents(request), HasReason("OUTSIDE_ROOTS"));
  request.set_path("/data/absent");
  EXPECT_THAT(node_.GetExtents(request), HasErrno(ENOENT));
  EXPECT_THAT(node_.GetExtents(request), HasField("path"));
  request.set_path("/data");
  EXPECT_THAT(node_.GetExtents(request), HasErrno(EISDIR));
  request.set_path("/more/a");
  EXPECT_THAT(node_.GetExtents(request), HasReason("ROOT_ABSENT"));
  request.set_max_extents(10001);
  EXPECT_THAT(node_.GetExtents(request), HasField("max_extents"));
}

}  // namespace
}  // namespace cowherd
