#include "server/dedupe/ranges.h"

#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/fs/fake_filesystem.h"
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
using Operation = FakeFilesystem::Operation;

class RangesTest : public ::testing::Test {
 protected:
  RangesTest() { fs_.AddFile("/data/source", Blocks(1, 64)); }

  // Sharing the whole source, from its beginning.
  DedupeRequest Request(const std::vector<std::string>& destinations) {
    DedupeRequest request;
    request.source = {{&data_, "source"}, 0};
    request.length = fs_.Content("/data/source").size();
    for (const std::string& name : destinations) request.destinations.push_back({{&data_, name}, 0});
    return request;
  }

  absl::StatusOr<RangesResult> Dedupe(const DedupeRequest& request) {
    return DedupeRanges(fs_, fs_, request, stop_);
  }

  // So many files with the source's content.
  std::vector<std::string> AddCopies(size_t count) {
    std::vector<std::string> names;
    for (size_t i = 0; i < count; ++i) {
      names.push_back(absl::StrCat("copy", i));
      fs_.AddFile("/data/" + names.back(), fs_.Content("/data/source"));
    }
    return names;
  }

  void ExpectAllShared(OpenPlaces& places, const std::vector<std::string>& names) {
    const auto result = DedupeRanges(fs_, places, Request(names), stop_);
    ASSERT_THAT(result, IsOk());
    for (const TargetResult& target : result->targets) EXPECT_EQ(target.outcome, DedupeOutcome::kDeduped);
  }

  const Root data_{"data", "/data", "/data"};
  FakeFilesystem fs_;
  Stop stop_;
};

TEST_F(RangesTest, DestinationsThatCannotBeOpenedFailAlone) {
  fs_.AddFile("/data/good", Blocks(1, 64));
  fs_.AddFile("/data/other", Blocks(2, 64));
  fs_.AddFile("/data/locked", Blocks(1, 64));
  fs_.AddFile("/data/short", Blocks(1, 63));
  fs_.AddDirectory("/data/directory");
  fs_.AddFifo("/data/fifo");
  fs_.AddSymlink("/data/symlink");
  fs_.Fail(Operation::kOpen, "/data/locked", EACCES);
  fs_.AddFile("/data/swap", Blocks(1, 64));
  fs_.Fail(Operation::kDedupeTarget, "/data/swap", ETXTBSY);
  const DedupeRequest request =
      Request({"absent", "directory", "fifo", "symlink", "locked", "other", "short", "swap", "good"});
  const absl::StatusOr<RangesResult> result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  ASSERT_EQ(result->targets.size(), 9U);
  const int errnos[] = {ENOENT, EISDIR, EINVAL, ELOOP, EACCES, 0, EINVAL, ETXTBSY, 0};
  for (size_t i = 0; i < 9; ++i) {
    SCOPED_TRACE(request.destinations[i].path.relative);
    EXPECT_THAT(result->targets[i].error, HasErrno(errnos[i]));
    EXPECT_EQ(result->targets[i].outcome == DedupeOutcome::kFailed, errnos[i] != 0);
  }
  EXPECT_THAT(result->targets[2].error, HasReason("NOT_REGULAR"));
  EXPECT_EQ(result->targets[5].outcome, DedupeOutcome::kDiffers);
  EXPECT_EQ(result->targets[8].outcome, DedupeOutcome::kDeduped);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/good", 0, 64 * kBlock), 64 * kBlock);
  EXPECT_TRUE(result->shared.empty());
}

TEST_F(RangesTest, SourceThatCannotBeOpenedIsTheStatus) {
  fs_.AddFile("/data/good", Blocks(1, 64));
  const DedupeRequest request = Request({"good"});
  fs_.Remove("/data/source");
  EXPECT_THAT(Dedupe(request), HasErrno(ENOENT));
  EXPECT_THAT(Dedupe(request), HasField("source.path"));
  fs_.AddDirectory("/data/source");
  EXPECT_THAT(Dedupe(request), HasErrno(EISDIR));
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

TEST_F(RangesTest, AbsentRootIsTheStatus) {
  const DedupeRequest request = Request({"good"});
  fs_.Remove("/data");
  EXPECT_THAT(Dedupe(request), HasReason("ROOT_ABSENT"));
  EXPECT_THAT(Dedupe(request), HasField("source.path"));
}

TEST_F(RangesTest, AbsentRootOfADestinationIsItsOutcome) {
  const Root more{"more", "/more", "/mnt/more"};
  DedupeRequest request = Request({});
  request.destinations.push_back({{&more, "b"}, 0});
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result->targets[0].error, HasReason("ROOT_ABSENT"));
}

TEST_F(RangesTest, RequestsThatWaitTogetherOpenEachPlaceOnce) {
  const std::string content = fs_.Content("/data/source");
  fs_.AddFile("/data/good", content);
  OpenPlaces places(fs_);
  const auto first = DedupeRanges(fs_, places, Request({"good", "late"}), stop_);
  ASSERT_THAT(first, IsOk());
  EXPECT_EQ(first->targets[0].outcome, DedupeOutcome::kDeduped);
  EXPECT_THAT(first->targets[1].error, HasErrno(ENOENT));

  // What is open stays so; what was not there is looked for again.
  fs_.Fail(Operation::kOpenRoot, "/data", EIO);
  fs_.Fail(Operation::kOpen, "/data/source", EIO);
  fs_.Fail(Operation::kOpen, "/data/good", EIO);
  fs_.AddFile("/data/late", content);
  const auto second = DedupeRanges(fs_, places, Request({"good", "late"}), stop_);
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->targets[0].outcome, DedupeOutcome::kDeduped);
  EXPECT_EQ(second->targets[1].outcome, DedupeOutcome::kDeduped);

  EXPECT_THAT(Dedupe(Request({"good"})), HasErrno(EIO));
}

TEST_F(RangesTest, WhatACallOfTheKernelTakesStaysOpen) {
  OpenPlaces places(fs_);
  const std::vector<std::string> names = AddCopies(kMaxDedupeTargets);
  ExpectAllShared(places, names);
  fs_.Fail(Operation::kOpen, "/data/source", EIO);
  for (const std::string& name : names) fs_.Fail(Operation::kOpen, "/data/" + name, EIO);
  ExpectAllShared(places, names);
}

TEST_F(RangesTest, FilesBeyondThoseKeptAreOpenedAgain) {
  OpenPlaces places(fs_);
  const std::vector<std::string> names = AddCopies(200);
  for (int round = 0; round < 2; ++round) ExpectAllShared(places, names);
}

TEST_F(RangesTest, RangeBeyondTheSourceIsTheStatus) {
  fs_.AddFile("/data/good", Blocks(1, 64));
  DedupeRequest request = Request({"good"});
  request.length += 1;
  EXPECT_THAT(Dedupe(request), HasField("length"));
  EXPECT_THAT(Dedupe(request), HasErrno(EINVAL));
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

TEST_F(RangesTest, RefusalOfTheFirstCallIsTheStatus) {
  fs_.AddFile("/data/good", Blocks(1, 64));
  fs_.Fail(Operation::kDedupeSource, "/data/source", EOPNOTSUPP);
  EXPECT_THAT(Dedupe(Request({"good"})), HasErrno(EOPNOTSUPP));
  EXPECT_THAT(Dedupe(Request({"good"})), HasField("source"));
}

TEST_F(RangesTest, ThreeHundredDestinations) {
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) {
    names.push_back(absl::StrCat("copy", i));
    fs_.AddFile("/data/" + names.back(), Blocks(i == 200 ? 2 : 1, 64));
  }
  const auto result = Dedupe(Request(names));
  ASSERT_THAT(result, IsOk());
  ASSERT_EQ(result->targets.size(), 300U);
  for (size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(result->targets[i].outcome, i == 200 ? DedupeOutcome::kDiffers : DedupeOutcome::kDeduped) << i;
  }
  // 127 are open at a time, and 64 of 256 KiB are 16 MiB.
  ASSERT_EQ(fs_.dedupe_calls().size(), 5U);
  EXPECT_EQ(fs_.dedupe_calls()[0].targets.size(), 64U);
  EXPECT_EQ(fs_.dedupe_calls()[1].targets.size(), 63U);
  EXPECT_EQ(fs_.dedupe_calls()[4].targets.size(), 46U);
}

TEST_F(RangesTest, LaterRefusalOfTheSourceIsAnOutcome) {
  const std::vector<std::string> names = AddCopies(130);
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall& call) {
    if (call.targets.size() < 63) fs_.Fail(Operation::kDedupeSource, "/data/source", EIO);
  });
  const auto result = Dedupe(Request(names));
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->targets[126].outcome, DedupeOutcome::kDeduped);
  EXPECT_EQ(result->targets[127].outcome, DedupeOutcome::kFailed);
  EXPECT_THAT(result->targets[129].error, HasErrno(EIO));
}

TEST_F(RangesTest, UpTo128KiBIsOneComparison) {
  fs_.AddFile("/data/source", Bytes(1, 128 << 10));
  fs_.AddFile("/data/good", Bytes(1, 128 << 10));
  DedupeRequest request = Request({"good"});
  request.max_bytes_per_call = 128 << 10;
  ASSERT_THAT(Dedupe(request), IsOk());
  ASSERT_EQ(fs_.dedupe_calls().size(), 1U);
  EXPECT_EQ(fs_.dedupe_calls()[0].length, uint64_t{128} << 10);
}

TEST_F(RangesTest, SameFile) {
  fs_.AddFile("/data/source", Blocks(1, 4) + Blocks(1, 4));
  DedupeRequest request = Request({"source"});
  request.length = 4 * kBlock;
  request.destinations[0].offset = 4 * kBlock;
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->targets[0].outcome, DedupeOutcome::kDeduped);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/source", 4 * kBlock, 4 * kBlock), 4 * kBlock);
}

TEST_F(RangesTest, MeasuresWhatIsShared) {
  fs_.AddFile("/data/same", Blocks(1, 64));
  fs_.AddFile("/data/partly", Blocks(1, 32) + Blocks(2, 32));
  fs_.AddDirectory("/data/directory");
  DedupeRequest request = Request({"same", "partly", "directory"});
  request.max_bytes_per_call = 128 << 10;
  request.measure_shared = true;
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->shared, (std::vector<uint64_t>{64 * kBlock, 32 * kBlock, 0}));
  EXPECT_EQ(result->targets[1].bytes_accepted, 32 * kBlock);
}

TEST_F(RangesTest, MeasuresWhatIsLongPieceByPiece) {
  constexpr uint64_t kLength = 70 << 20;
  fs_.AddFile("/data/source", std::string(kLength, 'x'));
  fs_.AddFile("/data/partly", std::string(kLength - kBlock, 'x') + Blocks(2, 1));
  DedupeRequest request = Request({"partly"});
  request.length = kLength;
  request.max_bytes_per_call = 1 << 20;
  request.measure_shared = true;
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->shared, std::vector<uint64_t>{69 << 20});
}

TEST_F(RangesTest, MeasuringIsHonestWhereTheKernelIsNot) {
  fs_.AddFile("/data/source", Bytes(1, 2 * kBlock + 100));
  fs_.AddFile("/data/tail_at_both_ends", Bytes(1, 2 * kBlock + 100));
  fs_.AddFile("/data/longer", Bytes(1, 2 * kBlock + 100) + "more");
  DedupeRequest request = Request({"tail_at_both_ends", "longer"});
  request.measure_shared = true;
  auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->targets[0].bytes_accepted, 2 * kBlock + 100);
  EXPECT_EQ(result->targets[1].bytes_accepted, 2 * kBlock + 100);
  EXPECT_EQ(result->shared, (std::vector<uint64_t>{2 * kBlock + 100, 2 * kBlock}));

  fs_.KeepInline(2048);
  fs_.AddFile("/data/source", Bytes(1, 1000));
  fs_.AddFile("/data/inline", Bytes(1, 1000));
  request = Request({"inline"});
  request.measure_shared = true;
  result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->targets[0].bytes_accepted, 1000U);
  EXPECT_EQ(result->shared, (std::vector<uint64_t>{0}));
}

TEST_F(RangesTest, SaysWhyItCouldNotMeasure) {
  fs_.AddFile("/data/good", Blocks(1, 64));
  fs_.Fail(Operation::kExtents, "/data/good", EIO);
  DedupeRequest request = Request({"good"});
  request.measure_shared = true;
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->targets[0].outcome, DedupeOutcome::kDeduped);
  EXPECT_THAT(result->targets[0].error, HasErrno(EIO));
}

TEST_F(RangesTest, StopLeavesTheRestAndDoesNotMeasureIt) {
  std::vector<std::string> names;
  for (int i = 0; i < 200; ++i) {
    names.push_back(absl::StrCat("copy", i));
    fs_.AddFile("/data/" + names.back(), Blocks(1, 64));
  }
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) { stop_.Request(); });
  // An answer that waits for extents to be flushed may come after the deadline.
  for (const std::string& name : names) fs_.Fail(Operation::kExtents, "/data/" + name, EIO);
  DedupeRequest request = Request(names);
  request.measure_shared = true;
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->targets[0].outcome, DedupeOutcome::kDeduped);
  EXPECT_THAT(result->targets[0].error, HasReason("CANCELLED"));
  EXPECT_EQ(result->targets[199].outcome, DedupeOutcome::kStopped);
  EXPECT_THAT(result->targets[199].error, HasReason("CANCELLED"));
  EXPECT_EQ(result->shared.size(), 200U);
  EXPECT_EQ(fs_.dedupe_calls().size(), 1U);
}

TEST_F(RangesTest, OneFileManyTimes) {
  fs_.AddFile("/data/a", Blocks(1, 64));
  DedupeRequest request = Request({"a", "a", "a"});
  const auto result = Dedupe(request);
  ASSERT_THAT(result, IsOk());
  for (const TargetResult& target : result->targets) EXPECT_EQ(target.outcome, DedupeOutcome::kDeduped);
}

}  // namespace
}  // namespace cowherd
