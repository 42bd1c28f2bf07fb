// What the kernel refuses, and by which errno. Each was measured; a kernel that answers otherwise shows up
// here.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "tests/kernel/loop_test.h"
#include "tests/testing/command.h"

namespace cowherd {
namespace {

constexpr uint64_t kSize = 64 << 10;
constexpr uid_t kStranger = 65534;

// Eight different blocks, twice.
std::string Content() {
  std::string content;
  for (int i = 0; i < 16; ++i) content += std::string(4096, static_cast<char>('a' + i % 8));
  return content;
}

class ErrnoTest : public LoopTest {
 protected:
  void SetUp() override {
    LoopTest::SetUp();
    if (HasFatalFailure()) return;
    directory_->AddFile("source", Content());
    directory_->AddFile("target", Content());
    source_ = Open("source");
    target_ = Open("target");
  }

  Fd Open(const std::string& path) {
    absl::StatusOr<OpenFile> file = tree_->Open(path, true);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? std::move(file->fd) : Fd();
  }

  // "SAME", "DIFFERS", or the errno's name: the target's answer. "all: <name>" if the whole call failed.
  static std::string Dedupe(int source, int target, uint64_t length = kSize) {
    const auto answers = LinuxExtentOps().Dedupe(source, 0, length, {{target, 0}});
    if (!answers.ok()) return "all: " + ErrnoName(ErrnoOf(answers.status()));
    switch (answers->front().kind) {
      case DedupeAnswer::Kind::kSame:
        return "SAME";
      case DedupeAnswer::Kind::kDiffers:
        return "DIFFERS";
      case DedupeAnswer::Kind::kError:
        return ErrnoName(answers->front().error);
    }
    return "";
  }

  std::string At(const std::string& path) const { return directory_->At(path); }

  Fd source_;
  Fd target_;
};

// Sets or clears an attribute as chattr(1) does.
void SetFlag(int fd, int flag, bool on) {
  int flags = 0;
  ASSERT_EQ(::ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
  flags = on ? flags | flag : flags & ~flag;
  ASSERT_EQ(::ioctl(fd, FS_IOC_SETFLAGS, &flags), 0) << ErrnoName(errno);
}

// Runs in a child, as an ordinary user. What it says of itself comes back.
std::string AsStranger(const std::function<std::string()>& run) {
  int pipe[2];
  EXPECT_EQ(::pipe(pipe), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "could not become another user";
    if (::setgroups(0, nullptr) == 0 && ::setresgid(kStranger, kStranger, kStranger) == 0 &&
        ::setresuid(kStranger, kStranger, kStranger) == 0) {
      said = run();
    }
    const bool written = ::write(pipe[1], said.data(), said.size()) == static_cast<ssize_t>(said.size());
    ::_exit(written ? 0 : 1);
  }
  const Fd in(pipe[0]);
  ::close(pipe[1]);
  char said[256];
  const ssize_t size = ::read(in.get(), said, sizeof(said));
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return std::string(said, size < 0 ? 0 : size);
}

TEST_P(ErrnoTest, OtherFilesystems) {
  for (const std::string type : {"btrfs", "xfs", "ext4"}) {
    if (type == GetParam()) continue;
    const LoopFilesystem* other = SharedLoop(type);
    ASSERT_NE(other, nullptr);
    DirectoryUnderTest there(other->path(), false);
    there.AddFile("target", Content());
    const Fd target(::open(there.At("target").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(Dedupe(source_.get(), target.get()), "EXDEV") << type;
  }
}

TEST_P(ErrnoTest, FilesystemsThatCannotShare) {
  const LoopFilesystem* ext4 = SharedLoop("ext4");
  ASSERT_NE(ext4, nullptr);
  DirectoryUnderTest there(ext4->path(), false);
  there.AddFile("source", Content());
  const Fd source(::open(there.At("source").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Dedupe(source.get(), target_.get()), "all: EOPNOTSUPP");
}

TEST_P(ErrnoTest, ImmutableFiles) {
  SetFlag(target_.get(), FS_IMMUTABLE_FL, true);
  EXPECT_EQ(Dedupe(source_.get(), target_.get()), "EPERM");
  // Reading from one is fine.
  EXPECT_EQ(Dedupe(target_.get(), source_.get()), "SAME");
  SetFlag(target_.get(), FS_IMMUTABLE_FL, false);
  EXPECT_EQ(Dedupe(source_.get(), target_.get()), "SAME");
}

TEST_P(ErrnoTest, AppendOnlyFilesMayShare) {
  SetFlag(target_.get(), FS_APPEND_FL, true);
  const absl::Cleanup clear = [&] { SetFlag(target_.get(), FS_APPEND_FL, false); };
  EXPECT_EQ(Dedupe(source_.get(), target_.get()), "SAME");
}

TEST_P(ErrnoTest, BindMounts) {
  directory_->AddFile("inner/target", Content());
  directory_->AddDirectory("bind");
  ASSERT_EQ(::mount(At("inner").c_str(), At("bind").c_str(), nullptr, MS_BIND, nullptr), 0);
  const absl::Cleanup unmount = [&] { ::umount2(At("bind").c_str(), MNT_DETACH); };
  {
    const Fd target(::open(At("bind/target").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(Dedupe(source_.get(), target.get()), "SAME");
  }
  ASSERT_EQ(::mount(nullptr, At("bind").c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr), 0);
  const Fd target(::open(At("bind/target").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Dedupe(source_.get(), target.get()), "EROFS");
}

TEST_P(ErrnoTest, ReadOnlyFilesystem) {
  LoopFilesystem::Options options;
  options.type = GetParam();
  const auto loop = LoopFilesystem::Make(options);
  ASSERT_TRUE(loop.ok()) << loop.status();
  const std::string path = (*loop)->path();
  for (const std::string name : {"/source", "/target"}) {
    const Fd file(::open((path + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    const std::string content = Content();
    ASSERT_EQ(::write(file.get(), content.data(), content.size()), static_cast<ssize_t>(kSize));
  }
  ASSERT_EQ((*loop)->Unmount(), absl::OkStatus());
  ASSERT_EQ((*loop)->Mount("ro"), absl::OkStatus());
  const Fd source(::open((path + "/source").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd target(::open((path + "/target").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Dedupe(source.get(), target.get()), "EROFS");
}

TEST_P(ErrnoTest, ActiveSwapFiles) {
  directory_->AddFile("swap", "");
  {
    const Fd swap(::open(At("swap").c_str(), O_RDWR | O_CLOEXEC));
    if (is_btrfs()) SetFlag(swap.get(), FS_NOCOW_FL, true);
  }
  directory_->Write("swap", 0, std::string(8 << 20, '\0'));
  ASSERT_EQ(::chmod(At("swap").c_str(), 0600), 0);
  ASSERT_EQ(RunCommand({"/usr/sbin/mkswap", "-q", At("swap")}), absl::OkStatus());
  // Of the same kind as the swap file, or else NOCOW is the reason to refuse.
  directory_->AddFile("other", "");
  const Fd other = Open("other");
  if (is_btrfs()) SetFlag(other.get(), FS_NOCOW_FL, true);
  directory_->Write("other", 0, std::string(kSize, '\0'));

  const Fd swap = Open("swap");
  EXPECT_FALSE(directory_->ops().IsSwap(swap.get()));
  ASSERT_EQ(::swapon(At("swap").c_str(), 0), 0) << ErrnoName(errno);
  absl::Cleanup off = [&] { EXPECT_EQ(::swapoff(At("swap").c_str()), 0); };
  EXPECT_EQ(Dedupe(other.get(), swap.get()), "ETXTBSY");
  EXPECT_EQ(Dedupe(swap.get(), other.get()), "ETXTBSY");
  EXPECT_TRUE(directory_->ops().IsSwap(swap.get()));
  EXPECT_FALSE(directory_->ops().IsSwap(other.get()));
  std::move(off).Invoke();
  EXPECT_FALSE(directory_->ops().IsSwap(swap.get()));
}

TEST_P(ErrnoTest, RunningProgramsMayShare) {
  ASSERT_EQ(RunCommand({"cp", "/bin/sleep", At("program")}), absl::OkStatus());
  ASSERT_EQ(RunCommand({"cp", "/bin/sleep", At("copy")}), absl::OkStatus());
  const std::string program = At("program");
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(program.c_str(), "sleep", "100", nullptr);
    ::_exit(1);
  }
  const absl::Cleanup end = [&] {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  };
  // It runs once it may no longer be written.
  while (Fd(::open(program.c_str(), O_RDWR | O_CLOEXEC)).valid()) ::usleep(1000);
  ASSERT_EQ(errno, ETXTBSY);

  const absl::StatusOr<OpenFile> target = tree_->Open("program", true);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(Dedupe(Open("copy").get(), target->fd.get(), target->facts.size), "SAME");
  EXPECT_EQ(directory_->Content("program"), directory_->Content("copy"));
}

TEST_P(ErrnoTest, NocowAndCowDoNotMix) {
  if (!is_btrfs()) GTEST_SKIP() << "XFS has no such files";
  for (const std::string name : {"nocow1", "nocow2"}) {
    directory_->AddFile(name, "");
    SetFlag(Open(name).get(), FS_NOCOW_FL, true);
    directory_->Write(name, 0, Content());
  }
  const Fd nocow = Open("nocow1");
  EXPECT_EQ(Dedupe(source_.get(), nocow.get()), "EINVAL");
  EXPECT_EQ(Dedupe(nocow.get(), target_.get()), "EINVAL");
  EXPECT_EQ(Dedupe(nocow.get(), Open("nocow2").get()), "SAME");
}

TEST_P(ErrnoTest, SubvolumesAndReadOnlySnapshots) {
  if (!is_btrfs()) GTEST_SKIP() << "XFS has none";
  ASSERT_EQ(RunCommand({"btrfs", "subvolume", "create", At("sub")}), absl::OkStatus());
  const absl::Cleanup remove = [&] {
    EXPECT_EQ(RunCommand({"btrfs", "subvolume", "delete", At("sub")}), absl::OkStatus());
  };
  directory_->AddFile("sub/target", Content());
  ASSERT_EQ(RunCommand({"btrfs", "subvolume", "snapshot", "-r", At("sub"), At("snapshot")}),
            absl::OkStatus());
  const absl::Cleanup remove_snapshot = [&] {
    EXPECT_EQ(RunCommand({"btrfs", "subvolume", "delete", At("snapshot")}), absl::OkStatus());
  };
  EXPECT_EQ(Dedupe(source_.get(), Open("sub/target").get()), "SAME");
  EXPECT_EQ(Dedupe(source_.get(), Open("snapshot/target").get()), "SAME");
  EXPECT_EQ(Dedupe(Open("snapshot/target").get(), target_.get()), "SAME");
}

TEST_P(ErrnoTest, OrdinaryUsers) {
  ASSERT_EQ(::chmod(At("target").c_str(), 0644), 0);
  EXPECT_EQ(AsStranger([&] { return Dedupe(source_.get(), target_.get()); }), "EPERM");
  ASSERT_EQ(::chmod(At("target").c_str(), 0666), 0);
  EXPECT_EQ(AsStranger([&] { return Dedupe(source_.get(), target_.get()); }), "SAME");
  ASSERT_EQ(::chmod(At("target").c_str(), 0444), 0);
  ASSERT_EQ(::chown(At("target").c_str(), kStranger, kStranger), 0);
  EXPECT_EQ(AsStranger([&] { return Dedupe(source_.get(), target_.get()); }), "SAME");
}

TEST_P(ErrnoTest, OpeningAsAnOrdinaryUser) {
  const auto open = [&](bool for_destination) {
    return AsStranger([&]() -> std::string {
      const absl::StatusOr<OpenFile> file = tree_->Open("target", for_destination);
      if (!file.ok()) return ErrnoName(ErrnoOf(file.status()));
      const int mode = ::fcntl(file->fd.get(), F_GETFL) & O_ACCMODE;
      return absl::StrCat(mode == O_RDONLY ? "read" : "write", " ", Dedupe(source_.get(), file->fd.get()));
    });
  };
  ASSERT_EQ(::chmod(At("target").c_str(), 0600), 0);
  EXPECT_EQ(open(false), "EACCES");
  EXPECT_EQ(open(true), "EACCES");
  // What may be written but not read is good enough for a destination.
  ASSERT_EQ(::chmod(At("target").c_str(), 0622), 0);
  EXPECT_EQ(open(false), "EACCES");
  EXPECT_EQ(open(true), "write SAME");
  // O_NOATIME is not for strangers; it opens all the same.
  ASSERT_EQ(::chmod(At("target").c_str(), 0644), 0);
  EXPECT_EQ(open(true), "read EPERM");
  ASSERT_EQ(::chmod(directory_->root().local_path.c_str(), 0700), 0);
  EXPECT_EQ(open(false), "EACCES");
}

TEST_P(ErrnoTest, DirectIoAndDirtyPagesMayShare) {
  const Fd source(::open(At("source").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  const Fd target(::open(At("target").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  EXPECT_EQ(Dedupe(source.get(), target.get()), "SAME");
  directory_->Write("target", 0, Content());
  EXPECT_EQ(Dedupe(source_.get(), target_.get()), "SAME");
  directory_->Write("target", kSize - 1, "!");
  EXPECT_EQ(Dedupe(source_.get(), target_.get()), "DIFFERS");
}

INSTANTIATE_TEST_SUITE_P(Kernel, ErrnoTest, testing::Values("btrfs", "xfs"));

}  // namespace
}  // namespace cowherd
