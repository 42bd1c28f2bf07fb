// Facts of real filesystems, against what their own tools say.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "server/base/status.h"
#include "tests/kernel/loop_test.h"
#include "tests/testing/command.h"

namespace cowherd {
namespace {

FsFacts FactsOf(const std::string& path) {
  LinuxFileTrees trees;
  LinuxExtentOps ops;
  const auto tree = trees.OpenRoot({"root", path, path});
  EXPECT_TRUE(tree.ok()) << tree.status();
  if (!tree.ok()) return {};
  const absl::StatusOr<FsFacts> facts = ops.Facts((*tree)->root_fd());
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? *facts : FsFacts();
}

std::unique_ptr<LoopFilesystem> Make(const std::string& type, const std::vector<std::string>& arguments) {
  LoopFilesystem::Options options;
  options.type = type;
  options.mkfs_arguments = arguments;
  absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

constexpr char kUuid[] = "01234567-89ab-4cde-8f01-23456789abcd";

TEST(Facts, Btrfs) {
  const auto loop = Make("btrfs", {"-U", kUuid});
  ASSERT_NE(loop, nullptr);
  const FsFacts facts = FactsOf(loop->path());
  EXPECT_EQ(facts.type, "btrfs");
  EXPECT_EQ(facts.uuid, kUuid);
  EXPECT_EQ(facts.size_bytes, uint64_t{1} << 30);
  EXPECT_LT(facts.free_bytes, facts.size_bytes);
  EXPECT_EQ(facts.block_size, 4096u);
  EXPECT_TRUE(facts.dedupe_supported);
  EXPECT_FALSE(facts.read_only);

  // A subvolume has another device, and is the same filesystem.
  const std::string subvolume = loop->path() + "/sub";
  ASSERT_EQ(RunCommand({"btrfs", "subvolume", "create", subvolume}), absl::OkStatus());
  EXPECT_EQ(FactsOf(subvolume).identity, facts.identity);
}

TEST(Facts, Xfs) {
  const auto loop = Make("xfs", {"-m", std::string("uuid=") + kUuid});
  ASSERT_NE(loop, nullptr);
  const FsFacts facts = FactsOf(loop->path());
  EXPECT_EQ(facts.type, "xfs");
  EXPECT_EQ(facts.uuid, kUuid);
  EXPECT_EQ(facts.block_size, 4096u);
  EXPECT_GT(facts.size_bytes, uint64_t{900} << 20);
  EXPECT_LT(facts.free_bytes, facts.size_bytes);
  EXPECT_TRUE(facts.dedupe_supported);
}

TEST(Facts, XfsWithoutReflinkCannotShare) {
  const auto loop = Make("xfs", {"-m", "reflink=0"});
  ASSERT_NE(loop, nullptr);
  EXPECT_EQ(FactsOf(loop->path()).type, "xfs");
  EXPECT_FALSE(FactsOf(loop->path()).dedupe_supported);
}

TEST(Facts, Ext4CannotShare) {
  const auto loop = Make("ext4", {});
  ASSERT_NE(loop, nullptr);
  const FsFacts facts = FactsOf(loop->path());
  EXPECT_EQ(facts.type, "0xef53");
  EXPECT_EQ(facts.uuid, "");
  EXPECT_FALSE(facts.identity.empty());
  EXPECT_FALSE(facts.dedupe_supported);
}

TEST(Facts, TwoFilesystemsHaveTwoIdentities) {
  for (const std::string type : {"btrfs", "xfs", "ext4"}) {
    const auto one = Make(type, {});
    const auto two = Make(type, {});
    ASSERT_TRUE(one != nullptr && two != nullptr);
    EXPECT_NE(FactsOf(one->path()).identity, FactsOf(two->path()).identity) << type;
  }
}

// What lies under an unmounted root belongs to another filesystem.
TEST(Facts, UnmountedRootIsAbsent) {
  const auto loop = Make("xfs", {});
  ASSERT_NE(loop, nullptr);
  LinuxFileTrees trees;
  const Root root{"root", loop->path(), loop->path()};
  const Root inner{"inner", loop->path() + "/inner", loop->path() + "/inner"};
  ASSERT_EQ(::mkdir(inner.local_path.c_str(), 0755), 0);
  EXPECT_EQ(trees.OpenRoot(root).status(), absl::OkStatus());
  EXPECT_EQ(trees.OpenRoot(inner).status(), absl::OkStatus());
  ASSERT_EQ(loop->Unmount(), absl::OkStatus());
  EXPECT_EQ(ReasonOf(trees.OpenRoot(root).status()), "ROOT_ABSENT");
  EXPECT_EQ(ReasonOf(trees.OpenRoot(inner).status()), "ROOT_ABSENT");
  ASSERT_EQ(loop->Mount(), absl::OkStatus());
  EXPECT_EQ(trees.OpenRoot(root).status(), absl::OkStatus());
}

TEST(Facts, ReadOnlyMounts) {
  for (const std::string type : {"btrfs", "xfs"}) {
    const auto loop = Make(type, {});
    ASSERT_NE(loop, nullptr);
    const std::string inner = loop->path() + "/inner";
    const std::string bind = loop->path() + "/bind";
    ASSERT_EQ(::mkdir(inner.c_str(), 0755), 0);
    ASSERT_EQ(::mkdir(bind.c_str(), 0755), 0);
    {
      ASSERT_EQ(RunCommand({"mount", "--bind", "-o", "ro", inner, bind}), absl::OkStatus());
      const absl::Cleanup unbind = [&] { ::umount2(bind.c_str(), MNT_DETACH); };
      EXPECT_TRUE(FactsOf(bind).read_only);
      EXPECT_FALSE(FactsOf(inner).read_only);
      EXPECT_EQ(FactsOf(bind).identity, FactsOf(inner).identity);
    }
    ASSERT_EQ(loop->Unmount(), absl::OkStatus());
    ASSERT_EQ(loop->Mount("ro"), absl::OkStatus());
    EXPECT_TRUE(FactsOf(loop->path()).read_only) << type;
    EXPECT_TRUE(FactsOf(loop->path()).dedupe_supported) << type;
  }
}

}  // namespace
}  // namespace cowherd
