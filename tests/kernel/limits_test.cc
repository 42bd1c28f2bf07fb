// What a scan leaves alone on btrfs because of its options, and how near its estimate is.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/scan/scanner.h"
#include "tests/kernel/loop_test.h"
#include "tests/kernel/scan_loop.h"
#include "tests/testing/command.h"
#include "tests/testing/loop_filesystem.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kChangedBlocks = 64;

class LimitsTest : public LoopTest {
 protected:
  void SetUp() override {
    LoopTest::SetUp();
    if (HasFatalFailure()) return;
    std::mt19937_64 random(7);
    std::string content;
    while (content.size() < 8 * kMiB) {
      const uint64_t word = random();
      content.append(reinterpret_cast<const char*>(&word), sizeof(word));
    }
    directory_->AddFile("one", content);
    for (uint64_t i = 0; i < kChangedBlocks; ++i)
      content[i * content.size() / kChangedBlocks + 8 * kBlock] ^= 1;
    directory_->AddFile("two", content);
    ASSERT_EQ(directory_->ops().Commit(tree_->root_fd()), absl::OkStatus());
  }

  // Which of the two gives up its storage depends on where it lies.
  uint64_t MostExtents() { return std::max(ExtentsOf("one"), ExtentsOf("two")); }

  Totals Scan(const ScanRequest& request) {
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    const Stop stop;
    EXPECT_EQ(ScanTree(directory_->ops(), *tree_, request, kMiB, pace, stop, totals, [](const Duplicate&) {}),
              absl::OkStatus());
    return totals.Get();
  }

  uint64_t ExtentsOf(const std::string& name, uint64_t most = UINT64_MAX - 1) {
    const auto map = tree_->OpenStorageMap();
    EXPECT_TRUE(map.ok()) << map.status();
    const auto file = tree_->Open(name, /*for_destination=*/false);
    EXPECT_TRUE(file.ok()) << file.status();
    if (!map.ok() || !file.ok()) return 0;
    const auto extents = (*map)->ExtentsOf({(*map)->root().subvolume, file->facts.inode}, most);
    EXPECT_TRUE(extents.ok()) << extents.status();
    return extents.value_or(0);
  }
};

TEST_P(LimitsTest, FilesAreNotSplitIntoMoreExtentsThanAllowed) {
  ASSERT_EQ(MostExtents(), 1u);
  ScanRequest request;
  request.max_extents_per_file = 100;
  const Totals totals = Scan(request);
  EXPECT_EQ(totals.bytes_accepted, 0u);
  EXPECT_EQ(totals.bytes_freeable, 0u);
  EXPECT_EQ(totals.bytes_fragmenting, 8 * kMiB - kChangedBlocks * kBlock);
  EXPECT_EQ(totals.bytes_unprofitable, 0u);
  EXPECT_EQ(MostExtents(), 1u);

  request.max_extents_per_file = 2 * kChangedBlocks + 1;
  EXPECT_GT(Scan(request).bytes_accepted, 7 * kMiB);
  EXPECT_GT(MostExtents(), kChangedBlocks);
  EXPECT_LE(MostExtents(), request.max_extents_per_file);
  EXPECT_EQ(std::max(ExtentsOf("one", 10), ExtentsOf("two", 10)), 11u);
}

TEST_P(LimitsTest, NothingIsMovedForLessThanAskedFor) {
  ScanRequest request;
  request.min_freed_per_moved = 33;  // of 2048 blocks 64 are to be moved
  Totals totals = Scan(request);
  EXPECT_EQ(totals.bytes_accepted, 0u);
  EXPECT_EQ(totals.bytes_moved, 0u);
  EXPECT_EQ(totals.bytes_unprofitable, 8 * kMiB - kChangedBlocks * kBlock);
  request.min_freed_per_moved = 32;
  totals = Scan(request);
  EXPECT_EQ(totals.bytes_moved, kChangedBlocks * kBlock);
  EXPECT_EQ(totals.bytes_unprofitable, 0u);
  EXPECT_EQ(totals.bytes_accepted, 8 * kMiB - kChangedBlocks * kBlock);
}

// An extent that ends with a short tail of its own, and that two files have.
TEST_P(LimitsTest, FilesThatEndWithinAMovedBlockHaveItsCopyTogether) {
  constexpr uint64_t kLength = 64 * kBlock;
  constexpr uint64_t kTail = 100;  // so little could be kept inline, which each file has for itself
  const std::string content(directory_->Content("one").substr(0, kLength));
  for (const std::string name : {"three", "four"}) {
    directory_->AddFile(name, content + std::string(kTail, name[0]));
    ASSERT_EQ(RunCommand({"cp", "--reflink=always", directory_->At(name), directory_->At(name + "_again")}),
              absl::OkStatus());
  }
  directory_->Remove("one");
  directory_->Remove("two");
  ASSERT_EQ(directory_->ops().Commit(tree_->root_fd()), absl::OkStatus());
  const Totals totals = Scan(ScanRequest());
  EXPECT_EQ(totals.bytes_moved, kBlock);
  EXPECT_EQ(totals.bytes_accepted, 2 * kLength);
  const auto tail_of = [this](const std::string& name) {
    const Fd fd(::open(directory_->At(name).c_str(), O_RDONLY | O_CLOEXEC));
    const auto list = directory_->ops().Extents(fd.get(), kLength, kBlock, 1, /*flush=*/true);
    EXPECT_TRUE(list.ok()) << list.status();
    return !list.ok() || list->extents.empty()
               ? 0
               : list->extents[0].physical + kLength - list->extents[0].offset;
  };
  for (const std::string name : {"three", "four"}) EXPECT_EQ(tail_of(name), tail_of(name + "_again")) << name;
}

TEST_P(LimitsTest, TheEstimateComesTrue) {
  ScanRequest request;
  request.dry_run = true;
  const Totals estimate = Scan(request);
  EXPECT_EQ(estimate.bytes_freeable, 8 * kMiB - kChangedBlocks * kBlock);
  EXPECT_EQ(estimate.bytes_moved, kChangedBlocks * kBlock);
  // Both files, but for the changed blocks of the source.
  EXPECT_EQ(estimate.bytes_read, 16 * kMiB - kChangedBlocks * kBlock);
  EXPECT_EQ(estimate.bytes_accepted, 0u);
  request.dry_run = false;
  const Totals done = Scan(request);
  EXPECT_EQ(done.bytes_freeable, estimate.bytes_freeable);
  EXPECT_EQ(done.bytes_moved, estimate.bytes_moved);
  EXPECT_EQ(done.bytes_read, estimate.bytes_read);
  EXPECT_NEAR(static_cast<double>(done.bytes_won), static_cast<double>(estimate.bytes_freeable),
              0.02 * static_cast<double>(estimate.bytes_freeable));
}

TEST_P(LimitsTest, WhatFilesOutsideTheScanHoldIsLeft) {
  for (const std::string name : {"one", "two"}) {
    directory_->AddFile("clone_of_" + name, "");
    const Fd from(::open(directory_->At(name).c_str(), O_RDONLY | O_CLOEXEC));
    const Fd to(::open(directory_->At("clone_of_" + name).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::ioctl(to.get(), FICLONE, from.get()), 0);
  }
  ScanRequest request;
  request.exclude = {"clone*"};
  const Totals totals = Scan(request);
  EXPECT_EQ(totals.bytes_held, 8 * kMiB - kChangedBlocks * kBlock);
  EXPECT_EQ(totals.bytes_freeable + totals.bytes_accepted, 0u);
  // Of what no file of the scan has, nothing is held.
  request.exclude = {"*"};
  EXPECT_EQ(Scan(request).bytes_held, 0u);
}

// A file is within the scan by any of its names. btrfs keeps them by directory, older directories first.
TEST_P(LimitsTest, AnyNameThatIsAskedForCounts) {
  const uint64_t freeable = 8 * kMiB - kChangedBlocks * kBlock;
  ScanRequest request;
  request.dry_run = true;
  for (const std::string name : {"one", "two"}) directory_->AddLink("asked/" + name, name);
  request.paths = {"asked"};
  EXPECT_EQ(Scan(request).bytes_freeable, freeable);
  request.paths = {};
  request.exclude = {"one", "two"};
  EXPECT_EQ(Scan(request).bytes_freeable, 0u);
  request.exclude = {};
  // More than fit into one item of a tree (names of inodes, linux/btrfs_tree.h).
  for (const std::string name : {"one", "two"}) {
    for (int i = 0; i < 200; ++i) {
      directory_->AddLink(absl::StrCat(name, ".", i, ".", std::string(200, 'x')), name);
    }
    directory_->AddLink(name + ".last", name);
  }
  request.include = {"*.last"};
  EXPECT_EQ(Scan(request).bytes_freeable, freeable);
  // The first name lies outside the root.
  std::vector<std::string> outside;
  const absl::Cleanup remove = [&outside] {
    for (const std::string& path : outside) ::unlink(path.c_str());
  };
  for (const std::string name : {"one", "two"}) {
    outside.push_back(absl::StrCat(loop_->path(), "/", name));
    ASSERT_EQ(::rename(directory_->At(name).c_str(), outside.back().c_str()), 0);
  }
  EXPECT_EQ(Scan(request).bytes_freeable, freeable);
  request.dry_run = false;
  EXPECT_EQ(Scan(request).bytes_accepted, freeable);
}

// Plain extents, of which a part is moved while the filesystem compresses.
class CompressedMoveTest : public ::testing::TestWithParam<bool> {};

TEST_P(CompressedMoveTest, FilesAreNotSplitIntoMoreExtentsThanAllowed) {
  constexpr uint64_t kMoved = 2 * kMiB;
  LoopFilesystem::Options options;
  options.type = "btrfs";
  const auto loop = LoopFilesystem::Make(options);
  ASSERT_TRUE(loop.ok()) << loop.status();
  std::mt19937_64 random(7);
  std::string content(16 * kMiB, '\0');
  for (size_t i = 0; i < content.size(); i += 64) content[i] = static_cast<char>(random());
  const std::string paths[] = {(*loop)->path() + "/one", (*loop)->path() + "/two"};
  for (const std::string& path : paths) {
    std::ofstream(path, std::ios::binary) << content;
    for (size_t i = 0; i < kMoved; i += 64) ++content[5 * kMiB + i];
  }
  const auto may_compress = [&] {
    const auto tree = LinuxFileTrees().OpenRoot({"root", (*loop)->path(), (*loop)->path()});
    EXPECT_TRUE(tree.ok()) << tree.status();
    const auto map = (*tree)->OpenStorageMap();
    EXPECT_TRUE(map.ok()) << map.status();
    return (*map)->may_compress();
  };
  EXPECT_FALSE(may_compress());
  const bool by_mount = GetParam();
  ASSERT_EQ((*loop)->Unmount(), absl::OkStatus());
  ASSERT_EQ((*loop)->Mount(by_mount ? "compress-force=zstd" : ""), absl::OkStatus());
  if (!by_mount) {
    ASSERT_EQ(RunCommand({"chattr", "+c", (*loop)->path()}), absl::OkStatus());
  }
  EXPECT_TRUE(may_compress());
  const auto most_extents = [&] {
    uint64_t most = 0;
    for (const std::string& path : paths) {
      const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      const auto list = LinuxExtentOps().Extents(fd.get(), 0, content.size(), 1000, /*flush=*/true);
      EXPECT_TRUE(list.ok()) << list.status();
      if (list.ok()) most = std::max<uint64_t>(most, list->extents.size());
    }
    return most;
  };
  ScanRequest request;
  request.max_extents_per_file = 12;
  EXPECT_EQ(ScanLoop(**loop, request, Stop(), [](const Duplicate&) {}).totals.bytes_fragmenting, 14 * kMiB);
  EXPECT_LE(most_extents(), request.max_extents_per_file);
  request.max_extents_per_file = 24;
  EXPECT_EQ(ScanLoop(**loop, request, Stop(), [](const Duplicate&) {}).totals.bytes_accepted, 14 * kMiB);
  EXPECT_GT(most_extents(), 12U);
  EXPECT_LE(most_extents(), request.max_extents_per_file);
}

INSTANTIATE_TEST_SUITE_P(Btrfs, CompressedMoveTest, testing::Bool());

INSTANTIATE_TEST_SUITE_P(Btrfs, LimitsTest, testing::Values("btrfs"));

}  // namespace
}  // namespace cowherd
