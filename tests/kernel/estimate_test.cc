// What a dry run promises, and what the scan that follows it frees, for real: where blocks are smaller than
// a page, extents are compressed, and snapshots hold them too. limits_test has plain btrfs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/fs/linux_extent_ops.h"
#include "tests/kernel/scan_loop.h"
#include "tests/testing/command.h"
#include "tests/testing/loop_filesystem.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Bytes;
using testing::kBlock;
constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;

struct Config {
  std::string name;
  std::string type;
  std::vector<std::string> mkfs_arguments;
  std::string mount_options;
};

class EstimateTest : public ::testing::TestWithParam<Config> {
 protected:
  void SetUp() override {
    LoopFilesystem::Options options;
    options.type = GetParam().type;
    options.mkfs_arguments = GetParam().mkfs_arguments;
    absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
    ASSERT_TRUE(made.ok()) << made.status();
    loop_ = *std::move(made);
    Remount();
    request_.min_extent_length = kBlock;
    request_.min_file_size = 1;
  }

  // What is reserved ahead of files that were just written is let go.
  void Remount() {
    ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
    ASSERT_EQ(loop_->Mount(GetParam().mount_options), absl::OkStatus());
  }

  void Write(const std::string& name, const std::string& bytes) {
    const std::string path = absl::StrCat(loop_->path(), "/", name);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

  // Into the file that is there.
  void Overwrite(const std::string& name, uint64_t offset, const std::string& bytes) {
    const Fd fd(::open(absl::StrCat(loop_->path(), "/", name).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  }

  // Bytes that compress to about a half.
  static std::string Text(uint64_t seed, uint64_t length) {
    std::string text = Bytes(seed, length);
    for (size_t i = 0; i < text.size(); i += 16) text.replace(i, 8, 8, 'x');
    return text;
  }

  // Images with small changes and shifts, small files, zeros, patterns.
  void WriteMixture(const std::string& folder, const std::string& image) {
    Write(folder + "/image", image);
    Write(folder + "/copy", image);
    std::string changed = image;
    for (uint64_t at = 32 * kBlock; at < changed.size(); at += 256 * kKiB) changed[at] ^= 1;
    Write(folder + "/changed", changed);
    Write(folder + "/shifted", image.substr(0, 3 * kBlock) + image);
    Write(folder + "/part", Bytes(77, kMiB) + image.substr(kMiB, 2 * kMiB) + Bytes(78, kMiB + 100));
    Write(folder + "/zeros", std::string(2 * kMiB, '\0') + image.substr(0, kMiB));
    for (uint64_t i = 0; i < 300; ++i) {
      const std::string small = image.substr(i * 7 * kBlock, 5 * kKiB + i % 40 * 700);
      for (const char* kind : {"/a", "/b"}) Write(absl::StrCat(folder, kind, i), Bytes(i, kBlock) + small);
    }
  }

  uint64_t Free() {
    Remount();
    const Fd root(::open(loop_->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_EQ(ops_.Commit(root.get()), absl::OkStatus());
    return ops_.Facts(root.get())->free_bytes;
  }

  // Scans dry, then for real.
  void ExpectTheEstimateComesTrue() {
    const uint64_t before = Free();
    request_.dry_run = true;
    const Scanned dry = ScanLoop(*loop_, request_, Stop(), [](const Duplicate&) {});
    ASSERT_EQ(dry.status, absl::OkStatus());
    request_.dry_run = false;
    const Scanned done = ScanLoop(*loop_, request_, Stop(), [](const Duplicate&) {});
    ASSERT_EQ(done.status, absl::OkStatus());
    const auto freed = static_cast<double>(Free() - before);
    EXPECT_EQ(done.totals.ranges_failed + done.totals.files_failed, 0u);
    std::printf("%s: duplicate %.0f KiB, freeable %.0f KiB, then freed %.0f KiB\n", GetParam().name.c_str(),
                static_cast<double>(dry.totals.duplicate_bytes) / kKiB,
                static_cast<double>(dry.totals.bytes_freeable) / kKiB, freed / kKiB);
    EXPECT_GT(freed, 0);
    EXPECT_NEAR(static_cast<double>(dry.totals.bytes_freeable), freed, 0.02 * freed);
    EXPECT_NEAR(static_cast<double>(done.totals.bytes_won), freed, 0.02 * freed);
    EXPECT_EQ(done.totals.bytes_freeable, dry.totals.bytes_freeable);
    EXPECT_EQ(done.totals.duplicate_bytes, dry.totals.duplicate_bytes);
  }

  LinuxExtentOps ops_;
  std::unique_ptr<LoopFilesystem> loop_;
  ScanRequest request_;
};

TEST_P(EstimateTest, OfAMixtureComesTrue) {
  WriteMixture("d", Bytes(1, 12 * kMiB));
  ExpectTheEstimateComesTrue();
}

TEST_P(EstimateTest, OfTextComesTrue) {
  WriteMixture("d", Text(1, 12 * kMiB));
  ExpectTheEstimateComesTrue();
}

// An odd kilobyte each.
TEST_P(EstimateTest, OfSmallFilesComesTrue) {
  for (uint64_t i = 0; i < 1000; ++i) {
    for (const char* kind : {"a", "b", "c"}) Write(absl::StrCat(kind, i), Bytes(i, 5 * kKiB));
  }
  ExpectTheEstimateComesTrue();
}

INSTANTIATE_TEST_SUITE_P(Filesystems, EstimateTest,
                         ::testing::Values(Config{"xfs", "xfs", {}, ""},
                                           Config{"xfs1k", "xfs", {"-b", "size=1024"}, ""},
                                           Config{"btrfs", "btrfs", {}, ""},
                                           Config{"compressed", "btrfs", {}, "compress-force=zstd"}),
                         [](const auto& info) { return info.param.name; });

class SnapshotEstimateTest : public EstimateTest {};

TEST_P(SnapshotEstimateTest, ComesTrue) {
  const std::string top = loop_->path() + "/top";
  ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "create", top}), absl::OkStatus());
  // So much that what snapshots cease to share of their metadata is little.
  const std::string image = Text(1, 32 * kMiB);
  WriteMixture("top", image);
  ::sync();
  ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "snapshot", top, loop_->path() + "/snapshot"}),
            absl::OkStatus());
  for (uint64_t at = 0; at < 4 * kMiB; at += kMiB) Overwrite("top/copy", at, Bytes(at + 5, 64 * kKiB));
  Write("top/later", image);
  ExpectTheEstimateComesTrue();
}

INSTANTIATE_TEST_SUITE_P(Filesystems, SnapshotEstimateTest,
                         ::testing::Values(Config{"btrfs", "btrfs", {}, ""},
                                           Config{"compressed", "btrfs", {}, "compress-force=zstd"}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cowherd
