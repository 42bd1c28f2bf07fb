#include "server/scan/scanner.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/fs/extent_ops.h"
#include "server/fs/fake_filesystem.h"
#include "server/fs/passing_ops.h"
#include "tests/testing/file_clock.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::Bytes;
using testing::HasErrno;
using testing::HasReason;
using testing::IsOk;
using testing::kBlock;
using Operation = FakeFilesystem::Operation;

// Extents is asked for a window of 64 MiB at a time.
class ExtentsOps final : public PassingOps {
 public:
  using PassingOps::PassingOps;
  absl::StatusOr<ExtentList> Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                     bool flush) override {
    ++calls;
    if (stop != nullptr) stop->Request();
    if (offset >= fail_from) return ErrnoError(EIO, "FIEMAP");
    return PassingOps::Extents(fd, offset, length, max, flush);
  }
  int calls = 0;
  Stop* stop = nullptr;
  uint64_t fail_from = UINT64_MAX;
};

class ScannerTest : public ::testing::Test {
 protected:
  ScannerTest() {
    fs_.AddDirectory("/data");
    request_.workers = 1;  // so that calls come in one order
  }

  absl::Status Scan() { return Scan(fs_); }

  absl::Status Scan(ExtentOps& ops, size_t index_budget = 4 << 20) {
    const std::unique_ptr<FileTree> tree = testing::OpenData(fs_);
    found_.clear();
    SharedTotals totals;
    Pace pace(request_.bytes_per_second, nullptr, totals);
    absl::Status status = ScanTree(ops, *tree, request_, index_budget, pace, stop_, totals,
                                   [this](const Duplicate& duplicate) { found_.push_back(duplicate); });
    totals_ = totals.Get();
    if (status.ok()) {
      EXPECT_EQ(totals_.work_done, totals_.work_planned);
      if (totals_.files_failed == 0) {
        EXPECT_EQ(totals_.bytes_scanned, totals_.bytes_found);
      }
    }
    return status;
  }

  // Free space once all is committed.
  uint64_t Free() {
    const std::unique_ptr<FileTree> tree = testing::OpenData(fs_);
    EXPECT_THAT(fs_.Commit(tree->root_fd()), IsOk());
    return fs_.Facts(tree->root_fd())->free_bytes;
  }

  // Scans, and checks that the space won is what the filesystem freed, and is `blocks`.
  void ScanAndWin(uint64_t blocks) {
    const uint64_t before = Free();
    EXPECT_THAT(Scan(), IsOk());
    EXPECT_EQ(Free() - before, blocks * kBlock);
    EXPECT_EQ(totals_.bytes_won, static_cast<int64_t>(blocks * kBlock));
  }

  // Writes from this block on, so that each is an extent of its own.
  void Scatter(const std::string& path, uint64_t first_block, const std::string& content) {
    for (size_t i = content.size() / kBlock; i-- > 0;)
      fs_.Write(path, (first_block + i) * kBlock, content.substr(i * kBlock, kBlock));
  }

  // So many blocks are left where files may have `too_few` extents, and go free with `enough`.
  void ExpectToTakeExtents(uint64_t too_few, uint64_t enough, uint64_t blocks) {
    request_.max_extents_per_file = too_few;
    EXPECT_THAT(Scan(), IsOk());
    EXPECT_EQ(totals_.bytes_fragmenting, blocks * kBlock);
    request_.max_extents_per_file = enough;
    ScanAndWin(blocks);
  }

  bool Shares(const std::string& a, uint64_t a_block, const std::string& b, uint64_t b_block,
              uint64_t blocks) {
    return fs_.SharedBytes("/data/" + a, a_block * kBlock, "/data/" + b, b_block * kBlock, blocks * kBlock) ==
           blocks * kBlock;
  }

  FakeFilesystem fs_;
  Stop stop_;
  ScanRequest request_;
  std::vector<Duplicate> found_;
  Totals totals_;
};

// A scan keeps a quarter of its descriptors, and shares when it has read a quarter of these sections.
constexpr rlim_t kDescriptors = 512;
constexpr int kSectionsPerBatch = kDescriptors / 16;

class SmallBatches {
 public:
  SmallBatches() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit few = {kDescriptors, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  }
  ~SmallBatches() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_ = {};
};

// With a folder for states.
class ScannerStateTest : public ScannerTest {
 protected:
  ScannerStateTest() {
    request_.state_dir = absl::StrCat(::testing::TempDir(), "/scanner.XXXXXX");
    EXPECT_NE(::mkdtemp(&request_.state_dir[0]), nullptr);
  }
  ~ScannerStateTest() override { std::filesystem::remove_all(request_.state_dir); }

  // Blocks that a scan reads.
  uint64_t ScanAndRead() {
    LetFileClockStep();
    EXPECT_THAT(Scan(), IsOk());
    return totals_.bytes_scanned / kBlock;
  }
};

TEST_F(ScannerStateTest, FilesThatWereLookedAtAreNotOpened) {
  for (int i = 0; i < 4; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i / 2, 16));
  fs_.AddFile("/data/small", "x");
  fs_.AddLink("/data/link", "/data/0");
  EXPECT_EQ(ScanAndRead(), 64U);
  EXPECT_EQ(totals_.duplicate_bytes, 32 * kBlock);
  for (const char* name : {"0", "1", "2", "3", "small", "link"}) {
    fs_.Fail(Operation::kOpen, absl::StrCat("/data/", name), EIO);
  }
  EXPECT_EQ(ScanAndRead(), 0U);
  EXPECT_EQ(totals_.files_failed, 0U);
  EXPECT_EQ(totals_.files_skipped, 0U);
  EXPECT_EQ(totals_.files_unchanged, 6U);
  EXPECT_EQ(totals_.bytes_unchanged, 5 * 16 * kBlock + 1);
}

TEST_F(ScannerStateTest, NewFilesAreComparedWithThoseThatWereLookedAt) {
  for (int i = 0; i < 4; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i, 16));
  EXPECT_EQ(ScanAndRead(), 64U);
  fs_.AddFile("/data/new", Blocks(9, 3) + Blocks(2, 16));
  // The old side is read again to compare it.
  EXPECT_LE(ScanAndRead(), 19U + 16U);
  EXPECT_TRUE(Shares("2", 0, "new", 3, 16));
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, FilesThatChangedAreReadAgain) {
  for (int i = 0; i < 4; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i, 16));
  EXPECT_EQ(ScanAndRead(), 64U);
  fs_.Write("/data/1", 0, Blocks(3, 16));
  EXPECT_LE(ScanAndRead(), 16U + 16U);
  EXPECT_TRUE(Shares("3", 0, "1", 0, 16));
  // It is not compared with what it was.
  fs_.Write("/data/2", 15 * kBlock, Blocks(8, 1));
  EXPECT_LE(ScanAndRead(), 16U);
  EXPECT_EQ(totals_.duplicate_bytes, 0U);
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, WhatDoesNotCountAsLookedAtIsReadAgain) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/bad", Blocks(2, 16));
  fs_.Fail(Operation::kExtents, "/data/bad", EIO);
  EXPECT_EQ(ScanAndRead(), 16U);
  EXPECT_EQ(totals_.files_failed, 1U);
  fs_.Fail(Operation::kExtents, "/data/bad", 0);
  EXPECT_EQ(ScanAndRead(), 16U);
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, WhatMayShareAnotherTimeIsLookedAtAgain) {
  for (const int error : {ENOSPC, EDQUOT, EAGAIN, ENOMEM, EMFILE, ENFILE, EIO}) {
    const std::string name = absl::StrCat("/data/", error);
    fs_.AddFile(name + "a", Blocks(error, 16));
    fs_.AddFile(name + "b", Blocks(error, 16));
    for (const Operation operation : {Operation::kDedupeTarget, Operation::kDedupeSource}) {
      const std::string path = name + (operation == Operation::kDedupeTarget ? "b" : "a");
      fs_.Fail(operation, path, error);
      EXPECT_GT(ScanAndRead(), 0U);
      EXPECT_EQ(totals_.ranges_failed, 1U);
      fs_.Fail(operation, path, 0);
    }
    EXPECT_LE(ScanAndRead(), 32U);
    EXPECT_TRUE(Shares(absl::StrCat(error, "a"), 0, absl::StrCat(error, "b"), 0, 16)) << error;
    EXPECT_EQ(ScanAndRead(), 0U);
  }
}

TEST_F(ScannerStateTest, WhatIsNotToBeSharedIsNotLookedAtAgain) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  for (const int error : {EPERM, EOPNOTSUPP}) {
    fs_.Fail(Operation::kDedupeTarget, "/data/b", error);
    request_.full_scan = true;
    EXPECT_EQ(ScanAndRead(), 32U);
    EXPECT_EQ(totals_.ranges_failed, 1U);
    request_.full_scan = false;
    EXPECT_EQ(ScanAndRead(), 0U);
  }
}

TEST_F(ScannerStateTest, WhatDiffersIsLookedAtAgain) {
  for (const char* name : {"/data/a", "/data/b", "/data/c"}) fs_.AddFile(name, Blocks(1, 16));
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) {
    fs_.BeforeDedupe(nullptr);
    fs_.Write("/data/a", 0, Blocks(2, 16));
  });
  EXPECT_EQ(ScanAndRead(), 48U);
  EXPECT_EQ(totals_.bytes_accepted, 0U);
  ScanAndRead();
  EXPECT_TRUE(Shares("b", 0, "c", 0, 16));
  EXPECT_EQ(ScanAndRead(), 0U);
}

// It has data in more sections than a batch has, and one of the first cannot share.
TEST_F(ScannerStateTest, ALargeFileIsLookedAtAgainForAnyOfItsBatches) {
  const SmallBatches small;
  constexpr uint64_t kSection = 4 << 20;
  constexpr uint64_t kSections = 256 + 5 * kSectionsPerBatch;  // so many are read ahead
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/large", "");
  fs_.Truncate("/data/large", kSections * kSection);
  fs_.Write("/data/large", 0, Blocks(1, 16));
  fs_.Write("/data/large", kSection, Blocks(1, 16));
  for (uint64_t i = 2; i < kSections; ++i) fs_.Write("/data/large", i * kSection, Blocks(100 + i, 1));
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall& call) {
    const bool first = call.targets[0].second == 0;
    fs_.Fail(Operation::kDedupeTarget, "/data/large", first ? ENOSPC : 0);
  });
  EXPECT_EQ(ScanAndRead(), 3 * 16 + kSections - 2);
  EXPECT_EQ(totals_.ranges_failed, 1U);
  EXPECT_EQ(totals_.ranges_deduped, 1U);
  fs_.BeforeDedupe(nullptr);
  fs_.Fail(Operation::kDedupeTarget, "/data/large", 0);
  ScanAndRead();
  EXPECT_TRUE(Shares("a", 0, "large", 0, 16));
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, AFileThatIsReadInPartIsReadAgain) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.Truncate("/data/b", 128 << 20);
  fs_.Write("/data/b", 65 << 20, Blocks(2, 16));
  ExtentsOps ops(fs_);
  ops.fail_from = 64 << 20;
  LetFileClockStep();
  EXPECT_THAT(Scan(ops), IsOk());
  EXPECT_EQ(totals_.files_failed, 1U);
  EXPECT_TRUE(Shares("a", 0, "b", 0, 16));
  EXPECT_GE(ScanAndRead(), 16U);
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, ASwapFileIsLookedAtOnceItIsNone) {
  for (const char* name : {"/data/a", "/data/b"}) fs_.AddFile(name, Blocks(1, 256));
  fs_.SetSwap("/data/a");
  EXPECT_EQ(ScanAndRead(), 256U);
  fs_.AddFile("/data/c", Blocks(1, 256));
  fs_.SetSwap("/data/b");
  // What the state has of it is no source either.
  EXPECT_EQ(ScanAndRead(), 256U);
  EXPECT_EQ(totals_.ranges_failed, 0U);
  fs_.SetSwap("/data/a", false);
  EXPECT_GE(ScanAndRead(), 256U);
  EXPECT_TRUE(Shares("a", 0, "c", 0, 256));
}

TEST_F(ScannerStateTest, ADryRunAndAFullScanReadAll) {
  for (int i = 0; i < 4; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i, 16));
  request_.dry_run = true;
  EXPECT_EQ(ScanAndRead(), 64U);
  request_.dry_run = false;
  EXPECT_EQ(ScanAndRead(), 64U);
  request_.dry_run = true;
  EXPECT_EQ(ScanAndRead(), 64U);
  request_.dry_run = false;
  EXPECT_EQ(ScanAndRead(), 0U);
  request_.full_scan = true;
  EXPECT_EQ(ScanAndRead(), 64U);
}

TEST_F(ScannerStateTest, ATornIndexIsToldBeforeFilesArePassedOver) {
  for (int i = 0; i < 4; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i, 16));
  EXPECT_EQ(ScanAndRead(), 64U);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(request_.state_dir)) {
    if (entry.path().extension() != ".state") continue;
    std::FILE* const file = std::fopen(entry.path().c_str(), "r+");
    ASSERT_NE(file, nullptr);
    std::fseek(file, -1, SEEK_END);
    std::fputc('x', file);
    std::fclose(file);
  }
  EXPECT_EQ(ScanAndRead(), 64U);
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, AKilledScanGoesOnFromItsCheckpoint) {
  request_.checkpoint_interval = std::chrono::milliseconds(0);
  for (int i = 0; i < 8; ++i) fs_.AddFile(absl::StrCat("/data/", i), Blocks(i % 7, 16));
  const std::string kept = request_.state_dir + ".killed";
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall& call) {
    // As the folder would be after kill -9.
    if (call.targets.front().first == "/data/7") {
      std::filesystem::copy(request_.state_dir, kept, std::filesystem::copy_options::recursive);
    }
  });
  EXPECT_EQ(ScanAndRead(), 8U * 16);
  fs_.BeforeDedupe(nullptr);
  std::filesystem::remove_all(request_.state_dir);
  std::filesystem::rename(kept, request_.state_dir);
  EXPECT_GT(ScanAndRead(), 0U);
  EXPECT_GT(totals_.files_unchanged, 0U);
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerStateTest, AStopWhileSectionsAreComparedKeepsTheBatchesBefore) {
  const SmallBatches small;
  constexpr int kFiles = 4 * kSectionsPerBatch;
  for (int i = 0; i < kFiles; ++i) fs_.AddFile(absl::StrFormat("/data/%04d", i), Blocks(i, 4));
  // The first of its runs is found when the second one is, and stops the scan.
  fs_.AddFile("/data/twice", Blocks(0, 4) + Blocks(1, 4));
  for (int i = 0; i < kSectionsPerBatch; ++i)
    fs_.AddFile(absl::StrFormat("/data/u%03d", i), Blocks(kFiles + i, 4));
  LetFileClockStep();
  Stop stop;
  const std::unique_ptr<FileTree> tree = testing::OpenData(fs_);
  SharedTotals totals;
  Pace pace(0, nullptr, totals);
  EXPECT_TRUE(absl::IsCancelled(ScanTree(fs_, *tree, request_, 4 << 20, pace, stop, totals,
                                         [&](const Duplicate&) { stop.Request(); })));
  EXPECT_LE(ScanAndRead(), 4U * 3 * kSectionsPerBatch);
  EXPECT_TRUE(Shares("0000", 0, "twice", 0, 4));
}

TEST_F(ScannerStateTest, TwoScansOfTheSameDoNotShareAState) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  LetFileClockStep();
  uint64_t inner = 0;
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) {
    fs_.BeforeDedupe(nullptr);
    const std::unique_ptr<FileTree> tree = testing::OpenData(fs_);
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    EXPECT_THAT(ScanTree(fs_, *tree, request_, 4 << 20, pace, stop_, totals, [](const Duplicate&) {}),
                IsOk());
    inner = totals.Get().bytes_scanned / kBlock;
  });
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(inner, 32U);
  EXPECT_EQ(ScanAndRead(), 0U);
}

TEST_F(ScannerTest, HolesArePassedOverAtOnce) {
  const std::string island = Blocks(1, 40);
  fs_.AddFile("/data/a", island);
  fs_.AddFile("/data/sparse", "");
  fs_.Truncate("/data/sparse", uint64_t{4} << 30);
  fs_.Write("/data/sparse", (uint64_t{1} << 30) + kBlock, island);
  fs_.Write("/data/sparse", uint64_t{3} << 30, island);
  ExtentsOps ops(fs_);
  EXPECT_THAT(Scan(ops), IsOk());
  EXPECT_LE(ops.calls, 13);
  EXPECT_EQ(totals_.bytes_scanned, 120 * kBlock);
  EXPECT_TRUE(Shares("a", 0, "sparse", (1 << 30) / kBlock + 1, 40));
  EXPECT_TRUE(Shares("a", 0, "sparse", (uint64_t{3} << 30) / kBlock, 40));
}

TEST_F(ScannerTest, AStopEndsALookAtWhatHasNoData) {
  fs_.AddFile("/data/reserved", "");
  fs_.Truncate("/data/reserved", 1 << 30);
  fs_.Preallocate("/data/reserved", 0, 1 << 30);
  ExtentsOps ops(fs_);
  ops.stop = &stop_;
  EXPECT_THAT(Scan(ops), HasReason("CANCELLED"));
  EXPECT_EQ(ops.calls, 1);
}

TEST_F(ScannerTest, SwapFilesAreSkipped) {
  const std::string zeros(512 * kBlock, '\0');
  fs_.AddFile("/data/a", zeros);
  fs_.AddFile("/data/b", zeros);
  fs_.AddFile("/data/c", zeros);
  fs_.SetSwap("/data/a");
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(totals_.files_skipped, 1U);
  EXPECT_EQ(totals_.files_failed + totals_.ranges_failed, 0U);
  EXPECT_EQ(totals_.bytes_scanned, 1024 * kBlock);
  EXPECT_GE(totals_.bytes_accepted, 900 * kBlock);
  EXPECT_EQ(totals_.bytes_won, static_cast<int64_t>(totals_.bytes_accepted));
}

// What is known of a source when it was too late for two batches. Rows are so short that no longer part of a
// later one takes the place of what was kept.
class ScannerSourceTest : public ScannerTest, public ::testing::WithParamInterface<std::string> {
 protected:
  static constexpr int kFiles = 200;
  static constexpr uint64_t kBlocks = 12;

  void SetUp() override {
    const std::string content =
        GetParam() == "Rows" ? std::string(kBlocks * kBlock, '\0') : Blocks(1, kBlocks);
    // What shares with the first of the others shares in part with what that shares with.
    const std::string before = GetParam() == "Parts" ? Blocks(2, 4) : "";
    fs_.AddFile("/data/a", content);
    for (int i = 0; i < kFiles; ++i) fs_.AddFile(absl::StrCat("/data/b", 1000 + i), before + content);
  }

  void ExpectMostIsShared() {
    EXPECT_LE(totals_.ranges_failed + totals_.ranges_differ, (2 * kSectionsPerBatch + 1) * kBlocks / 4);
    // Of a row four blocks are kept, each time.
    EXPECT_GE(totals_.bytes_won,
              static_cast<int64_t>((kFiles - 2 * kSectionsPerBatch - 5) * kBlocks * kBlock));
  }

  const SmallBatches small_;
};

// Too small to be asked about: what shares with it shows it.
TEST_P(ScannerSourceTest, ThatIsASmallSwapFileIsDropped) {
  fs_.SetSwap("/data/a");
  EXPECT_THAT(Scan(), IsOk());
  ExpectMostIsShared();
}

TEST_P(ScannerSourceTest, ThatIsOverwrittenIsDropped) {
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) {
    fs_.BeforeDedupe(nullptr);
    fs_.Write("/data/a", 0, Blocks(7, kBlocks));
  });
  EXPECT_THAT(Scan(), IsOk());
  ExpectMostIsShared();
  EXPECT_EQ(fs_.Content("/data/a"), Blocks(7, kBlocks));
}

INSTANTIATE_TEST_SUITE_P(Kinds, ScannerSourceTest, ::testing::Values("Rows", "Files", "Parts"),
                         [](const auto& info) { return info.param; });

// The table of files has room for some hundred here, and forgets small ones.
TEST_F(ScannerTest, ARowWhoseFileIsForgottenIsKeptAnew) {
  constexpr int kKinds = 16;
  const auto row = [](int kind) { return std::string(12 * kBlock, static_cast<char>(kind)); };
  for (int kind = 0; kind < kKinds; ++kind) fs_.AddFile(absl::StrCat("/data/a", kind), row(kind));
  for (int i = 0; i < 8000; ++i) fs_.AddFile(absl::StrCat("/data/b", i), Blocks(i, 1));
  for (int i = 0; i < 4 * kKinds; ++i) {
    fs_.AddFile(absl::StrCat("/data/c", i), Blocks(10000 + i, 20) + row(i % kKinds));
  }
  EXPECT_THAT(Scan(fs_, 1 << 20), IsOk());
  // The first of a kind finds it out, of the second a part is kept.
  for (int i = 2 * kKinds; i < 3 * kKinds; ++i) {
    EXPECT_TRUE(Shares(absl::StrCat("c", i), 20, absl::StrCat("c", i + kKinds), 20, 12)) << i;
  }
}

TEST_F(ScannerTest, EmptyTree) {
  ScanAndWin(0);
  EXPECT_EQ(totals_.files_scanned, 0U);
}

TEST_F(ScannerTest, EqualFiles) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/d/b", Blocks(1, 16));
  fs_.AddFile("/data/d/c", Blocks(2, 16));
  ScanAndWin(16);
  EXPECT_TRUE(Shares("a", 0, "d/b", 0, 16));
  ASSERT_EQ(found_.size(), 1U);
  EXPECT_EQ(found_[0].source_path, "a");
  EXPECT_EQ(found_[0].destination_path, "d/b");
  EXPECT_EQ(found_[0].length, 16 * kBlock);
  EXPECT_EQ(totals_.files_scanned, 3U);
  EXPECT_EQ(totals_.bytes_found, 48 * kBlock);
  EXPECT_EQ(totals_.bytes_scanned, 48 * kBlock);
  EXPECT_EQ(totals_.work_planned, 32 * kBlock);
  EXPECT_EQ(totals_.bytes_unchanged, 0U);
  EXPECT_EQ(totals_.duplicate_ranges, 1U);
  EXPECT_EQ(totals_.duplicate_bytes, 16 * kBlock);
  EXPECT_EQ(totals_.bytes_requested, 16 * kBlock);
  EXPECT_EQ(totals_.bytes_accepted, 16 * kBlock);
  EXPECT_EQ(totals_.ranges_deduped, 1U);
}

class ScannerShiftTest : public ScannerTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(ScannerShiftTest, RunsThatStartElsewhere) {
  const uint64_t shift = GetParam();
  fs_.AddFile("/data/a", Blocks(1, 64));
  fs_.AddFile("/data/b", Blocks(2, shift) + Blocks(1, 64) + Blocks(3, 5));
  fs_.AddFile("/data/c", Blocks(1, 64).substr(shift * kBlock));
  ScanAndWin(64 + (64 - shift));
  EXPECT_TRUE(Shares("a", 0, "b", shift, 64));
  EXPECT_TRUE(Shares("a", shift, "c", 0, 64 - shift));
}

INSTANTIATE_TEST_SUITE_P(Blocks, ScannerShiftTest, ::testing::Values(1, 2, 3, 7, 31));

TEST_F(ScannerTest, WithinOneFile) {
  fs_.AddFile("/data/a", Blocks(1, 8) + Blocks(2, 3) + Blocks(1, 8));
  ScanAndWin(8);
  EXPECT_TRUE(Shares("a", 0, "a", 11, 8));
}

// One block again and again, as where zeros were written; and a longer pattern.
TEST_F(ScannerTest, RepeatedPattern) {
  std::string run;
  for (int i = 0; i < 64; ++i) run += Blocks(1, 1);
  fs_.AddFile("/data/a", run);
  ScanAndWin(56);  // an eighth is kept
  EXPECT_EQ(fs_.Content("/data/a"), run);
  std::string pattern;
  for (int i = 0; i < 20; ++i) pattern += Blocks(2, 6);
  fs_.AddFile("/data/b", pattern);
  ScanAndWin(19 * 6);
  EXPECT_EQ(fs_.Content("/data/b"), pattern);
}

TEST_F(ScannerTest, OddTailsAtTheEndOfBothFiles) {
  fs_.AddFile("/data/a", Bytes(1, 8 * kBlock + 100));
  fs_.AddFile("/data/b", Bytes(1, 8 * kBlock + 100));
  fs_.AddFile("/data/longer", Bytes(1, 8 * kBlock + 100) + Bytes(7, 50));
  ScanAndWin(9 + 8);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/b", 0, 8 * kBlock + 100), 8 * kBlock + 100);
  EXPECT_EQ(totals_.ranges_deduped, 2U);
  EXPECT_EQ(totals_.ranges_failed + totals_.ranges_differ, 0U);
}

TEST_F(ScannerTest, RunsShorterThanTheLeastLengthStay) {
  request_.min_extent_length = 8 * kBlock - 100;  // counts as 8 blocks
  fs_.AddFile("/data/a", Blocks(1, 7) + Blocks(2, 2));
  fs_.AddFile("/data/b", Blocks(1, 7) + Blocks(3, 2));
  ScanAndWin(0);
  EXPECT_TRUE(found_.empty());
  request_.min_extent_length = 7 * kBlock;
  ScanAndWin(7);
}

TEST_F(ScannerTest, SmallAndEmptyFilesAreSkipped) {
  request_.min_file_size = 8 * kBlock;
  for (const char* name : {"/data/a", "/data/b"}) fs_.AddFile(name, Blocks(1, 7));
  fs_.AddFile("/data/empty", "");
  ScanAndWin(0);
  EXPECT_EQ(totals_.files_skipped, 3U);
  EXPECT_EQ(totals_.files_scanned, 0U);
}

TEST_F(ScannerTest, WhereNothingCanBeSharedNothingIsPromised) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.SetDedupeSupported(false);
  request_.root_name = "plain";
  for (const bool dry_run : {false, true}) {
    request_.dry_run = dry_run;
    const absl::Status status = Scan();
    EXPECT_THAT(status, HasErrno(EOPNOTSUPP));
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(status.message().find("root \"plain\""), absl::string_view::npos) << status;
    EXPECT_EQ(totals_.bytes_scanned, 0U);
  }
}

TEST_F(ScannerTest, ProgressIsOfTheSharingToo) {
  fs_.AddFile("/data/a", Blocks(1, 64));
  fs_.AddFile("/data/b", Blocks(1, 64));
  const std::unique_ptr<FileTree> tree = testing::OpenData(fs_);
  SharedTotals totals;
  Totals while_sharing;
  fs_.BeforeDedupe([&](const FakeFilesystem::DedupeCall&) { while_sharing = totals.Get(); });
  Pace pace(0, nullptr, totals);
  EXPECT_THAT(ScanTree(fs_, *tree, request_, 4 << 20, pace, stop_, totals, [](const Duplicate&) {}), IsOk());
  EXPECT_EQ(while_sharing.bytes_scanned, while_sharing.bytes_found);
  EXPECT_EQ(while_sharing.work_planned, 128 * kBlock);
  EXPECT_EQ(while_sharing.bytes_accepted, 0U);
  EXPECT_EQ(totals.Get().work_done, 128 * kBlock);
}

TEST_F(ScannerTest, AFileThatCannotBeOpenedToShareIsDoneWithToo) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.Fail(Operation::kDedupeTarget, "/data/b", EPERM);
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(totals_.ranges_failed, 1U);
  EXPECT_EQ(totals_.work_planned, 32 * kBlock);
}

TEST_F(ScannerTest, SecondRunFindsNothingLeft) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.AddFile("/data/c", Blocks(2, 5) + Blocks(1, 16));
  ScanAndWin(32);
  const size_t calls = fs_.dedupe_calls().size();
  ScanAndWin(0);
  EXPECT_TRUE(found_.empty());
  EXPECT_EQ(totals_.bytes_requested, 0U);
  EXPECT_EQ(fs_.dedupe_calls().size(), calls);
  // Shared storage is read once, not once for each file.
  EXPECT_LE(totals_.bytes_scanned, (16 + 5 + 16) * kBlock);
}

TEST_F(ScannerTest, PartlySharedAlready) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  const Fd a = testing::OpenFd(fs_, "a");
  ASSERT_THAT(fs_.Dedupe(a.get(), 4 * kBlock, 8 * kBlock, {{testing::OpenFd(fs_, "b").get(), 4 * kBlock}}),
              IsOk());
  ScanAndWin(8);
  EXPECT_TRUE(Shares("a", 0, "b", 0, 16));
  EXPECT_EQ(totals_.bytes_requested, 8 * kBlock);
}

// A new file that comes first in the walk: all that share the old storage move, or none of it is won.
TEST_F(ScannerTest, GroupThatSharesAlreadyMovesAsAWhole) {
  for (const char* name : {"/data/b", "/data/c", "/data/d"}) fs_.AddFile(name, Blocks(1, 16));
  ScanAndWin(32);
  fs_.AddFile("/data/a", Blocks(1, 16));
  ScanAndWin(16);
  EXPECT_TRUE(Shares("a", 0, "d", 0, 16));
  ScanAndWin(0);
}

TEST_F(ScannerTest, HolesInlineAndPreallocatedStretchesAreLeft) {
  for (const char* name : {"/data/a", "/data/b"}) {
    fs_.AddFile(name, Blocks(1, 24));
    fs_.PunchHole(name, 8 * kBlock, 8 * kBlock);
    fs_.AddFile(std::string(name) + "_empty", Blocks(2, 8));
    fs_.Preallocate(std::string(name) + "_empty", 0, 8 * kBlock);
  }
  fs_.KeepInline(kBlock);
  request_.min_file_size = 1;
  fs_.AddFile("/data/i1", Bytes(3, 2000));
  fs_.AddFile("/data/i2", Bytes(3, 2000));
  ScanAndWin(16);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/b", 0, 24 * kBlock), 16 * kBlock);
  EXPECT_EQ(totals_.ranges_failed, 0U);
  EXPECT_EQ(totals_.bytes_requested, 16 * kBlock);
}

TEST_F(ScannerTest, HardLinksAreLookedAtOnce) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddLink("/data/b", "/data/a");
  fs_.AddLink("/data/c", "/data/a");
  ScanAndWin(0);
  EXPECT_EQ(totals_.files_scanned, 1U);
  EXPECT_EQ(totals_.files_skipped, 2U);
  EXPECT_EQ(totals_.bytes_scanned, 16 * kBlock);
  EXPECT_TRUE(found_.empty());
}

TEST_F(ScannerTest, UnreadableFilesAndDirectoriesAreCountedAndTheRestIsDone) {
  for (const char* name : {"/data/a", "/data/bad", "/data/closed/x", "/data/z"})
    fs_.AddFile(name, Blocks(1, 16));
  fs_.AddFile("/data/no_extents", Blocks(1, 16));
  fs_.Fail(Operation::kOpen, "/data/bad", EACCES);
  fs_.Fail(Operation::kList, "/data/closed", EACCES);
  fs_.Fail(Operation::kExtents, "/data/no_extents", EIO);
  ScanAndWin(16);
  EXPECT_TRUE(Shares("a", 0, "z", 0, 16));
  EXPECT_EQ(totals_.files_failed, 3U);
}

TEST_F(ScannerTest, WhatIsNotARegularFileOfThisFilesystemIsPassedOver) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFifo("/data/fifo");
  fs_.AddSymlink("/data/link");
  fs_.AddMountPoint("/data/other");
  ScanAndWin(0);
  EXPECT_EQ(totals_.files_scanned, 1U);
  EXPECT_EQ(totals_.files_failed, 0U);
}

TEST_F(ScannerTest, DryRunFindsTheSameAndSharesNothing) {
  request_.dry_run = true;
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  ScanAndWin(0);
  EXPECT_EQ(found_.size(), 1U);
  EXPECT_EQ(totals_.duplicate_bytes, 16 * kBlock);
  EXPECT_EQ(totals_.bytes_requested, 0U);
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

TEST_F(ScannerTest, ReadOnlyFilesystemsCanBeLookedAt) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.SetReadOnly(true);
  EXPECT_THAT(Scan(), HasErrno(EROFS));
  request_.dry_run = true;
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(found_.size(), 1U);
}

TEST_F(ScannerTest, StopInTheMiddleKeepsAndCountsWhatWasDone) {
  for (int i = 0; i < 10; ++i) {
    for (const char* copy : {"a", "b"}) fs_.AddFile(absl::StrCat("/data/", i, copy), Blocks(i, 16));
  }
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) {
    if (fs_.dedupe_calls().size() == 3) stop_.Request();
  });
  const uint64_t before = Free();
  EXPECT_THAT(Scan(), HasReason("CANCELLED"));
  EXPECT_EQ(fs_.dedupe_calls().size(), 3U);
  EXPECT_EQ(totals_.ranges_deduped, 3U);
  EXPECT_EQ(totals_.bytes_won, static_cast<int64_t>(3 * 16 * kBlock));
  EXPECT_EQ(Free() - before, 3 * 16 * kBlock);
}

TEST_F(ScannerTest, StopEndsAWalkThatFindsNoFiles) {
  fs_.AddDirectory("/data/a/b/c");
  stop_.Request();
  EXPECT_THAT(Scan(), HasReason("CANCELLED"));
}

TEST_F(ScannerTest, ManyWorkersWinTheSameSpaceAsOne) {
  const auto fill = [](FakeFilesystem& fs) {
    for (int i = 0; i < 40; ++i) {
      fs.AddFile(absl::StrCat("/data/", i), Blocks(100 + i, i % 5) + Blocks(i % 4, 32) + Blocks(200 + i, 2));
    }
  };
  const std::pair<unsigned, CachedPart> cases[] = {
      {1, CachedPart::kAll}, {4, CachedPart::kMost}, {16, CachedPart::kLittle}, {64, CachedPart::kLittle}};
  for (const auto& [workers, cached] : cases) {
    FakeFilesystem fresh;
    fill(fresh);
    fresh.SetCached(cached);
    std::map<std::string, std::string> contents;
    for (int i = 0; i < 40; ++i)
      contents[absl::StrCat("/data/", i)] = fresh.Content(absl::StrCat("/data/", i));
    request_.workers = workers;
    SharedTotals totals;
    Pace pace(request_.bytes_per_second, nullptr, totals);
    int found = 0;  // calls come one at a time
    EXPECT_THAT(ScanTree(fresh, *testing::OpenData(fresh), request_, 4 << 20, pace, stop_, totals,
                         [&](const Duplicate&) { ++found; }),
                IsOk());
    EXPECT_EQ(totals.Get().bytes_won, static_cast<int64_t>(36 * 32 * kBlock)) << workers << " workers";
    EXPECT_EQ(totals.Get().ranges_failed + totals.Get().ranges_differ, 0U);
    EXPECT_EQ(static_cast<uint64_t>(found), totals.Get().duplicate_ranges);
    for (const auto& [path, content] : contents) EXPECT_EQ(fresh.Content(path) == content, true) << path;
  }
}

TEST_F(ScannerTest, FileChangedBetweenFindingAndSharing) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.AddFile("/data/c", Blocks(1, 16));
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall& call) {
    if (call.targets[0].first == "/data/b") fs_.Write("/data/b", 5 * kBlock, "changed");
  });
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(totals_.ranges_differ, 1U);
  EXPECT_EQ(totals_.ranges_deduped, 1U);
  EXPECT_EQ(fs_.Content("/data/a"), Blocks(1, 16));
  EXPECT_EQ(fs_.Content("/data/b").substr(5 * kBlock, 7), "changed");
  EXPECT_TRUE(Shares("a", 0, "c", 0, 16));
}

TEST_F(ScannerTest, SourceGoneBetweenFindingAndSharing) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  fs_.BeforeDedupe([this](const FakeFilesystem::DedupeCall&) { fs_.Truncate("/data/a", kBlock); });
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(totals_.ranges_failed, 1U);
  EXPECT_EQ(fs_.Content("/data/b"), Blocks(1, 16));
}

TEST_F(ScannerTest, IncludeAndExclude) {
  for (const char* name : {"/data/a.img", "/data/b.img", "/data/c.txt", "/data/tmp/d.img"}) {
    fs_.AddFile(name, Blocks(1, 16));
  }
  request_.include = {"*.img"};
  request_.exclude = {"tmp"};
  fs_.Fail(Operation::kList, "/data/tmp", EIO);  // would be counted
  ScanAndWin(16);
  EXPECT_EQ(totals_.files_scanned, 2U);
  EXPECT_EQ(totals_.files_skipped, 1U);
  EXPECT_EQ(totals_.files_failed, 0U);
}

TEST_F(ScannerTest, NamesThatAreNotUtf8) {
  fs_.AddFile("/data/\xff\xfe/\n", Blocks(1, 16));
  fs_.AddFile("/data/\xff\xfe/\x1b[2J", Blocks(1, 16));
  ScanAndWin(16);
}

TEST_F(ScannerTest, PathsThatOverlapAreWalkedOnce) {
  for (const char* name : {"/data/d/a", "/data/d/b", "/data/d-x/c", "/data/e"})
    fs_.AddFile(name, Blocks(1, 16));
  request_.paths = {"d/a", "d", "d-x/c", "d/b", "d"};
  ScanAndWin(32);
  EXPECT_EQ(totals_.files_scanned, 3U);
  request_.paths = {"d", ""};
  ScanAndWin(16);
  EXPECT_EQ(totals_.files_scanned, 4U);
}

TEST_F(ScannerTest, APathThatIsNotThereFailsTheScanAndTheOthersAreDone) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddSymlink("/data/link");
  request_.paths = {"absent", "link", "z"};
  fs_.AddFile("/data/z", Blocks(1, 16));
  EXPECT_THAT(Scan(), HasErrno(ENOENT));
  EXPECT_EQ(totals_.files_scanned, 1U);
}

TEST_F(ScannerTest, ErrorsOfTheRootItselfEndIt) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.Fail(Operation::kList, "/data", EIO);
  EXPECT_THAT(Scan(), HasErrno(EIO));
  fs_.Fail(Operation::kList, "/data", 0);
  fs_.Fail(Operation::kFacts, "/data", ESTALE);
  EXPECT_THAT(Scan(), HasErrno(ESTALE));
  fs_.Fail(Operation::kFacts, "/data", 0);
  fs_.Fail(Operation::kCommit, "/data", EROFS);
  EXPECT_THAT(Scan(), HasErrno(EROFS));
}

TEST_F(ScannerTest, WhereThereAreNoChecksumsToReadFilesAreRead) {
  for (const int error : {EOPNOTSUPP, ENOTTY, EPERM, EACCES}) {
    fs_.AddFile("/data/a", Blocks(1, 16));
    fs_.AddFile("/data/b", Blocks(1, 16));
    fs_.Fail(Operation::kStorageMap, "/data", error);
    EXPECT_THAT(Scan(), IsOk()) << error;
    EXPECT_EQ(totals_.files_read, 2U) << error;
    EXPECT_EQ(totals_.bytes_accepted, 16 * kBlock) << error;
  }
}

// Another time they are there.
TEST_F(ScannerTest, WhereChecksumsCannotBeReadNowTheScanFails) {
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/b", Blocks(1, 16));
  for (const int error : {EIO, ENOMEM, EINTR, ESTALE}) {
    fs_.Fail(Operation::kStorageMap, "/data", error);
    for (const bool dry_run : {false, true}) {
      request_.dry_run = dry_run;
      EXPECT_THAT(Scan(), HasErrno(error));
      EXPECT_EQ(totals_.files_read, 0U) << error;
    }
  }
  EXPECT_TRUE(fs_.dedupe_calls().empty());
}

// Files are looked at in windows of 64 MiB; a run may cross from one to the next. Mostly holes here.
TEST_F(ScannerTest, RunsAcrossWindows) {
  constexpr uint64_t kWindow = 64 << 20;
  for (const char* name : {"/data/a", "/data/b"}) {
    fs_.AddFile(name, "");
    fs_.Write(name, kWindow - 20 * kBlock, Blocks(1, 40));
  }
  fs_.AddFile("/data/c", Blocks(1, 40));
  ScanAndWin(80);
  EXPECT_EQ(fs_.SharedBytes("/data/a", 0, "/data/b", 0, 2 * kWindow), 40 * kBlock);
}

// What is compared at once is cut, the run is not.
TEST_F(ScannerTest, RunsAreAsLongAsTheyAreAtAnyAlignment) {
  const std::string run = Blocks(1, 5000);
  request_.min_extent_length = 4500 * kBlock;
  fs_.AddFile("/data/a", run);
  fs_.AddFile("/data/b", Blocks(2, 333) + run);
  fs_.AddFile("/data/c", Blocks(3, 7) + run.substr(0, 4400 * kBlock));
  ScanAndWin(5000);
  EXPECT_TRUE(Shares("a", 0, "b", 333, 5000));
}

TEST_F(ScannerTest, RowsOfOneBlockComeDownToOneShortRow) {
  request_.min_extent_length = kBlock;
  const std::string zeros(4000 * kBlock, '\0');
  fs_.AddFile("/data/a", Blocks(1, 3) + zeros);
  fs_.AddFile("/data/b", zeros + Blocks(2, 3));
  const uint64_t before = Free();
  EXPECT_THAT(Scan(), IsOk());
  const uint64_t freed = (Free() - before) / kBlock;
  EXPECT_GE(freed, 8000u - 128u - 256u);  // an eighth of what the first section has, then half of the next
  EXPECT_EQ(totals_.bytes_freeable, freed * kBlock);
  EXPECT_LE(fs_.dedupe_calls().size(), 10u);
  EXPECT_EQ(fs_.Content("/data/a"), Blocks(1, 3) + zeros);
  EXPECT_EQ(fs_.Content("/data/b"), zeros + Blocks(2, 3));
  ScanAndWin(0);
}

// A short row is shared step by step, a long one with a part of itself: what is kept of each is not cut
// again, nor the pieces that share with it.
TEST_F(ScannerTest, WhatWasKeptOfRowsStays) {
  request_.min_extent_length = kBlock;
  std::string rows;
  for (const int blocks : {5, 39, 8, 70, 200}) {
    rows += Blocks(rows.size(), 2);
    for (int i = 0; i < blocks; ++i) rows += Blocks(100000 + blocks, 1);
  }
  fs_.AddFile("/data/a", rows);
  fs_.AddFile("/data/b", rows);
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_GT(totals_.bytes_accepted, rows.size());
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(totals_.duplicate_bytes, 0U);
  EXPECT_EQ(totals_.bytes_accepted, 0U);
}

TEST_F(ScannerTest, FilesAreReadInTheOrderOfTheirInodes) {
  for (const char* name : {"/data/a", "/data/b", "/data/d/c"}) fs_.AddFile(name, Blocks(1, 16));
  fs_.TellInode("/data/a", 30);
  fs_.TellInode("/data/b", 20);
  fs_.TellInode("/data/d/c", 10);
  ScanAndWin(32);
  ASSERT_EQ(found_.size(), 2U);
  EXPECT_EQ(found_[0].source_path, "d/c");
  EXPECT_EQ(found_[0].destination_path, "b");
  EXPECT_EQ(found_[1].destination_path, "a");
  EXPECT_EQ(totals_.files_read, 3U);
}

TEST_F(ScannerTest, FilesKeepToTheirLimitOfExtents) {
  request_.max_extents_per_file = 3;
  fs_.AddFile("/data/a", Blocks(1, 8));
  // Its middle would make three extents of one, the next two more.
  fs_.AddFile("/data/b", Blocks(2, 4) + Blocks(1, 8) + Blocks(3, 4) + Blocks(1, 8) + Blocks(4, 4));
  const uint64_t before = Free();
  EXPECT_THAT(Scan(), IsOk());
  EXPECT_EQ(Free() - before, 8 * kBlock);
  EXPECT_EQ(totals_.bytes_freeable, 8 * kBlock);
  EXPECT_EQ(totals_.bytes_fragmenting, 8 * kBlock);
  EXPECT_EQ(totals_.bytes_unprofitable, 0U);
}

// They lie behind what was read when the file is to be split.
TEST_F(ScannerTest, ExtentsFarBehindCountToo) {
  constexpr uint64_t kBehind = 16384;
  const std::string twice = Blocks(1, 8);
  fs_.AddFile("/data/a", twice);
  // More than is read ahead of what is compared.
  fs_.AddFile("/data/b", Blocks(2, 4) + twice + Blocks(3, 4) + twice + Blocks(4, 9000));
  Scatter("/data/b", kBehind, Blocks(5, 6));
  ExpectToTakeExtents(8, 11, 16);
}

TEST_F(ScannerTest, AFragmentedSourceSplitsThoseThatShareWithIt) {
  fs_.AddFile("/data/a", "");
  Scatter("/data/a", 0, Blocks(1, 8));
  fs_.AddFile("/data/b", Blocks(2, 4) + Blocks(1, 8) + Blocks(3, 4));
  ExpectToTakeExtents(9, 10, 8);
}

// It is read in sections, and is one extent all the same.
TEST_F(ScannerTest, ALongRunCountsOnce) {
  request_.max_extents_per_file = 3;
  fs_.AddFile("/data/a", Blocks(1, 3000));
  fs_.AddFile("/data/b", Blocks(2, 4) + Blocks(1, 3000) + Blocks(3, 4));
  ScanAndWin(3000);
  EXPECT_EQ(totals_.bytes_fragmenting, 0U);
}

TEST_F(ScannerTest, WholeExtentsAreSharedHoweverShort) {
  fs_.AddFile("/data/a", Blocks(1, 2));
  fs_.AddFile("/data/b", Blocks(1, 2));
  fs_.AddFile("/data/c", Blocks(2, 8));
  fs_.Write("/data/c", 3 * kBlock, Blocks(1, 2));
  // Parts of extents, of which neither is split for so little.
  fs_.AddFile("/data/d", Blocks(1, 2) + Blocks(3, 4));
  fs_.AddFile("/data/e", Blocks(4, 4) + Blocks(1, 2));
  ScanAndWin(4);
  EXPECT_TRUE(Shares("a", 0, "b", 0, 2));
  EXPECT_TRUE(Shares("a", 0, "c", 3, 2));
}

// What a dry run says is what the run then frees, also where several places hold the storage.
TEST_F(ScannerTest, DryRunEstimatesWhatIsFreed) {
  for (const char* name : {"/data/b", "/data/c", "/data/d"}) fs_.AddFile(name, Blocks(1, 16));
  ScanAndWin(32);
  fs_.AddFile("/data/a", Blocks(1, 16));
  fs_.AddFile("/data/e", Blocks(2, 9) + Blocks(1, 16).substr(3 * kBlock));
  request_.dry_run = true;
  ScanAndWin(0);
  const uint64_t freeable = totals_.bytes_freeable;
  EXPECT_EQ(freeable, (16 + 13) * kBlock);
  request_.dry_run = false;
  ScanAndWin(16 + 13);
}

TEST_F(ScannerTest, ALastBlockGoesFreeAsAWhole) {
  for (const char* name : {"/data/a", "/data/b"}) fs_.AddFile(name, Blocks(1, 8).substr(0, 7 * kBlock + 100));
  ScanAndWin(8);
  EXPECT_EQ(totals_.bytes_freeable, 8 * kBlock);
  EXPECT_EQ(totals_.duplicate_bytes, 7 * kBlock + 100);
}

// More anchors than the index holds: long runs are found all the same.
TEST_F(ScannerTest, LongRunsAreFoundWhenTheIndexIsSampled) {
  fs_.AddFile("/data/big", Blocks(1, 60000));
  fs_.AddFile("/data/copy", Blocks(9, 3) + Blocks(1, 60000).substr(50000 * kBlock));
  EXPECT_THAT(Scan(fs_, 1 << 20), IsOk());
  EXPECT_EQ(totals_.bytes_won, static_cast<int64_t>(10000 * kBlock));
}

// More files with several names than can be remembered: the others are read again, and equal only themselves.
TEST_F(ScannerTest, ASecondNameBeyondTheMemoryIsNoDuplicate) {
  constexpr int kFiles = 400;
  for (int i = 0; i < kFiles; ++i) {
    fs_.AddFile(absl::StrCat("/data/a", i), Blocks(i, 5));
    fs_.AddLink(absl::StrCat("/data/b", i), absl::StrCat("/data/a", i));
  }
  EXPECT_THAT(Scan(fs_, 1 << 20), IsOk());
  EXPECT_GT(totals_.files_read, uint64_t{kFiles});
  EXPECT_GT(totals_.files_skipped, 0U);
  EXPECT_EQ(totals_.duplicate_ranges, 0U);
}

TEST_F(ScannerTest, AThrottledScanReadsInSmallSteps) {
  class RecordingOps final : public PassingOps {
   public:
    using PassingOps::PassingOps;
    void StartReading(int fd, uint64_t offset, uint64_t length) override {
      started.push_back(length);
      PassingOps::StartReading(fd, offset, length);
    }
    std::vector<uint64_t> started;  // lengths
  };
  fs_.AddFile("/data/a", Blocks(1, 300));
  fs_.SetCached(CachedPart::kLittle);
  request_.bytes_per_second = uint64_t{1} << 30;
  RecordingOps ops(fs_);
  EXPECT_THAT(Scan(ops), IsOk());
  uint64_t bytes = 0;
  for (const uint64_t length : ops.started) {
    EXPECT_GT(length, 0U);
    EXPECT_LE(length, 256U << 10);
    bytes += length;
  }
  EXPECT_EQ(bytes, 300 * kBlock);
}

// Of ranges longer than what may be on its way.
TEST_F(ScannerTest, WhatIsSharedIsReadOnceAndBegunAheadWithinBounds) {
  constexpr uint64_t kMiB = 1 << 20;
  constexpr uint64_t kSize = 13 * kMiB;
  class PageCache final : public PassingOps {
   public:
    using PassingOps::PassingOps;
    CachedPart Cached(int fd, uint64_t offset, uint64_t length) override {
      uint64_t cached = 0;
      for (uint64_t at = 0; at < length; at += kMiB) cached += cached_.count({fd, (offset + at) / kMiB});
      return cached * kMiB >= length ? CachedPart::kAll : CachedPart::kLittle;
    }
    void StartReading(int /*fd*/, uint64_t /*offset*/, uint64_t length) override {
      begun += length;
      on_its_way = std::max(on_its_way, begun - cached_.size() * kMiB);
    }
    void Prefetch(int fd, uint64_t offset, uint64_t length) override {
      for (uint64_t at = 0; at < length; at += kMiB) cached_.insert({fd, (offset + at) / kMiB});
    }
    uint64_t begun = 0;
    uint64_t on_its_way = 0;  // at most

   private:
    std::set<std::pair<int, uint64_t>> cached_;  // MiB
  };
  for (const char* path : {"/data/a", "/data/b"}) fs_.AddFile(path, Blocks(1, kSize / kBlock));
  request_.workers = 1;
  PageCache cache(fs_);
  EXPECT_THAT(Scan(cache), IsOk());
  EXPECT_TRUE(Shares("a", 0, "b", 0, kSize / kBlock));
  EXPECT_EQ(cache.begun, 2 * kSize);
  EXPECT_GE(cache.on_its_way, 8 * kMiB);
  EXPECT_LE(cache.on_its_way, 12 * kMiB);
}

TEST_F(ScannerTest, RateLimitWaitsAndAStopEndsTheWait) {
  // At 1 byte a second, the second file would wait for half a day.
  request_.bytes_per_second = 1;
  fs_.AddFile("/data/a", Blocks(1, 10));
  fs_.AddFile("/data/b", Blocks(1, 10));
  fs_.AddFile("/data/c", Blocks(1, 10));
  fs_.BeforeDedupe(
      [&](const FakeFilesystem::DedupeCall&) { ADD_FAILURE() << "b was matched without waiting"; });
  std::thread canceller([this] {
    while (fs_.commits() == 0) std::this_thread::yield();
    stop_.Request();
  });
  EXPECT_THAT(Scan(), HasReason("CANCELLED"));
  canceller.join();
}

}  // namespace
}  // namespace cowherd
