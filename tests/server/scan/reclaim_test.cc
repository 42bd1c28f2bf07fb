#include "server/scan/reclaim.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/status.h"
#include "server/fs/fake_filesystem.h"
#include "server/fs/passing_ops.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::IsOk;
using testing::kBlock;

// Counts the copies that are begun; there may be no room for them.
class CountingTree final : public FileTree {
 public:
  CountingTree(FakeFilesystem& fs, std::unique_ptr<FileTree> tree) : fs_(fs), tree_(std::move(tree)) {}

  absl::StatusOr<OpenFile> Open(absl::string_view relative, bool for_destination) override {
    return tree_->Open(relative, for_destination);
  }
  absl::StatusOr<OpenFile> OpenByNumber(const FileKey& file, uint64_t generation) override {
    return tree_->OpenByNumber(file, generation);
  }
  absl::StatusOr<std::vector<DirEntry>> List(absl::string_view relative, const Stop& stop) override {
    return tree_->List(relative, stop);
  }
  std::vector<absl::optional<FileFacts>> Look(absl::Span<const NamedFile> files, const Stop& stop) override {
    return tree_->Look(files, stop);
  }
  absl::StatusOr<Fd> MakeScratch() override {
    ++copies;
    if (fs_.commits() < room_after_commits) return ErrnoError(ENOSPC, "make a scratch file");
    return tree_->MakeScratch();
  }
  absl::StatusOr<std::unique_ptr<StorageMap>> OpenStorageMap() override { return tree_->OpenStorageMap(); }
  int root_fd() const override { return tree_->root_fd(); }

  int copies = 0;
  int room_after_commits = 0;

 private:
  FakeFilesystem& fs_;
  const std::unique_ptr<FileTree> tree_;
};

// Files have one extent of 8 blocks, to go free: all but its last two blocks is as in file "source".
class ReclaimTest : public ::testing::Test {
 protected:
  ReclaimTest() : tree_(fs_, Prepared(fs_)) {
    for (const char* name : {"source", "a", "b", "short_a", "short_b"}) {
      const FileFacts facts = tree_.Open(name, false)->facts;
      keys_.push_back({facts.device, facts.inode});
      names_[keys_.back()] = name;
    }
  }

  static std::unique_ptr<FileTree> Prepared(FakeFilesystem& fs) {
    fs.AddFile("/data/source", Blocks(1, 6));
    fs.AddFile("/data/a", Blocks(1, 6) + Blocks(2, 2));
    fs.AddFile("/data/b", Blocks(1, 6) + Blocks(2, 2));
    for (const char* name : {"/data/short_a", "/data/short_b"}) {
      fs.AddFile(name, (Blocks(1, 6) + Blocks(2, 2)).substr(0, 7 * kBlock + kTail));
    }
    return testing::OpenData(fs);
  }

  Totals Run(bool also_short = false) {
    ExtentPlan plan;
    plan.extent = {1 << 20, 8 * kBlock};
    for (const FileKey& file : {keys_[1], keys_[2]}) {
      Reference reference;
      reference.file = file;
      reference.length = 8 * kBlock;
      plan.references.push_back(reference);
    }
    for (size_t file = 3; file < keys_.size() && also_short; ++file) {
      plan.references.push_back({keys_[file], 0, 0, 8 * kBlock, false, false, kTail});
      plan.tails[7 * kBlock] = kTailsDiffer;
    }
    plan.segments.push_back({0, 6 * kBlock, false, {keys_[0], 0}, 1, {1 << 16, 0}});
    plan.segments.push_back({6 * kBlock, 2 * kBlock, true, {}});
    plan.duplicate_bytes = 6 * kBlock;
    plan.moved_bytes = 2 * kBlock;

    return Run(fs_, plan);
  }

  Totals Run(ExtentOps& ops, const ExtentPlan& plan) {
    ScanFiles files(tree_, [this](const FileKey& file) -> absl::StatusOr<ScanFile> {
      const auto name = names_.find(file);
      if (name != names_.end()) return ScanFile{name->second, 0, false};
      return absl::NotFoundError("no such file");
    });
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    const Stop stop;
    Reclaim reclaim(ops, tree_, files, kBlock, 1, 4, 64 << 20, 16, pace, stop, totals);
    EXPECT_THAT(reclaim.Run({{plan.extent.address, plan}}), IsOk());
    EXPECT_EQ(totals.Get().work_done, totals.Get().work_planned);
    return totals.Get();
  }

  // File a differs from the source, and that operation fails when it is halved.
  Totals RunWhereAPartRefuses(FakeFilesystem::Operation operation, const std::string& path, int error) {
    fs_.Write("/data/a", 0, Blocks(3, 1));
    fs_.BeforeDedupe([=](const FakeFilesystem::DedupeCall& call) {
      if (call.length < 6 * kBlock) fs_.Fail(operation, path, error);
    });
    const Totals totals = Run();
    EXPECT_EQ(totals.ranges_failed, 2U);
    EXPECT_EQ(fs_.dedupe_calls().size(), 3U);
    EXPECT_EQ(tree_.copies, 0);
    return totals;
  }

  // One place of two cannot share: the extent stays, and a copy would only take space.
  void ExpectNoCopyFor(FakeFilesystem::Operation operation, int error) {
    fs_.Fail(operation, "/data/b", error);
    const Totals totals = Run();
    EXPECT_EQ(totals.bytes_accepted, 6 * kBlock);
    EXPECT_EQ(totals.ranges_failed, 1U);
    EXPECT_EQ(tree_.copies, 0);
  }

  static constexpr uint32_t kTail = 100;

  FakeFilesystem fs_;
  CountingTree tree_;
  std::vector<FileKey> keys_;  // of source, a, b and those that end within the last block
  std::map<FileKey, std::string> names_;
};

TEST_F(ReclaimTest, SharesTheDuplicatesAndThenCopiesTheRest) {
  int copies_before = -1;
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall& call) {
    if (call.source == "/data/source") copies_before = tree_.copies;
  });
  const Totals totals = Run();
  EXPECT_EQ(totals.bytes_accepted, 12 * kBlock);
  EXPECT_EQ(totals.ranges_failed, 0U);
  EXPECT_EQ(copies_before, 0);
  EXPECT_EQ(tree_.copies, 1);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/b", 0, 8 * kBlock), 8 * kBlock);
}

// One for those that have all of it, one for those that have the same part.
TEST_F(ReclaimTest, CopiesABlockForEachWayInWhichFilesEndWithinIt) {
  const Totals totals = Run(/*also_short=*/true);
  EXPECT_EQ(totals.ranges_failed, 0U);
  EXPECT_EQ(totals.bytes_moved, 0U);
  EXPECT_EQ(tree_.copies, 2);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/b", 0, 8 * kBlock), 8 * kBlock);
  EXPECT_EQ(fs_.SharedBytes("/data/short_a", 0, "/data/short_b", 0, 7 * kBlock + kTail), 7 * kBlock + kTail);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/short_b", 0, 7 * kBlock), 7 * kBlock);
}

TEST_F(ReclaimTest, MovesOnceMoreWhenWhatWasSharedLeavesRoom) {
  tree_.room_after_commits = 1;
  const Totals totals = Run();
  EXPECT_EQ(totals.ranges_failed, 0U);
  EXPECT_EQ(totals.bytes_moved, 0U);  // more than was planned
  EXPECT_EQ(tree_.copies, 2);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/b", 0, 8 * kBlock), 8 * kBlock);
}

// More copies, one for each place, would find no room either.
TEST_F(ReclaimTest, GivesUpWhenThereIsNoRoomAfterAll) {
  tree_.room_after_commits = 2;
  const Totals totals = Run();
  EXPECT_EQ(totals.bytes_accepted, 12 * kBlock);
  EXPECT_EQ(totals.ranges_failed, 2U);
  EXPECT_EQ(totals.bytes_moved, 0U);
  EXPECT_EQ(tree_.copies, 2);
}

TEST_F(ReclaimTest, WhatChangesMeanwhileIsMovedByACopyOfItsOwn) {
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall& call) {
    if (call.source != "/data/source" && tree_.copies == 1) fs_.Write("/data/b", 7 * kBlock, Blocks(3, 1));
  });
  const Totals totals = Run();
  EXPECT_EQ(totals.ranges_failed, 0U);
  EXPECT_EQ(totals.bytes_moved, 0U);
  EXPECT_EQ(tree_.copies, 2);
  EXPECT_EQ(fs_.Content("/data/b"), Blocks(1, 6) + Blocks(2, 1) + Blocks(3, 1));
}

TEST_F(ReclaimTest, CopiesNothingWhereAPlaceRefuses) {
  ExpectNoCopyFor(FakeFilesystem::Operation::kDedupeTarget, EAGAIN);
}

// A part that is refused is not halved further: it is not what differs.
TEST_F(ReclaimTest, CopiesNothingWhereAPartOfAPlaceRefuses) {
  const Totals totals = RunWhereAPartRefuses(FakeFilesystem::Operation::kDedupeTarget, "/data/a", EAGAIN);
  EXPECT_EQ(totals.ranges_differ, 1U);
}

// All places of the call.
TEST_F(ReclaimTest, CopiesNothingWhereTheSourceRefusesMeanwhile) {
  RunWhereAPartRefuses(FakeFilesystem::Operation::kDedupeSource, "/data/source", EIO);
}

TEST_F(ReclaimTest, CopiesNothingWhereAPlaceCannotBeOpened) {
  ExpectNoCopyFor(FakeFilesystem::Operation::kOpen, EMFILE);
}

// Nor is one of the places that could share with the copy done.
TEST_F(ReclaimTest, CopiesNothingWhereTheFirstPlaceOfWhatIsUniqueCannotBeOpened) {
  ExtentPlan plan;
  plan.extent = {1 << 20, 8 * kBlock};
  for (const FileKey& file : {keys_[1], keys_[2]}) plan.references.push_back({file, 0, 0, 8 * kBlock});
  plan.segments.push_back({0, 8 * kBlock, true, {}});
  plan.moved_bytes = 8 * kBlock;
  fs_.Fail(FakeFilesystem::Operation::kOpen, "/data/a", EMFILE);
  EXPECT_EQ(Run(fs_, plan).ranges_failed, 2U);
  EXPECT_EQ(tree_.copies, 0);
  fs_.Remove("/data/a");
  EXPECT_EQ(Run(fs_, plan).ranges_failed, 0U);
  EXPECT_EQ(tree_.copies, 1);
}

// It holds nothing any more.
TEST_F(ReclaimTest, AFileThatIsGoneIsNoHindrance) {
  fs_.Remove("/data/b");
  const Totals totals = Run();
  EXPECT_EQ(totals.bytes_accepted, 6 * kBlock);
  EXPECT_EQ(tree_.copies, 1);
}

// A place that has the source's halves the other way round.
TEST_F(ReclaimTest, ShortRangesThatFollowEachOtherAreReadTogether) {
  class RecordingOps final : public PassingOps {
   public:
    using PassingOps::PassingOps;
    CachedPart Cached(int /*fd*/, uint64_t /*offset*/, uint64_t /*length*/) override {
      return awaited.size() < 4 ? CachedPart::kLittle : CachedPart::kAll;
    }
    void StartReading(int /*fd*/, uint64_t /*offset*/, uint64_t length) override {
      started.push_back(length);
    }
    void Prefetch(int /*fd*/, uint64_t /*offset*/, uint64_t length) override { awaited.push_back(length); }
    std::vector<uint64_t> started;  // lengths
    std::vector<uint64_t> awaited;
  };
  const std::string source = Blocks(1, 6);
  fs_.Write("/data/a", 0, source.substr(3 * kBlock) + source.substr(0, 3 * kBlock));
  ExtentPlan plan;
  plan.extent = {1 << 20, 6 * kBlock};
  plan.references.push_back({keys_[1], 0, 0, 6 * kBlock});
  plan.segments.push_back({0, 3 * kBlock, false, {keys_[0], 3 * kBlock}, 1, {1 << 16, 3 * kBlock}});
  plan.segments.push_back({3 * kBlock, 3 * kBlock, false, {keys_[0], 0}, 1, {1 << 16, 0}});
  plan.duplicate_bytes = 6 * kBlock;
  RecordingOps ops(fs_);
  EXPECT_EQ(Run(ops, plan).bytes_accepted, 6 * kBlock);
  EXPECT_EQ(ops.started, (std::vector<uint64_t>{6 * kBlock, 6 * kBlock}));
  EXPECT_EQ(ops.awaited, (std::vector<uint64_t>(4, 3 * kBlock)));
  // What is there is not read.
  EXPECT_EQ(Run(ops, plan).bytes_accepted, 6 * kBlock);
  EXPECT_EQ(ops.started.size(), 2U);
}

// Too much of the extent would have to be copied.
TEST_F(ReclaimTest, CopiesNothingWhereTheSourceIsGone) {
  fs_.Remove("/data/source");
  const Totals totals = Run();
  EXPECT_EQ(totals.bytes_accepted, 0U);
  EXPECT_EQ(tree_.copies, 0);
}

}  // namespace
}  // namespace cowherd
