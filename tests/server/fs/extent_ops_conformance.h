#ifndef COWHERD_TESTS_SERVER_FS_EXTENT_OPS_CONFORMANCE_H_
#define COWHERD_TESTS_SERVER_FS_EXTENT_OPS_CONFORMANCE_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "tests/server/fs/filesystem_under_test.h"

// What every ExtentOps does, on a filesystem with blocks of 4 KiB that can share. Include in one file of a
// test binary and instantiate:
//   INSTANTIATE_TEST_SUITE_P(Fake, ExtentOpsConformance, testing::Values(FilesystemKind{"fake", ...}));
namespace cowherd {

constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;

// Random bytes: no two blocks are alike. The same for the same seed.
inline std::string Noise(uint64_t seed, size_t size) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class ExtentOpsConformance : public testing::TestWithParam<FilesystemKind> {
 protected:
  using Kind = DedupeAnswer::Kind;

  void SetUp() override {
    filesystem_ = GetParam().make();
    ASSERT_NE(filesystem_, nullptr);
    absl::StatusOr<std::unique_ptr<FileTree>> tree = filesystem_->trees().OpenRoot(filesystem_->root());
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
  }

  ExtentOps& ops() { return filesystem_->ops(); }

  Fd Open(const std::string& path) {
    absl::StatusOr<OpenFile> file = tree_->Open(path, false);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? std::move(file->fd) : Fd();
  }

  // The same file with other flags.
  static Fd Reopen(const Fd& fd, int flags) {
    return Fd(::open(absl::StrCat("/proc/self/fd/", fd.get()).c_str(), flags | O_CLOEXEC));
  }

  // One target's answer. A whole-call error fails the test.
  DedupeAnswer Dedupe(int source, uint64_t offset, uint64_t length, DedupeTarget target) {
    absl::StatusOr<std::vector<DedupeAnswer>> answers = ops().Dedupe(source, offset, length, {target});
    EXPECT_TRUE(answers.ok()) << answers.status();
    if (!answers.ok() || answers->size() != 1) return {Kind::kError, 0, -1};
    return answers->front();
  }

  // The errno of a call that must fail as a whole.
  int WholeError(int source, uint64_t offset, uint64_t length, DedupeTarget target) {
    return ErrnoOf(ops().Dedupe(source, offset, length, {target}).status());
  }

  static void ExpectSame(const DedupeAnswer& answer, uint64_t bytes) {
    EXPECT_EQ(answer.kind, Kind::kSame) << "errno " << ErrnoName(answer.error);
    EXPECT_EQ(answer.bytes, bytes);
    EXPECT_EQ(answer.error, 0);
  }
  static void ExpectError(const DedupeAnswer& answer, int error) {
    EXPECT_EQ(answer.kind, Kind::kError);
    EXPECT_EQ(ErrnoName(answer.error), ErrnoName(error));
    EXPECT_EQ(answer.bytes, 0u);
  }

  std::vector<FileExtent> Extents(const Fd& fd) {
    absl::StatusOr<ExtentList> list =
        ops().Extents(fd.get(), 0, std::numeric_limits<uint64_t>::max(), 100000, true);
    EXPECT_TRUE(list.ok()) << list.status();
    if (!list.ok()) return {};
    EXPECT_EQ(list->next_offset, 0u);
    return list->extents;
  }

  // Where the block at `offset` is stored; 0: a hole, or inline.
  uint64_t Address(const Fd& fd, uint64_t offset) {
    for (const FileExtent& extent : Extents(fd)) {
      if (extent.offset <= offset && offset < extent.offset + extent.length) {
        EXPECT_FALSE(extent.delayed);
        return extent.inline_data ? 0 : extent.physical + (offset - extent.offset);
      }
    }
    return 0;
  }
  bool SharesBlock(const Fd& a, uint64_t a_offset, const Fd& b, uint64_t b_offset) {
    const uint64_t address = Address(a, a_offset);
    return address != 0 && address == Address(b, b_offset);
  }

  uint64_t FreeBytes() {
    const absl::Status status = ops().Commit(tree_->root_fd());
    EXPECT_TRUE(status.ok()) << status;
    const absl::StatusOr<FsFacts> facts = ops().Facts(tree_->root_fd());
    EXPECT_TRUE(facts.ok()) << facts.status();
    return facts.ok() ? facts->free_bytes : 0;
  }

  std::unique_ptr<FilesystemUnderTest> filesystem_;
  std::unique_ptr<FileTree> tree_;
};

TEST_P(ExtentOpsConformance, SharesExactlyTheNamedRange) {
  const std::string common = Noise(1, 256 * kKiB);
  filesystem_->AddFile("source", common);
  // The same bytes, 64 KiB further on, between others.
  const std::string content = Noise(2, 64 * kKiB) + common + Noise(3, 64 * kKiB);
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");

  ExpectSame(Dedupe(source.get(), 64 * kKiB, 128 * kKiB, {target.get(), 128 * kKiB}), 128 * kKiB);
  for (uint64_t offset = 0; offset < common.size(); offset += 4 * kKiB) {
    const bool named = 64 * kKiB <= offset && offset < 192 * kKiB;
    EXPECT_EQ(SharesBlock(source, offset, target, 64 * kKiB + offset), named) << offset;
  }
  EXPECT_EQ(filesystem_->Content("source"), common);
  EXPECT_EQ(filesystem_->Content("target"), content);
  for (const FileExtent& extent : Extents(target)) {
    const bool named = 128 * kKiB <= extent.offset && extent.offset < 256 * kKiB;
    EXPECT_EQ(extent.shared, named) << extent.offset;
  }
}

TEST_P(ExtentOpsConformance, RepeatingChangesNothing) {
  const std::string content = Noise(1, 64 * kKiB);
  filesystem_->AddFile("source", content);
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectSame(Dedupe(source.get(), 0, content.size(), {target.get(), 0}), content.size());
  const uint64_t address = Address(target, 0);
  EXPECT_EQ(address, Address(source, 0));
  ExpectSame(Dedupe(source.get(), 0, content.size(), {target.get(), 0}), content.size());
  EXPECT_EQ(address, Address(target, 0));
}

TEST_P(ExtentOpsConformance, OneDifferentByteSharesNothing) {
  std::string content = Noise(1, kMiB);
  filesystem_->AddFile("source", content);
  content.back() ^= 1;
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  const DedupeAnswer answer = Dedupe(source.get(), 0, kMiB, {target.get(), 0});
  EXPECT_EQ(answer.kind, Kind::kDiffers);
  EXPECT_EQ(answer.bytes, 0u);
  EXPECT_EQ(answer.error, 0);
  EXPECT_FALSE(SharesBlock(source, 0, target, 0));
  EXPECT_EQ(filesystem_->Content("target"), content);
}

TEST_P(ExtentOpsConformance, AnswersEachTargetInOrder) {
  const std::string equal = Noise(1, 8 * kKiB);
  filesystem_->AddFile("source", equal);
  const Fd source = Open("source");
  std::vector<Fd> fds;
  std::vector<DedupeTarget> targets;
  for (size_t i = 0; i < kMaxDedupeTargets; ++i) {
    const std::string name = absl::StrCat("target", i);
    filesystem_->AddFile(name, i % 3 == 0 ? equal : Noise(100 + i, 8 * kKiB));
    fds.push_back(Open(name));
    targets.push_back({i % 3 == 2 ? -1 : fds.back().get(), 0});
  }
  const absl::StatusOr<std::vector<DedupeAnswer>> answers = ops().Dedupe(source.get(), 0, 8 * kKiB, targets);
  ASSERT_TRUE(answers.ok()) << answers.status();
  ASSERT_EQ(answers->size(), kMaxDedupeTargets);
  for (size_t i = 0; i < kMaxDedupeTargets; ++i) {
    const DedupeAnswer& answer = (*answers)[i];
    if (i % 3 == 0) ExpectSame(answer, 8 * kKiB);
    if (i % 3 == 1) {
      EXPECT_EQ(answer.kind, Kind::kDiffers);
    }
    if (i % 3 == 2) ExpectError(answer, EBADF);
    EXPECT_EQ(SharesBlock(source, 0, fds[i], 0), i % 3 == 0);
  }
}

TEST_P(ExtentOpsConformance, TooManyTargetsIsEnomem) {
  filesystem_->AddFile("source", Noise(1, 4 * kKiB));
  filesystem_->AddFile("target", Noise(1, 4 * kKiB));
  const Fd source = Open("source");
  const Fd target = Open("target");
  const std::vector<DedupeTarget> targets(kMaxDedupeTargets + 1, {target.get(), 0});
  EXPECT_EQ(ErrnoOf(ops().Dedupe(source.get(), 0, 4 * kKiB, targets).status()), ENOMEM);
  EXPECT_FALSE(SharesBlock(source, 0, target, 0));
}

TEST_P(ExtentOpsConformance, NoTargetsIsFine) {
  filesystem_->AddFile("source", Noise(1, 4 * kKiB));
  const absl::StatusOr<std::vector<DedupeAnswer>> answers =
      ops().Dedupe(Open("source").get(), 0, 4 * kKiB, {});
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_TRUE(answers->empty());
}

TEST_P(ExtentOpsConformance, NoLengthIsTheSame) {
  filesystem_->AddFile("source", Noise(1, 4 * kKiB));
  filesystem_->AddFile("target", Noise(2, 4 * kKiB));
  filesystem_->AddFile("empty", "");
  const Fd source = Open("source");
  ExpectSame(Dedupe(source.get(), 0, 0, {Open("target").get(), 0}), 0);
  ExpectSame(Dedupe(Open("empty").get(), 0, 0, {Open("empty").get(), 0}), 0);
}

TEST_P(ExtentOpsConformance, UnalignedOffsetsAreTheTargetsEinval) {
  const std::string zeros(64 * kKiB, 'z');
  filesystem_->AddFile("source", zeros);
  filesystem_->AddFile("target", zeros);
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectError(Dedupe(source.get(), 512, 4 * kKiB, {target.get(), 0}), EINVAL);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {target.get(), 2048}), EINVAL);
}

TEST_P(ExtentOpsConformance, SourcePastItsEndIsEinvalOfAll) {
  filesystem_->AddFile("source", Noise(1, 64 * kKiB));
  filesystem_->AddFile("target", Noise(1, 64 * kKiB));
  const Fd source = Open("source");
  const Fd target = Open("target");
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(WholeError(source.get(), 0, 68 * kKiB, {target.get(), 0}), EINVAL);
  EXPECT_EQ(WholeError(source.get(), 64 * kKiB, 4 * kKiB, {target.get(), 0}), EINVAL);
  EXPECT_EQ(WholeError(source.get(), kMax - 4095, 8 * kKiB, {target.get(), 0}), EINVAL);
  EXPECT_EQ(WholeError(source.get(), 0, kMax, {target.get(), 0}), EINVAL);
}

TEST_P(ExtentOpsConformance, TargetPastItsEndIsItsEinval) {
  filesystem_->AddFile("source", Noise(1, 64 * kKiB));
  filesystem_->AddFile("target", Noise(1, 32 * kKiB));
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectError(Dedupe(source.get(), 0, 36 * kKiB, {target.get(), 0}), EINVAL);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {target.get(), 32 * kKiB}), EINVAL);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {target.get(), std::numeric_limits<uint64_t>::max() - 4095}),
              EINVAL);
}

TEST_P(ExtentOpsConformance, WithinOneFile) {
  const std::string half = Noise(1, 64 * kKiB);
  filesystem_->AddFile("file", half + half + half);
  const Fd file = Open("file");
  ExpectError(Dedupe(file.get(), 0, 64 * kKiB, {file.get(), 0}), EINVAL);
  ExpectError(Dedupe(file.get(), 0, 64 * kKiB, {file.get(), 32 * kKiB}), EINVAL);
  ExpectError(Dedupe(file.get(), 32 * kKiB, 64 * kKiB, {file.get(), 0}), EINVAL);
  ExpectSame(Dedupe(file.get(), 0, 64 * kKiB, {file.get(), 64 * kKiB}), 64 * kKiB);
  ExpectSame(Dedupe(file.get(), 0, 64 * kKiB, {file.get(), 128 * kKiB}), 64 * kKiB);
  EXPECT_TRUE(SharesBlock(file, 0, file, 64 * kKiB));
  EXPECT_TRUE(SharesBlock(file, 60 * kKiB, file, 188 * kKiB));
  EXPECT_EQ(filesystem_->Content("file"), half + half + half);
}

TEST_P(ExtentOpsConformance, DescriptorsThatCannotShare) {
  filesystem_->AddFile("source", Noise(1, 64 * kKiB));
  filesystem_->AddFile("target", Noise(1, 64 * kKiB));
  const Fd source = Open("source");
  const Fd target = Open("target");
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const Fd pipe_out(pipe[0]);
  const Fd pipe_in(pipe[1]);

  EXPECT_EQ(WholeError(-1, 0, 4 * kKiB, {target.get(), 0}), EBADF);
  EXPECT_EQ(WholeError(Reopen(source, O_PATH).get(), 0, 4 * kKiB, {target.get(), 0}), EBADF);
  EXPECT_EQ(WholeError(Reopen(source, O_WRONLY).get(), 0, 4 * kKiB, {target.get(), 0}), EINVAL);
  EXPECT_EQ(WholeError(tree_->root_fd(), 0, 4 * kKiB, {target.get(), 0}), EISDIR);

  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {-1, 0}), EBADF);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {9999, 0}), EBADF);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {Reopen(target, O_PATH).get(), 0}), EBADF);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {tree_->root_fd(), 0}), EISDIR);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {null.get(), 0}), EXDEV);
  ExpectError(Dedupe(source.get(), 0, 4 * kKiB, {pipe_in.get(), 0}), EXDEV);
  EXPECT_FALSE(SharesBlock(source, 0, target, 0));
}

TEST_P(ExtentOpsConformance, TargetMayBeOpenForWritingOnly) {
  filesystem_->AddFile("source", Noise(1, 64 * kKiB));
  filesystem_->AddFile("target", Noise(1, 64 * kKiB));
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectSame(Dedupe(source.get(), 0, 64 * kKiB, {Reopen(target, O_WRONLY).get(), 0}), 64 * kKiB);
  EXPECT_TRUE(SharesBlock(source, 0, target, 0));
}

TEST_P(ExtentOpsConformance, OddTailThatEndsBothFilesIsShared) {
  const std::string content = Noise(1, 64 * kKiB + 1000);
  filesystem_->AddFile("source", content);
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectSame(Dedupe(source.get(), 0, content.size(), {target.get(), 0}), content.size());
  EXPECT_TRUE(SharesBlock(source, 64 * kKiB, target, 64 * kKiB));
  EXPECT_EQ(filesystem_->Content("target"), content);
}

// The kernel's one dishonest answer: it rounds the length down, then reports it in full.
TEST_P(ExtentOpsConformance, OddTailElsewhereIsCountedButNeitherSharedNorCompared) {
  const std::string content = Noise(1, 64 * kKiB);
  filesystem_->AddFile("source", content + Noise(2, 1000));
  filesystem_->AddFile("target", content + Noise(3, 8 * kKiB));
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectSame(Dedupe(source.get(), 0, 64 * kKiB + 1000, {target.get(), 0}), 64 * kKiB + 1000);
  EXPECT_TRUE(SharesBlock(source, 60 * kKiB, target, 60 * kKiB));
  EXPECT_FALSE(SharesBlock(source, 64 * kKiB, target, 64 * kKiB));
  ExpectSame(Dedupe(source.get(), 64 * kKiB, 1000, {target.get(), 64 * kKiB}), 1000);
  EXPECT_FALSE(SharesBlock(source, 64 * kKiB, target, 64 * kKiB));
  EXPECT_EQ(filesystem_->Content("target"), content + Noise(3, 8 * kKiB));
}

TEST_P(ExtentOpsConformance, TinyFiles) {
  const std::string content = Noise(1, 1000);
  filesystem_->AddFile("source", content);
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  const std::vector<FileExtent> before = Extents(target);
  ASSERT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].inline_data, filesystem_->keeps_inline());
  ExpectSame(Dedupe(source.get(), 0, 1000, {target.get(), 0}), 1000);
  EXPECT_EQ(SharesBlock(source, 0, target, 0), !filesystem_->keeps_inline());
  EXPECT_EQ(filesystem_->Content("target"), content);
}

TEST_P(ExtentOpsConformance, OverOneGiBIsClamped) {
  constexpr uint64_t kSize = kMaxDedupeLength + 64 * kMiB;
  for (const std::string name : {"source", "target"}) {
    filesystem_->AddFile(name, "");
    filesystem_->Truncate(name, kSize);
  }
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectSame(Dedupe(source.get(), 0, kSize, {target.get(), 0}), kMaxDedupeLength);
}

TEST_P(ExtentOpsConformance, HoleOverZerosMakesAHole) {
  filesystem_->AddFile("source", "");
  filesystem_->Truncate("source", 64 * kKiB);
  filesystem_->AddFile("target", std::string(64 * kKiB, '\0'));
  const Fd source = Open("source");
  const Fd target = Open("target");
  EXPECT_NE(Address(target, 0), 0u);
  ExpectSame(Dedupe(source.get(), 0, 64 * kKiB, {target.get(), 0}), 64 * kKiB);
  EXPECT_TRUE(Extents(target).empty());
  EXPECT_EQ(filesystem_->Content("target"), std::string(64 * kKiB, '\0'));
}

TEST_P(ExtentOpsConformance, PreallocatedSpaceIsUnwritten) {
  filesystem_->AddFile("file", std::string(64 * kKiB, '\0'));
  filesystem_->Preallocate("file", 0, 64 * kKiB);
  const Fd file = Open("file");
  const std::vector<FileExtent> extents = Extents(file);
  ASSERT_FALSE(extents.empty());
  for (const FileExtent& extent : extents) EXPECT_TRUE(extent.unwritten);
}

TEST_P(ExtentOpsConformance, ExtentsLeaveHolesOut) {
  filesystem_->AddFile("file", Noise(1, 8 * kKiB));
  filesystem_->Write("file", 64 * kKiB, Noise(2, 8 * kKiB));
  filesystem_->Truncate("file", 256 * kKiB);
  const Fd file = Open("file");
  std::vector<bool> stored(64);
  for (const FileExtent& extent : Extents(file)) {
    EXPECT_FALSE(extent.shared || extent.inline_data || extent.unwritten || extent.encoded || extent.delayed);
    for (uint64_t at = extent.offset; at < extent.offset + extent.length; at += 4 * kKiB)
      stored[at / 4096] = true;
  }
  for (size_t i = 0; i < stored.size(); ++i) EXPECT_EQ(stored[i], i < 2 || i == 16 || i == 17) << i;
}

TEST_P(ExtentOpsConformance, ExtentsOfARange) {
  filesystem_->AddFile("file", Noise(1, 4 * kKiB));
  filesystem_->Write("file", 64 * kKiB, Noise(2, 4 * kKiB));
  filesystem_->Write("file", 128 * kKiB, Noise(3, 4 * kKiB));
  const Fd file = Open("file");
  Extents(file);  // flushes
  const auto offsets = [&](uint64_t offset, uint64_t length) {
    const absl::StatusOr<ExtentList> list = ops().Extents(file.get(), offset, length, 100, false);
    EXPECT_TRUE(list.ok()) << list.status();
    std::vector<uint64_t> found;
    if (!list.ok()) return found;
    EXPECT_EQ(list->next_offset, 0u);
    for (const FileExtent& extent : list->extents) found.push_back(extent.offset);
    return found;
  };
  using Offsets = std::vector<uint64_t>;
  EXPECT_EQ(offsets(0, 132 * kKiB), (Offsets{0, 64 * kKiB, 128 * kKiB}));
  EXPECT_EQ(offsets(4 * kKiB, 124 * kKiB), (Offsets{64 * kKiB}));
  EXPECT_EQ(offsets(64 * kKiB, 4 * kKiB), (Offsets{64 * kKiB}));
  EXPECT_EQ(offsets(8 * kKiB, 8 * kKiB), (Offsets{}));
  EXPECT_EQ(offsets(0, 0), (Offsets{}));
  EXPECT_EQ(offsets(kMiB, kMiB), (Offsets{}));
}

TEST_P(ExtentOpsConformance, ExtentsComeInPages) {
  constexpr size_t kPieces = 600;  // more than one batch of any implementation
  filesystem_->AddFile("file", "");
  // At once, since XFS reserves space past the end of a file that grows.
  filesystem_->Truncate("file", kPieces * 8 * kKiB);
  for (size_t i = 0; i < kPieces; ++i) filesystem_->Write("file", i * 8 * kKiB, std::string(4 * kKiB, 'x'));
  const Fd file = Open("file");
  EXPECT_EQ(Extents(file).size(), kPieces);
  for (size_t max : {1, 7, 300, 600}) {
    std::vector<uint64_t> offsets;
    uint64_t next = 0;
    do {
      const absl::StatusOr<ExtentList> list =
          ops().Extents(file.get(), next, std::numeric_limits<uint64_t>::max() - next, max, false);
      ASSERT_TRUE(list.ok()) << list.status();
      EXPECT_LE(list->extents.size(), max);
      for (const FileExtent& extent : list->extents) offsets.push_back(extent.offset);
      ASSERT_TRUE(list->next_offset == 0 || list->next_offset > next);
      next = list->next_offset;
    } while (next != 0);
    ASSERT_EQ(offsets.size(), kPieces) << max;
    for (size_t i = 0; i < kPieces; ++i) EXPECT_EQ(offsets[i], i * 8 * kKiB);
  }
}

TEST_P(ExtentOpsConformance, ExtentsNeedARealDescriptor) {
  filesystem_->AddFile("file", Noise(1, 4 * kKiB));
  const Fd file = Open("file");
  EXPECT_EQ(ErrnoOf(ops().Extents(-1, 0, kMiB, 10, false).status()), EBADF);
  EXPECT_EQ(ErrnoOf(ops().Extents(Reopen(file, O_PATH).get(), 0, kMiB, 10, false).status()), EBADF);
}

TEST_P(ExtentOpsConformance, FactsAreThoseOfTheFilesystem) {
  filesystem_->AddFile("file", Noise(1, 4 * kKiB));
  const Fd file = Open("file");
  const absl::StatusOr<FsFacts> facts = ops().Facts(tree_->root_fd());
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->block_size, 4096u);
  EXPECT_TRUE(facts->dedupe_supported);
  EXPECT_FALSE(facts->read_only);
  EXPECT_GT(facts->free_bytes, 0u);
  EXPECT_GT(facts->size_bytes, facts->free_bytes);
  EXPECT_FALSE(facts->type.empty());
  EXPECT_EQ(facts->uuid.size(), 36u);

  for (const int flags : {O_RDONLY, O_WRONLY, O_PATH}) {
    const Fd same = Reopen(file, flags);
    const absl::StatusOr<FsFacts> again = ops().Facts(same.get());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->identity, facts->identity);
    EXPECT_EQ(again->uuid, facts->uuid);
    EXPECT_EQ(again->type, facts->type);
  }
  EXPECT_EQ(ErrnoOf(ops().Facts(-1).status()), EBADF);
}

TEST_P(ExtentOpsConformance, CommittedSharingFreesSpace) {
  const std::string content = Noise(1, 16 * kMiB);
  filesystem_->AddFile("source", content);
  filesystem_->AddFile("target", content);
  const uint64_t before = FreeBytes();
  ExpectSame(Dedupe(Open("source").get(), 0, content.size(), {Open("target").get(), 0}), content.size());
  const uint64_t after = FreeBytes();
  EXPECT_GE(after, before + 15 * kMiB);
  EXPECT_LE(after, before + 17 * kMiB);
}

TEST_P(ExtentOpsConformance, CommitNeedsARealDescriptor) {
  filesystem_->AddFile("file", Noise(1, 4 * kKiB));
  const Fd file = Open("file");
  EXPECT_EQ(ops().Commit(file.get()), absl::OkStatus());
  EXPECT_EQ(ErrnoOf(ops().Commit(Reopen(file, O_PATH).get())), EBADF);
  EXPECT_EQ(ErrnoOf(ops().Commit(-1)), EBADF);
}

TEST_P(ExtentOpsConformance, UnlinkedFilesStillShare) {
  const std::string content = Noise(1, 64 * kKiB);
  filesystem_->AddFile("source", content);
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  filesystem_->AddLink("kept", "source");
  filesystem_->Remove("source");
  ExpectSame(Dedupe(source.get(), 0, content.size(), {target.get(), 0}), content.size());
  EXPECT_TRUE(SharesBlock(source, 0, target, 0));
}

TEST_P(ExtentOpsConformance, AWriteEndsSharing) {
  const std::string content = Noise(1, 64 * kKiB);
  filesystem_->AddFile("source", content);
  filesystem_->AddFile("target", content);
  const Fd source = Open("source");
  const Fd target = Open("target");
  ExpectSame(Dedupe(source.get(), 0, content.size(), {target.get(), 0}), content.size());
  const std::string other = Noise(2, 4 * kKiB);
  filesystem_->Write("target", 8 * kKiB, other);
  EXPECT_FALSE(SharesBlock(source, 8 * kKiB, target, 8 * kKiB));
  EXPECT_TRUE(SharesBlock(source, 4 * kKiB, target, 4 * kKiB));
  EXPECT_EQ(filesystem_->Content("source"), content);
  EXPECT_EQ(filesystem_->Content("target").substr(8 * kKiB, 4 * kKiB), other);
}

TEST_P(ExtentOpsConformance, ReadingAheadIsOnlyAHint) {
  const std::string content = Noise(1, 3 * kMiB + 5);
  filesystem_->AddFile("file", content);
  const Fd file = Open("file");
  ops().Prefetch(file.get(), 0, content.size());
  EXPECT_EQ(ops().Cached(file.get(), 0, content.size()), CachedPart::kAll);
  ops().Cached(file.get(), 100 * kMiB, kMiB);
  ops().Cached(Reopen(file, O_PATH).get(), 0, kMiB);
  ops().Cached(-1, 0, kMiB);
  ops().StartReading(file.get(), 0, content.size());
  ops().StartReading(file.get(), 100 * kMiB, kMiB);
  ops().StartReading(Reopen(file, O_PATH).get(), 0, kMiB);
  ops().StartReading(-1, 0, kMiB);
  ops().Forget(file.get(), 0, content.size());
  ops().Forget(file.get(), 100 * kMiB, kMiB);
  ops().Forget(Reopen(file, O_PATH).get(), 0, kMiB);
  ops().Forget(-1, 0, kMiB);
  EXPECT_EQ(filesystem_->Content("file"), content);
}

TEST_P(ExtentOpsConformance, OrdinaryFilesAreNotSwappedTo) {
  filesystem_->AddFile("empty", "");
  filesystem_->AddFile("small", "x");
  // Two equal halves: to ask shares nothing.
  const std::string half = Noise(1, 64 * kKiB);
  filesystem_->AddFile("file", half + half);
  for (const char* name : {"empty", "small", "file"}) EXPECT_FALSE(ops().IsSwap(Open(name).get())) << name;
  const Fd file = Open("file");
  EXPECT_FALSE(ops().IsSwap(Reopen(file, O_WRONLY).get()));
  EXPECT_FALSE(ops().IsSwap(Reopen(file, O_PATH).get()));
  EXPECT_FALSE(ops().IsSwap(tree_->root_fd()));
  EXPECT_FALSE(ops().IsSwap(-1));
  EXPECT_FALSE(SharesBlock(file, 0, file, 64 * kKiB));
  EXPECT_EQ(filesystem_->Content("file"), half + half);
}

TEST_P(ExtentOpsConformance, PrefetchIsOnlyAHint) {
  const std::string content = Noise(1, 3 * kMiB + 5);
  filesystem_->AddFile("file", content);
  const Fd file = Open("file");
  ops().Prefetch(file.get(), 0, content.size());
  ops().Prefetch(file.get(), 0, std::numeric_limits<uint64_t>::max());
  ops().Prefetch(file.get(), 100 * kMiB, kMiB);
  ops().Prefetch(Reopen(file, O_WRONLY).get(), 0, kMiB);
  ops().Prefetch(Reopen(file, O_PATH).get(), 0, kMiB);
  ops().Prefetch(tree_->root_fd(), 0, kMiB);
  ops().Prefetch(-1, 0, kMiB);
  EXPECT_EQ(filesystem_->Content("file"), content);
}

}  // namespace cowherd

#endif  // COWHERD_TESTS_SERVER_FS_EXTENT_OPS_CONFORMANCE_H_
