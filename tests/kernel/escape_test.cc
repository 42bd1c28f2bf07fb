// Nothing below a root leads out of it, blocks, or keeps its filesystem busy.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "tests/kernel/loop_test.h"
#include "tests/testing/command.h"

namespace cowherd {
namespace {

class EscapeTest : public LoopTest {
 protected:
  std::string OpenError(const std::string& path) {
    return ErrnoName(ErrnoOf(tree_->Open(path, false).status()));
  }
  std::string ListError(const std::string& path) {
    return ErrnoName(ErrnoOf(tree_->List(path, Stop()).status()));
  }
};

TEST_P(EscapeTest, NestedMountsAreNotEntered) {
  directory_->AddFile("mount/hidden", "x");
  directory_->AddFile("bound/file", "x");
  const std::string mount = directory_->At("mount");
  ASSERT_EQ(::mount("none", mount.c_str(), "tmpfs", 0, nullptr), 0);
  const absl::Cleanup unmount = [&] { ::umount2(mount.c_str(), MNT_DETACH); };
  directory_->AddFile("mount/file", "x");
  EXPECT_EQ(OpenError("mount/file"), "EXDEV");
  EXPECT_EQ(OpenError("mount"), "EXDEV");
  EXPECT_EQ(ListError("mount"), "EXDEV");
  // Seen from above it is a directory.
  bool listed = false;
  const std::vector<DirEntry> entries = *tree_->List("", Stop());
  for (const DirEntry& entry : entries) {
    listed |= entry.name == "mount" && entry.kind == DirEntry::Kind::kDirectory;
  }
  EXPECT_TRUE(listed);

  // A bind mount of the same filesystem is a mount point all the same, also one over a file.
  directory_->AddDirectory("bind");
  directory_->AddFile("bindfile", "y");
  ASSERT_EQ(
      ::mount(directory_->At("bound").c_str(), directory_->At("bind").c_str(), nullptr, MS_BIND, nullptr), 0);
  const absl::Cleanup unbind = [&] { ::umount2(directory_->At("bind").c_str(), MNT_DETACH); };
  ASSERT_EQ(::mount("/etc/passwd", directory_->At("bindfile").c_str(), nullptr, MS_BIND, nullptr), 0);
  const absl::Cleanup unbind_file = [&] { ::umount2(directory_->At("bindfile").c_str(), MNT_DETACH); };
  EXPECT_EQ(OpenError("bind/file"), "EXDEV");
  EXPECT_EQ(OpenError("bindfile"), "EXDEV");
}

TEST_P(EscapeTest, SpecialFilesAreRefusedUnopened) {
  directory_->AddFifo("fifo");
  ASSERT_EQ(::mknod(directory_->At("null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  // A device number that no driver has: opening it for real would be ENXIO.
  ASSERT_EQ(::mknod(directory_->At("block").c_str(), S_IFBLK | 0666, makedev(511, 1)), 0);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // By a short path: sun_path is only 108 bytes.
  const Fd directory(::open(directory_->root().local_path.c_str(), O_PATH | O_CLOEXEC));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket", directory.get());
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  for (const std::string name : {"fifo", "null", "block", "socket"}) {
    for (const bool for_destination : {false, true}) {
      const absl::Status status = tree_->Open(name, for_destination).status();
      EXPECT_EQ(ReasonOf(status), "NOT_REGULAR") << name;
      EXPECT_EQ(ErrnoOf(status), EINVAL) << name;
    }
  }
}

TEST_P(EscapeTest, ADirectorySwappedWithASymlinkNeverLeadsOut) {
  directory_->AddFile("outside/secret", "out");
  directory_->AddFile("root/place/secret", "in");
  directory_->AddDirectory("spare");
  directory_->AddSymlink("root/link", directory_->At("outside"));
  const std::string root = directory_->At("root");
  const auto tree = *directory_->trees().OpenRoot({"root", root, root});
  struct stat outside;
  ASSERT_EQ(::stat(directory_->At("outside/secret").c_str(), &outside), 0);

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> swaps{0};
  std::thread swapper([&] {
    const std::string place = root + "/place";
    const std::string link = root + "/link";
    while (!stop) {
      if (::renameat2(AT_FDCWD, place.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE) == 0) ++swaps;
    }
  });
  uint64_t inside = 0;
  uint64_t refused = 0;
  uint64_t escaped = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    const absl::StatusOr<OpenFile> file = tree->Open("place/secret", false);
    if (file.ok()) {
      ++(file->facts.inode == outside.st_ino ? escaped : inside);
    } else {
      ++refused;
      EXPECT_EQ(ErrnoOf(file.status()), ELOOP) << file.status();
    }
    const absl::StatusOr<std::vector<DirEntry>> list = tree->List("place", Stop());
    EXPECT_TRUE(list.ok() || ErrnoOf(list.status()) == ELOOP) << list.status();
  }
  stop = true;
  swapper.join();
  EXPECT_EQ(escaped, 0u);
  // Else there was no race.
  EXPECT_GT(swaps, 100u);
  EXPECT_GT(inside, 0u);
  EXPECT_GT(refused, 0u);
}

TEST_P(EscapeTest, SubvolumesAreEntered) {
  if (!is_btrfs()) GTEST_SKIP() << "XFS has none";
  const std::string subvolume = directory_->At("sub");
  ASSERT_EQ(RunCommand({"btrfs", "subvolume", "create", subvolume}), absl::OkStatus());
  const absl::Cleanup remove = [&] {
    EXPECT_EQ(RunCommand({"btrfs", "subvolume", "delete", subvolume}), absl::OkStatus());
  };
  directory_->AddFile("file", "x");
  directory_->AddFile("sub/file", "x");
  const absl::StatusOr<OpenFile> inner = tree_->Open("sub/file", false);
  ASSERT_TRUE(inner.ok()) << inner.status();
  EXPECT_NE(inner->facts.device, tree_->Open("file", false)->facts.device);
  EXPECT_EQ(tree_->List("sub", Stop())->size(), 1u);
}

TEST_P(EscapeTest, FilesystemsComeAndGo) {
  LoopFilesystem::Options options;
  options.type = GetParam();
  const auto made = LoopFilesystem::Make(options);
  ASSERT_TRUE(made.ok()) << made.status();
  LoopFilesystem& loop = **made;
  const std::string path = loop.path() + "/root";
  const Root root{"root", path, path};
  LinuxFileTrees trees;
  LinuxExtentOps ops;
  EXPECT_EQ(ReasonOf(trees.OpenRoot(root).status()), "ROOT_ABSENT");
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  auto tree = trees.OpenRoot(root);
  ASSERT_TRUE(tree.ok()) << tree.status();
  const std::string uuid = ops.Facts((*tree)->root_fd())->uuid;

  // Busy while a tree is open, not while there is only the object that opens them.
  EXPECT_EQ(ErrnoOf(loop.Unmount()), EBUSY);
  tree->reset();
  ASSERT_EQ(loop.Unmount(), absl::OkStatus());
  EXPECT_EQ(ReasonOf(trees.OpenRoot(root).status()), "ROOT_ABSENT");

  ASSERT_EQ(loop.Mount(), absl::OkStatus());
  EXPECT_TRUE(trees.OpenRoot(root).ok());
  ASSERT_EQ(loop.Unmount(), absl::OkStatus());

  ASSERT_EQ(loop.Format(), absl::OkStatus());
  ASSERT_EQ(loop.Mount(), absl::OkStatus());
  EXPECT_EQ(ReasonOf(trees.OpenRoot(root).status()), "ROOT_ABSENT");
  ASSERT_EQ(::mkdir(path.c_str(), 0755), 0);
  tree = trees.OpenRoot(root);
  ASSERT_TRUE(tree.ok()) << tree.status();
  EXPECT_NE(ops.Facts((*tree)->root_fd())->uuid, uuid);
}

TEST_P(EscapeTest, NamesAreBytes) {
  const std::string name = "\xff\xfe\x80 \n\t\"\\";
  directory_->AddFile(name + "/" + name, "x");
  const std::vector<DirEntry> entries = *tree_->List(name, Stop());
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].name, name);
  EXPECT_TRUE(tree_->Open(name + "/" + entries[0].name, true).ok());
}

INSTANTIATE_TEST_SUITE_P(Kernel, EscapeTest, testing::Values("btrfs", "xfs"));

}  // namespace
}  // namespace cowherd
