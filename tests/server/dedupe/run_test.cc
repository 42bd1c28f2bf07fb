#include "server/dedupe/run.h"

#include <cerrno>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "server/fs/fake_filesystem.h"
#include "server/fs/passing_ops.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::HasErrno;
using testing::HasReason;
using testing::IsOk;
using testing::kBlock;
using testing::OpenFd;
using Operation = FakeFilesystem::Operation;

class RunTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kLength = 8 * kBlock;

  RunTest() {
    for (const char* path : {"/data/source", "/data/a", "/data/b"}) fs_.AddFile(path, Blocks(1, 8));
  }

  absl::Status Run(DedupePlan& plan, uint64_t length = kLength) {
    const Fd source = OpenFd(fs_, "source");
    const Fd a = OpenFd(fs_, "a");
    const Fd b = OpenFd(fs_, "b");
    return RunDedupe(fs_, {source.get(), 0, length}, {{a.get(), 0}, {b.get(), 0}}, stop_, plan);
  }

  FakeFilesystem fs_;
  Stop stop_;
};

TEST_F(RunTest, SharesAll) {
  DedupePlan plan(kLength, 2, 3 * kBlock);
  EXPECT_THAT(Run(plan), IsOk());
  for (const TargetResult& result : plan.results()) {
    EXPECT_EQ(result.outcome, DedupeOutcome::kDeduped);
    EXPECT_EQ(result.bytes_accepted, kLength);
  }
  EXPECT_EQ(fs_.dedupe_calls().size(), 3U);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/a", 0, kLength), kLength);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/b", 0, kLength), kLength);
}

TEST_F(RunTest, ReadsAheadEachSideOnce) {
  fs_.SetCached(CachedPart::kMost);
  DedupePlan plan(kLength, 2, 3 * kBlock);
  EXPECT_THAT(Run(plan), IsOk());
  EXPECT_EQ(fs_.prefetched_bytes(), 3 * kLength);
}

TEST_F(RunTest, WaitsForNothingThatIsCached) {
  DedupePlan plan(kLength, 2, 3 * kBlock);
  EXPECT_THAT(Run(plan), IsOk());
  EXPECT_EQ(fs_.prefetched_bytes(), 0U);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/a", 0, kLength), kLength);
}

// What is compared in one call does not depend on what is cached.
TEST_F(RunTest, LongRangesAreReadOnceAndComparedAsAsked) {
  constexpr uint64_t kCall = 5 << 20;
  constexpr uint64_t kLong = 4 * kCall + kBlock;
  for (const char* path : {"/data/source", "/data/a", "/data/b"}) {
    fs_.AddFile(path, Blocks(1, kLong / kBlock));
  }
  fs_.SetCached(CachedPart::kLittle);
  DedupePlan plan(kLong, 2, kCall);
  EXPECT_THAT(Run(plan, kLong), IsOk());
  ASSERT_EQ(fs_.dedupe_calls().size(), 5U);
  EXPECT_EQ(fs_.dedupe_calls()[0].length, kCall);
  EXPECT_EQ(fs_.dedupe_calls()[0].targets.size(), 2U);
  EXPECT_EQ(fs_.prefetched_bytes(), 3 * kLong);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/b", 0, kLong), kLong);

  fs_.SetCached(CachedPart::kAll);
  DedupePlan again(kLong, 2, kCall);
  EXPECT_THAT(Run(again, kLong), IsOk());
  EXPECT_EQ(fs_.dedupe_calls().size(), 10U);
  EXPECT_EQ(fs_.prefetched_bytes(), 3 * kLong);
}

// So that each is a large folio where the kernel can read one.
TEST_F(RunTest, WhatIsReadIsCutWhereLargeFoliosEnd) {
  constexpr uint64_t kFolio = ExtentOps::kLargeFolio;
  constexpr uint64_t kLong = 9 * kFolio;
  class Recording : public PassingOps {
   public:
    using PassingOps::PassingOps;
    CachedPart Cached(int /*fd*/, uint64_t /*offset*/, uint64_t /*length*/) override {
      return CachedPart::kLittle;
    }
    void StartReading(int fd, uint64_t offset, uint64_t length) override {
      std::lock_guard<std::mutex> lock(mutex);
      begun[fd].push_back({offset, length});
    }
    std::mutex mutex;
    std::map<int, std::vector<std::pair<uint64_t, uint64_t>>> begun;
  };
  const std::string content = Blocks(1, kLong / kBlock + 1);
  fs_.AddFile("/data/source", content);
  fs_.AddFile("/data/a", Blocks(2, 4) + content);
  const Fd source = OpenFd(fs_, "source");
  const Fd a = OpenFd(fs_, "a");
  Recording ops(fs_);
  DedupePlan plan(kLong, 1, 3 * kFolio + 2 * kBlock);
  EXPECT_THAT(RunDedupe(ops, {source.get(), kBlock, kLong}, {{a.get(), 5 * kBlock}}, stop_, plan), IsOk());

  for (const auto& [fd, first] : {std::pair(source.get(), kBlock), {a.get(), 5 * kBlock}}) {
    uint64_t at = first;
    size_t cut_elsewhere = 0;
    for (const auto& [offset, length] : ops.begun[fd]) {
      EXPECT_EQ(offset, at);
      EXPECT_LT(length, 2 * kFolio);
      at = offset + length;
      cut_elsewhere += at % kFolio == 0 ? 0 : 1;
    }
    EXPECT_EQ(at, first + kLong);
    EXPECT_LE(cut_elsewhere, 3U);  // where the kernel's calls end
  }
}

TEST_F(RunTest, AStopLeavesTheRestUnread) {
  constexpr uint64_t kLong = 64 << 20;
  for (const char* path : {"/data/source", "/data/a", "/data/b"}) {
    fs_.AddFile(path, Blocks(1, kLong / kBlock));
  }
  fs_.SetCached(CachedPart::kLittle);
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) { stop_.Request(); });
  DedupePlan plan(kLong, 2, 4 << 20);
  EXPECT_THAT(Run(plan, kLong), IsOk());
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kStopped);
  EXPECT_LE(fs_.prefetched_bytes(), 3U * (8 << 20));
}

TEST_F(RunTest, GoesRoundAgainWhileThereIsProgress) {
  fs_.LimitProgress(kBlock);
  DedupePlan plan(kLength, 2, kLength);
  EXPECT_THAT(Run(plan), IsOk());
  EXPECT_EQ(fs_.dedupe_calls().size(), 8U);
  EXPECT_EQ(fs_.SharedBytes("/data/source", 0, "/data/b", 0, kLength), kLength);
}

TEST_F(RunTest, RefusalOfTheFirstCallIsTheStatus) {
  fs_.Fail(Operation::kDedupeSource, "/data/source", EOPNOTSUPP);
  DedupePlan plan(kLength, 2, kBlock);
  EXPECT_THAT(Run(plan), HasErrno(EOPNOTSUPP));
  EXPECT_EQ(fs_.dedupe_calls().size(), 1U);
}

TEST_F(RunTest, RefusalOfALaterCallIsAnOutcome) {
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall& call) {
    if (call.offset > 0) fs_.Fail(Operation::kDedupeSource, "/data/source", EIO);
  });
  DedupePlan plan(kLength, 2, kBlock);
  EXPECT_THAT(Run(plan), IsOk());
  for (const TargetResult& result : plan.results()) {
    EXPECT_EQ(result.outcome, DedupeOutcome::kFailed);
    EXPECT_EQ(result.bytes_accepted, kBlock);
    EXPECT_THAT(result.error, HasErrno(EIO));
  }
}

TEST_F(RunTest, StopsBetweenTwoCalls) {
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall& call) {
    if (call.offset == kBlock) stop_.Request();
  });
  DedupePlan plan(kLength, 2, kBlock);
  EXPECT_THAT(Run(plan), IsOk());
  EXPECT_EQ(fs_.dedupe_calls().size(), 2U);
  for (const TargetResult& result : plan.results()) {
    EXPECT_EQ(result.outcome, DedupeOutcome::kStopped);
    EXPECT_EQ(result.bytes_accepted, 2 * kBlock);
    EXPECT_THAT(result.error, HasReason("CANCELLED"));
  }
}

TEST_F(RunTest, StoppedBeforeTheFirstCallTriesNothing) {
  stop_.Request();
  DedupePlan plan(kLength, 2, kBlock);
  EXPECT_THAT(Run(plan), IsOk());
  EXPECT_TRUE(fs_.dedupe_calls().empty());
  EXPECT_EQ(plan.results()[0].outcome, DedupeOutcome::kStopped);
}

TEST_F(RunTest, DoesNotTouchTargetsThatFailedBefore) {
  DedupePlan plan(kLength, 2, kLength);
  plan.Fail(0, ErrnoError(ENOENT, "open"));
  EXPECT_THAT(Run(plan), IsOk());
  ASSERT_EQ(fs_.dedupe_calls().size(), 1U);
  EXPECT_EQ(fs_.dedupe_calls()[0].targets.size(), 1U);
  EXPECT_EQ(fs_.dedupe_calls()[0].targets[0].first, "/data/b");
}

TEST_F(RunTest, RangesAboveTheKernelsGiBAreCut) {
  // Sparse: nothing but the last block takes memory.
  for (const char* path : {"/data/source", "/data/a"}) {
    fs_.AddFile(path, "");
    fs_.Write(path, kMaxDedupeLength, Blocks(2, 1));
  }
  const uint64_t length = kMaxDedupeLength + kBlock;
  fs_.BeforeDedupe([](const FakeFilesystem::DedupeCall& call) { EXPECT_LE(call.length, kMaxDedupeLength); });
  const Fd source = OpenFd(fs_, "source");
  const Fd a = OpenFd(fs_, "a");
  DedupePlan plan(length, 1, 64 << 20);
  EXPECT_THAT(RunDedupe(fs_, {source.get(), 0, length}, {{a.get(), 0}}, stop_, plan), IsOk());
  EXPECT_EQ(plan.results()[0].bytes_accepted, length);
  EXPECT_EQ(fs_.dedupe_calls().size(), 17U);
  EXPECT_EQ(fs_.SharedBytes("/data/source", kMaxDedupeLength, "/data/a", kMaxDedupeLength, kBlock), kBlock);
}

}  // namespace
}  // namespace cowherd
