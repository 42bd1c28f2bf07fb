// A dedupe shares exactly the named destination range with exactly the named source range, and changes
// nothing a reader can see.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/fs/linux_extent_ops.h"
#include "tests/kernel/loop_test.h"
#include "tests/server/dedupe/neighbours_suite.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kMiB = 1 << 20;

// Bytes with no two blocks alike.
std::string Blocks(uint64_t seed, uint64_t size) {
  std::string bytes(size, '\0');
  for (uint64_t at = 0; at < size; at += 8) {
    const uint64_t word = XXH3_64bits_withSeed(&at, sizeof(at), seed);
    std::copy_n(reinterpret_cast<const char*>(&word), 8, &bytes[at]);
  }
  return bytes;
}

struct Look {
  uint64_t checksum;
  std::vector<int64_t> times;
};

bool operator==(const Look& a, const Look& b) { return a.checksum == b.checksum && a.times == b.times; }

// Whether a page of the cache is part of a larger one (Documentation/admin-guide/mm/pagemap.rst).
bool IsOfLargeFolio(const Fd& fd, uint64_t offset) {
  void* const map = ::mmap(nullptr, kBlock, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(offset));
  EXPECT_NE(map, MAP_FAILED);
  // To look reads nothing more.
  EXPECT_EQ(::madvise(map, kBlock, MADV_RANDOM), 0);
  [[maybe_unused]] const char byte = *static_cast<volatile char*>(map);
  const auto word_of = [](const char* path, uint64_t index) {
    const Fd words(::open(path, O_RDONLY | O_CLOEXEC));
    uint64_t word = 0;
    const auto at = static_cast<off_t>(index * sizeof(word));
    EXPECT_EQ(::pread(words.get(), &word, sizeof(word), at), static_cast<ssize_t>(sizeof(word))) << path;
    return word;
  };
  const uint64_t frame =
      word_of("/proc/self/pagemap", reinterpret_cast<uintptr_t>(map) / kBlock) & ((uint64_t{1} << 55) - 1);
  const uint64_t flags = word_of("/proc/kpageflags", frame);
  ::munmap(map, kBlock);
  constexpr int kCompoundHead = 15;
  constexpr int kCompoundTail = 16;
  return (flags >> kCompoundHead & 1) != 0 || (flags >> kCompoundTail & 1) != 0;
}

class SharingTest : public LoopTest {
 protected:
  Fd Open(const std::string& path) {
    absl::StatusOr<OpenFile> file = tree_->Open(path, true);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? std::move(file->fd) : Fd();
  }

  // Address of each block, 0 for holes.
  std::vector<uint64_t> Map(const Fd& fd, uint64_t size) {
    std::vector<uint64_t> map(size / kBlock);
    const absl::StatusOr<ExtentList> list = directory_->ops().Extents(fd.get(), 0, size, 1000000, true);
    EXPECT_TRUE(list.ok()) << list.status();
    if (!list.ok()) return map;
    EXPECT_EQ(list->next_offset, 0u);
    for (const FileExtent& extent : list->extents) {
      for (uint64_t i = 0; i < extent.length / kBlock; ++i) {
        const uint64_t block = extent.offset / kBlock + i;
        if (block < map.size()) map[block] = extent.physical + i * kBlock;
      }
    }
    return map;
  }

  // Access time is taken before the content is read here.
  Look LookAt(const std::string& path) {
    struct stat stat;
    EXPECT_EQ(::stat(directory_->At(path).c_str(), &stat), 0);
    const std::string content = directory_->Content(path);
    Look look{XXH3_64bits(content.data(), content.size()), {}};
    for (const timespec& time : {stat.st_atim, stat.st_mtim, stat.st_ctim}) {
      look.times.push_back(time.tv_sec * 1000000000 + time.tv_nsec);
    }
    return look;
  }

  void Dedupe(const Fd& source, uint64_t offset, uint64_t length, const Fd& target, uint64_t target_offset) {
    directory_->ops().Prefetch(source.get(), offset, length);
    directory_->ops().Prefetch(target.get(), target_offset, length);
    const auto answers =
        directory_->ops().Dedupe(source.get(), offset, length, {{target.get(), target_offset}});
    ASSERT_TRUE(answers.ok()) << answers.status();
    EXPECT_EQ(answers->front().kind, DedupeAnswer::Kind::kSame) << ErrnoName(answers->front().error);
    EXPECT_EQ(answers->front().bytes, length);
  }
};

TEST_P(SharingTest, SixtyFourMiBTwice) {
  constexpr uint64_t kSize = 64 * kMiB;
  const std::string content = Blocks(1, kSize);
  directory_->AddFile("source", content);
  directory_->AddFile("target", content);
  directory_->AddFile("bystander", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  const Fd bystander = Open("bystander");
  ASSERT_TRUE(directory_->ops().Commit(tree_->root_fd()).ok());
  // Readers here would move access times before the comparison.
  LookAt("source");
  LookAt("target");
  const Look source_before = LookAt("source");
  const Look target_before = LookAt("target");
  const std::vector<uint64_t> source_map = Map(source, kSize);
  const std::vector<uint64_t> bystander_map = Map(bystander, kSize);
  const uint64_t free_before = directory_->ops().Facts(tree_->root_fd())->free_bytes;

  Dedupe(source, 0, kSize, target, 0);

  EXPECT_EQ(Map(source, kSize), source_map);
  EXPECT_EQ(Map(target, kSize), source_map);
  EXPECT_EQ(Map(bystander, kSize), bystander_map);
  EXPECT_TRUE(LookAt("source") == source_before);
  EXPECT_TRUE(LookAt("target") == target_before);
  ASSERT_TRUE(directory_->ops().Commit(tree_->root_fd()).ok());
  const uint64_t won = directory_->ops().Facts(tree_->root_fd())->free_bytes - free_before;
  EXPECT_GE(won, 63 * kMiB);
  EXPECT_LE(won, 65 * kMiB);
}

// As a program leaves it that reads a file in strides.
TEST_P(SharingTest, APageCacheWithHolesDoesNotHoldAll) {
  constexpr uint64_t kSize = 16 * kMiB;
  directory_->AddFile("file", Blocks(1, kSize));
  const Fd file = Open("file");
  ExtentOps& ops = directory_->ops();
  std::string part(64 << 10, '\0');
  for (const uint64_t stride : {128 << 10, 256 << 10, 512 << 10}) {
    ASSERT_TRUE(ops.Commit(tree_->root_fd()).ok());
    ops.Forget(file.get(), 0, kSize);
    // No readahead of the kernel's own.
    ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM), 0);
    for (uint64_t at = 0; at < kSize; at += stride) {
      ASSERT_EQ(::pread(file.get(), &part[0], part.size(), static_cast<off_t>(at)),
                static_cast<ssize_t>(part.size()));
    }
    EXPECT_NE(ops.Cached(file.get(), 0, kSize), CachedPart::kAll) << stride;
  }
  ASSERT_EQ(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_NORMAL), 0);
  ops.Prefetch(file.get(), 0, kSize);
  EXPECT_EQ(ops.Cached(file.get(), 0, kSize), CachedPart::kAll);
}

// These are compared twice as fast. btrfs has none, as of Linux 6.18.
TEST_P(SharingTest, LongRangesAreReadInLargeFoliosAndForgotten) {
  if (is_btrfs() || !LinuxExtentOps::KernelReadsLargeFolios()) GTEST_SKIP() << "no large folios";
  constexpr uint64_t kFolio = ExtentOps::kLargeFolio;
  constexpr uint64_t kSize = 8 * kFolio;
  directory_->AddFile("file", Blocks(1, kSize));
  ExtentOps& ops = directory_->ops();
  ASSERT_TRUE(ops.Commit(tree_->root_fd()).ok());
  const Fd file = Open("file");
  ops.Forget(file.get(), 0, kSize);
  ASSERT_EQ(ops.Cached(file.get(), 0, kSize), CachedPart::kLittle);

  constexpr uint64_t kBegin = kFolio - kBlock;
  constexpr uint64_t kEnd = 4 * kFolio + kBlock;
  ops.StartReading(file.get(), kBegin, kEnd - kBegin);
  ops.Prefetch(file.get(), kBegin, kEnd - kBegin);
  for (uint64_t at = 0; at < kSize; at += kBlock) {
    ASSERT_EQ(ops.Cached(file.get(), at, 0),
              at >= kBegin && at < kEnd ? CachedPart::kAll : CachedPart::kLittle)
        << at;
  }
  size_t large = 0;
  for (uint64_t at = kFolio; at < 4 * kFolio; at += kFolio / 2) large += IsOfLargeFolio(file, at) ? 1 : 0;
  EXPECT_GE(large, 4U);  // one may not be to be had

  ops.Forget(file.get(), kBegin, kEnd - kBegin);
  for (uint64_t at = 0; at < kSize; at += kBlock) {
    ASSERT_EQ(ops.Cached(file.get(), at, 0), CachedPart::kLittle) << at;
  }
}

TEST_P(SharingTest, ExactlyTheNamedBlocks) {
  constexpr uint64_t kSize = 8 * kMiB;
  struct Case {
    uint64_t offset, length, target_offset;
  };
  const std::vector<Case> cases = {
      {0, kBlock, 0},
      {kSize - kBlock, kBlock, 0},
      {3 * kBlock, 5 * kBlock, 1001 * kBlock},
      {kMiB, 2 * kMiB, 5 * kMiB + kBlock},
      {kMiB + 7 * kBlock, 4 * kMiB, kBlock},
  };
  int number = 0;
  for (const Case& c : cases) {
    const std::string name = std::to_string(number++);
    const std::string source_content = Blocks(10, kSize);
    std::string target_content = Blocks(20 + number, kSize);
    target_content.replace(c.target_offset, c.length, source_content, c.offset, c.length);
    directory_->AddFile("source" + name, source_content);
    directory_->AddFile("target" + name, target_content);
    const Fd source = Open("source" + name);
    const Fd target = Open("target" + name);
    const std::vector<uint64_t> source_before = Map(source, kSize);
    std::vector<uint64_t> expected = Map(target, kSize);
    for (uint64_t at = 0; at < c.length; at += kBlock) {
      expected[(c.target_offset + at) / kBlock] = source_before[(c.offset + at) / kBlock];
    }

    Dedupe(source, c.offset, c.length, target, c.target_offset);

    EXPECT_EQ(Map(source, kSize), source_before) << name;
    EXPECT_EQ(Map(target, kSize), expected) << name;
    EXPECT_TRUE(directory_->Content("target" + name) == target_content) << name;
  }
}

// What is cached is not all that counts: the disk must hold the same after a new mount.
TEST_P(SharingTest, HoldsAfterANewMount) {
  constexpr uint64_t kSize = 4 * kMiB;
  LoopFilesystem::Options options;
  options.type = GetParam();
  const auto made = LoopFilesystem::Make(options);
  ASSERT_TRUE(made.ok()) << made.status();
  LoopFilesystem& loop = **made;
  const std::string content = Blocks(1, kSize);
  LinuxFileTrees trees;
  const Root root{"loop", loop.path(), loop.path()};
  LinuxExtentOps ops;
  std::vector<uint64_t> map;
  for (const bool again : {false, true}) {
    if (!again) {
      for (const std::string name : {"source", "target"}) {
        const Fd file(::open((loop.path() + "/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        ASSERT_EQ(::write(file.get(), content.data(), kSize), static_cast<ssize_t>(kSize));
      }
    }
    {
      const auto tree = *trees.OpenRoot(root);
      const Fd source = std::move(tree->Open("source", false)->fd);
      const Fd target = std::move(tree->Open("target", true)->fd);
      if (!again) Dedupe(source, 0, kSize, target, 0);
      const std::vector<uint64_t> now = Map(source, kSize);
      EXPECT_EQ(now, Map(target, kSize));
      EXPECT_EQ(std::count(now.begin(), now.end(), 0), 0);
      if (again) {
        EXPECT_EQ(now, map);
      }
      map = now;
      std::string read(kSize, '\0');
      ASSERT_EQ(::pread(target.get(), &read[0], kSize, 0), static_cast<ssize_t>(kSize));
      EXPECT_TRUE(read == content);
    }
    ASSERT_EQ(loop.Unmount(), absl::OkStatus());
    ASSERT_EQ(loop.Mount(), absl::OkStatus());
  }
}

TEST_P(SharingTest, NeighboursAreAnsweredAsIfServedApart) {
  const Root root = directory_->root();
  NeighboursSuite suite(
      directory_->ops(), directory_->trees(), root,
      [&](const std::string& path, const std::string& content) { directory_->AddFile(path, content); });
  for (unsigned seed = 0; seed < 20; ++seed) {
    suite.Run(seed);
    for (const char* folder : {"joined/", "apart/"}) {
      for (const char* name : {"source", "target", "other"}) directory_->Remove(std::string(folder) + name);
    }
  }
  EXPECT_GT(suite.joins(), 20);
}

INSTANTIATE_TEST_SUITE_P(Kernel, SharingTest, testing::Values("btrfs", "xfs"));

}  // namespace
}  // namespace cowherd
