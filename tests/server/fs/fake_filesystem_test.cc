#include "server/fs/fake_filesystem.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <vector>

#include "server/base/stop.h"
#include "tests/server/fs/extent_ops_conformance.h"
#include "tests/server/fs/file_tree_conformance.h"

namespace cowherd {
namespace {

class FakeUnderTest final : public FilesystemUnderTest {
 public:
  FakeUnderTest() {
    fake_.AddDirectory("/data");
    fake_.KeepInline(2048);
  }
  ExtentOps& ops() override { return fake_; }
  FileTrees& trees() override { return fake_; }
  Root root() const override { return {"data", "/host/data", "/data"}; }
  bool keeps_inline() const override { return true; }
  void AddFile(const std::string& path, absl::string_view content) override {
    fake_.AddFile(At(path), content);
  }
  void AddDirectory(const std::string& path) override { fake_.AddDirectory(At(path)); }
  void AddLink(const std::string& path, const std::string& existing) override {
    fake_.AddLink(At(path), At(existing));
  }
  void AddSymlink(const std::string& path, const std::string&) override { fake_.AddSymlink(At(path)); }
  void AddFifo(const std::string& path) override { fake_.AddFifo(At(path)); }
  void Remove(const std::string& path) override { fake_.Remove(At(path)); }
  void Write(const std::string& path, uint64_t offset, absl::string_view content) override {
    fake_.Write(At(path), offset, content);
  }
  void Truncate(const std::string& path, uint64_t size) override { fake_.Truncate(At(path), size); }
  void Preallocate(const std::string& path, uint64_t offset, uint64_t length) override {
    fake_.Preallocate(At(path), offset, length);
  }
  std::string Content(const std::string& path) override { return fake_.Content(At(path)); }

 private:
  static std::string At(const std::string& path) { return "/data/" + path; }
  FakeFilesystem fake_;
};

const FilesystemKind kFake = {"fake", [] { return std::make_unique<FakeUnderTest>(); }};
INSTANTIATE_TEST_SUITE_P(Fake, ExtentOpsConformance, testing::Values(kFake));
INSTANTIATE_TEST_SUITE_P(Fake, FileTreeConformance, testing::Values(kFake));

// What the fake offers beyond the contract.
class FakeFilesystemTest : public testing::Test {
 protected:
  void SetUp() override {
    fake_.AddFile("/data/source", Noise(1, 64 * kKiB));
    fake_.AddFile("/data/target", Noise(1, 64 * kKiB));
    tree_ = *fake_.OpenRoot({"data", "/data", "/data"});
    source_ = std::move(tree_->Open("source", false)->fd);
    target_ = std::move(tree_->Open("target", true)->fd);
  }
  DedupeAnswer Dedupe() { return fake_.Dedupe(source_.get(), 0, 64 * kKiB, {{target_.get(), 0}})->front(); }

  FakeFilesystem fake_;
  std::unique_ptr<FileTree> tree_;
  Fd source_;
  Fd target_;
};

TEST_F(FakeFilesystemTest, FailsWhatItIsToldTo) {
  using Operation = FakeFilesystem::Operation;
  fake_.Fail(Operation::kDedupeTarget, "/data/target", EPERM);
  EXPECT_EQ(Dedupe().error, EPERM);
  fake_.Fail(Operation::kDedupeTarget, "/data/target", 0);
  fake_.Fail(Operation::kDedupeSource, "/data/source", EIO);
  EXPECT_EQ(ErrnoOf(fake_.Dedupe(source_.get(), 0, 4096, {{target_.get(), 0}}).status()), EIO);
  fake_.Fail(Operation::kDedupeSource, "/data/source", 0);
  EXPECT_EQ(Dedupe().kind, DedupeAnswer::Kind::kSame);

  fake_.Fail(Operation::kOpen, "/data/source", EACCES);
  EXPECT_EQ(ErrnoOf(tree_->Open("source", false).status()), EACCES);
  fake_.Fail(Operation::kList, "/data", EIO);
  EXPECT_EQ(ErrnoOf(tree_->List("", Stop()).status()), EIO);
  fake_.Fail(Operation::kExtents, "/data/source", EIO);
  EXPECT_EQ(ErrnoOf(fake_.Extents(source_.get(), 0, 4096, 1, true).status()), EIO);
  fake_.Fail(Operation::kFacts, "/data", EIO);
  EXPECT_EQ(ErrnoOf(fake_.Facts(tree_->root_fd()).status()), EIO);
  fake_.Fail(Operation::kCommit, "/data", ENOSPC);
  EXPECT_EQ(ErrnoOf(fake_.Commit(tree_->root_fd())), ENOSPC);
  fake_.Fail(Operation::kOpenRoot, "/data", EACCES);
  EXPECT_EQ(ErrnoOf(fake_.OpenRoot({"data", "/data", "/data"}).status()), EACCES);
}

TEST_F(FakeFilesystemTest, MakesShortAnswers) {
  fake_.LimitProgress(20 * kKiB);
  const DedupeAnswer answer = Dedupe();
  EXPECT_EQ(answer.kind, DedupeAnswer::Kind::kSame);
  EXPECT_EQ(answer.bytes, 20 * kKiB);
  EXPECT_EQ(fake_.SharedBytes("/data/source", 0, "/data/target", 0, 64 * kKiB), 20 * kKiB);
  fake_.LimitProgress(0);
  EXPECT_EQ(Dedupe().bytes, 0u);
}

TEST_F(FakeFilesystemTest, TellsOfCallsBeforeTheyAct) {
  Stop stop;
  fake_.BeforeDedupe([&](const FakeFilesystem::DedupeCall& call) {
    EXPECT_EQ(call.source, "/data/source");
    ASSERT_EQ(call.targets.size(), 1u);
    EXPECT_EQ(call.targets[0].first, "/data/target");
    fake_.Write("/data/target", 0, "x");
    stop.Request();
  });
  EXPECT_EQ(Dedupe().kind, DedupeAnswer::Kind::kDiffers);
  EXPECT_FALSE(stop.Check().ok());
  ASSERT_EQ(fake_.dedupe_calls().size(), 1u);
  EXPECT_EQ(fake_.dedupe_calls()[0].length, 64 * kKiB);
}

TEST_F(FakeFilesystemTest, SpaceIsFreeAfterCommitOnly) {
  const uint64_t before = fake_.Facts(tree_->root_fd())->free_bytes;
  Dedupe();
  EXPECT_EQ(fake_.Facts(tree_->root_fd())->free_bytes, before);
  EXPECT_TRUE(fake_.Commit(tree_->root_fd()).ok());
  EXPECT_EQ(fake_.Facts(tree_->root_fd())->free_bytes, before + 64 * kKiB);
  EXPECT_EQ(fake_.commits(), 1);
  fake_.Remove("/data/target");
  fake_.Remove("/data/source");
  EXPECT_TRUE(fake_.Commit(tree_->root_fd()).ok());
  EXPECT_EQ(fake_.Facts(tree_->root_fd())->free_bytes, before + 128 * kKiB);
}

TEST_F(FakeFilesystemTest, ReadOnlyRefusesSharing) {
  fake_.SetReadOnly(true);
  EXPECT_EQ(Dedupe().error, EROFS);
  EXPECT_TRUE(fake_.Facts(tree_->root_fd())->read_only);
}

TEST_F(FakeFilesystemTest, SwapFilesShareNothing) {
  EXPECT_FALSE(fake_.IsSwap(source_.get()));
  for (const char* path : {"/data/source", "/data/target"}) {
    fake_.SetSwap(path);
    EXPECT_EQ(Dedupe().error, ETXTBSY);
    EXPECT_EQ(fake_.IsSwap(source_.get()), path == std::string("/data/source"));
    fake_.SetSwap(path, false);
  }
  EXPECT_EQ(Dedupe().error, 0);
}

TEST_F(FakeFilesystemTest, MountPointsAreListedAndRefused) {
  fake_.AddMountPoint("/data/other");
  const std::vector<DirEntry> entries = *tree_->List("", Stop());
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].name, "other");
  EXPECT_EQ(entries[0].kind, DirEntry::Kind::kDirectory);
  EXPECT_EQ(ErrnoOf(tree_->List("other", Stop()).status()), EXDEV);
  EXPECT_EQ(ErrnoOf(tree_->Open("other/file", false).status()), EXDEV);
}

TEST_F(FakeFilesystemTest, PunchedHolesHaveNoStorage) {
  fake_.PunchHole("/data/source", 4 * kKiB, 8 * kKiB);
  EXPECT_EQ(fake_.Content("/data/source").substr(4 * kKiB, 8 * kKiB), std::string(8 * kKiB, '\0'));
  const std::vector<FileExtent> extents = fake_.Extents(source_.get(), 0, kMiB, 10, false)->extents;
  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[0].length, 4 * kKiB);
  EXPECT_EQ(extents[1].offset, 12 * kKiB);
}

}  // namespace
}  // namespace cowherd
