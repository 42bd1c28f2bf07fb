// A scan on a filesystem that is full, damaged, compressed or being sent: what cannot be shared is counted
// and said, and no content changes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/scan/scanner.h"
#include "tests/kernel/loop_test.h"
#include "tests/testing/command.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;

std::unique_ptr<LoopFilesystem> Make(uint64_t size, const std::string& mount_options,
                                     const std::string& type = "btrfs") {
  LoopFilesystem::Options options;
  options.type = type;
  options.size = size;
  if (type == "btrfs") options.mkfs_arguments = {"-m", "single", "-d", "single"};
  absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
  EXPECT_TRUE(made.ok()) << made.status();
  if (!made.ok()) return nullptr;
  if (!mount_options.empty()) {
    EXPECT_EQ((*made)->Unmount(), absl::OkStatus());
    EXPECT_EQ((*made)->Mount(mount_options), absl::OkStatus());
  }
  return *std::move(made);
}

// Bytes in which every block tells its number.
std::string Numbered(uint64_t size) {
  std::string bytes;
  for (uint64_t word = 0; bytes.size() < size; ++word) absl::StrAppend(&bytes, absl::Hex(word * 2654435761));
  bytes.resize(size);
  return bytes;
}

Totals Scan(DirectoryUnderTest& directory, const ScanRequest& request = ScanRequest()) {
  const auto tree = directory.trees().OpenRoot(directory.root());
  EXPECT_TRUE(tree.ok()) << tree.status();
  SharedTotals totals;
  Pace pace(0, nullptr, totals);
  const Stop stop;
  const absl::Status status =
      ScanTree(directory.ops(), **tree, request, 1 << 20, pace, stop, totals, [](const Duplicate&) {});
  EXPECT_EQ(status, absl::OkStatus());
  return totals.Get();
}

// Appends until nothing more goes in: then metadata finds no room to grow either.
void FillUp(const DirectoryUnderTest& directory) {
  const Fd fd(::open(directory.At("fill").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd.valid());
  for (size_t size = kMiB; size >= 4096; size /= 2) {
    const std::string block(size, 'x');
    while (::write(fd.get(), block.data(), size) == static_cast<ssize_t>(size) && ::fsync(fd.get()) == 0) {
    }
  }
}

TEST(Hardship, FullFilesystem) {
  const auto loop = Make(120 * kMiB, "");
  ASSERT_NE(loop, nullptr);
  DirectoryUnderTest directory(loop->path(), true);
  const std::string content = Numbered(kMiB);
  directory.AddFile("one", content);
  directory.AddFile("two", content);
  FillUp(directory);
  const auto tree = *directory.trees().OpenRoot(directory.root());
  const auto one = *tree->Open("one", false);
  const auto two = *tree->Open("two", true);
  // Each piece makes the metadata grow; the first may still find room.
  std::string refused;
  for (uint64_t at = 0; at < kMiB && refused.empty(); at += 2 * 4096) {
    const auto answers = directory.ops().Dedupe(one.fd.get(), at, 4096, {{two.fd.get(), at}});
    ASSERT_TRUE(answers.ok()) << answers.status();
    if (answers->front().kind == DedupeAnswer::Kind::kError) refused = ErrnoName(answers->front().error);
  }
  EXPECT_EQ(refused, "ENOSPC");
  EXPECT_EQ(directory.Content("one"), content);
  EXPECT_EQ(directory.Content("two"), content);
}

// The kernel meets the damage when it compares: btrfs checks what it reads.
TEST(Hardship, DamagedBlock) {
  const auto loop = Make(256 * kMiB, "");
  ASSERT_NE(loop, nullptr);
  std::string content;
  {
    DirectoryUnderTest directory(loop->path(), true);
    const std::string mark = "here lies the block that will be damaged";
    content = Numbered(kMiB);
    content.replace(512 << 10, mark.size(), mark);
    std::ofstream(loop->path() + "/one") << content;
    std::ofstream(loop->path() + "/two") << content;
    ASSERT_EQ(loop->Unmount(), absl::OkStatus());
    std::string image;
    {
      std::ifstream in(loop->image(), std::ios::binary);
      image.assign(std::istreambuf_iterator<char>(in), {});
    }
    const size_t last = image.rfind(mark);
    ASSERT_NE(last, image.npos);
    std::fstream(loop->image(), std::ios::binary | std::ios::in | std::ios::out)
            .seekp(static_cast<std::streamoff>(last))
        << "HERE";
    ASSERT_EQ(loop->Mount(), absl::OkStatus());
  }
  LinuxExtentOps ops;
  LinuxFileTrees trees;
  const auto tree = *trees.OpenRoot({"test", loop->path(), loop->path()});
  const auto one = *tree->Open("one", false);
  const auto two = *tree->Open("two", true);
  const auto answers = ops.Dedupe(one.fd.get(), 0, kMiB, {{two.fd.get(), 0}});
  ASSERT_TRUE(answers.ok()) << answers.status();
  EXPECT_EQ(answers->front().kind, DedupeAnswer::Kind::kError);
  EXPECT_EQ(ErrnoName(answers->front().error), "EIO");

  // A scan counts the file as failed and goes on with the others.
  std::ofstream(loop->path() + "/three") << Numbered(kMiB);
  std::ofstream(loop->path() + "/twin of three") << Numbered(kMiB);
  SharedTotals totals;
  Pace pace(0, nullptr, totals);
  const Stop stop;
  EXPECT_EQ(ScanTree(ops, *tree, ScanRequest(), 1 << 20, pace, stop, totals, [](const Duplicate&) {}),
            absl::OkStatus());
  EXPECT_GE(totals.Get().files_failed + totals.Get().ranges_failed, 1u);
  EXPECT_GE(totals.Get().bytes_accepted, kMiB);
}

// Writes a file until it is cut into full compressed extents: a sync of somebody else in the middle of a
// write cuts it there, too.
void AddCompressed(DirectoryUnderTest& directory, const std::string& name, const std::string& content) {
  constexpr uint64_t kCompressed = 128 << 10;  // BTRFS_MAX_UNCOMPRESSED, fs/btrfs/compression.h
  const auto tree = *directory.trees().OpenRoot(directory.root());
  for (int attempt = 0; attempt < 20; ++attempt) {
    directory.AddFile(name, content);
    const auto file = tree->Open(name, false);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto list = directory.ops().Extents(file->fd.get(), 0, content.size(), 1000, /*flush=*/true);
    ASSERT_TRUE(list.ok()) << list.status();
    uint64_t at = 0;
    for (const FileExtent& extent : list->extents) {
      const bool whole = extent.encoded && extent.offset == at && at % kCompressed == 0;
      if (!whole) break;
      at += extent.length;
    }
    if (at >= content.size()) return;
  }
  FAIL() << name << " is never cut into full compressed extents";
}

TEST(Hardship, CompressedExtents) {
  const auto loop = Make(512 * kMiB, "compress-force=zstd");
  ASSERT_NE(loop, nullptr);
  DirectoryUnderTest directory(loop->path(), true);
  const std::string content = Numbered(8 * kMiB);
  // Compressed extents cut in other places: their checksums tell nothing about what is in them.
  const std::string shifted = std::string(20480, 's') + content;
  AddCompressed(directory, "one", content);
  AddCompressed(directory, "two", content);
  AddCompressed(directory, "shifted", shifted);
  const Totals totals = Scan(directory);
  EXPECT_EQ(totals.ranges_failed + totals.ranges_differ, 0u);
  EXPECT_EQ(totals.bytes_accepted, 8 * kMiB);
  EXPECT_GT(totals.bytes_won, 0);
  EXPECT_EQ(directory.Content("one"), content);
  EXPECT_EQ(directory.Content("two"), content);
  EXPECT_EQ(directory.Content("shifted"), shifted);
  // What shares already is not shared again.
  EXPECT_EQ(Scan(directory).bytes_accepted, 0u);
}

// What has checksums from before still moves: scratch files must not be without, as others are that are made
// under such a mount.
TEST(Hardship, MountedWithoutChecksumsByNow) {
  for (const std::string option : {"nodatasum", "nodatacow"}) {
    SCOPED_TRACE(option);
    const auto loop = Make(512 * kMiB, "");
    ASSERT_NE(loop, nullptr);
    DirectoryUnderTest directory(loop->path(), true);
    std::string content = Numbered(8 * kMiB);
    directory.AddFile("one", content);
    for (uint64_t i = 0; i < 16; ++i) content[i * kMiB / 2] ^= 1;
    directory.AddFile("two", content);
    ASSERT_EQ(loop->Unmount(), absl::OkStatus());
    ASSERT_EQ(loop->Mount(option), absl::OkStatus());
    const Totals totals = Scan(directory);
    EXPECT_EQ(totals.ranges_failed, 0u);
    EXPECT_EQ(totals.bytes_moved, 16u * 4096);
    EXPECT_GT(totals.bytes_won, static_cast<int64_t>(7 * kMiB));
    EXPECT_TRUE(directory.Content("two") == content);
  }
}

// `btrfs send` of a snapshot, held up until this goes: nobody reads what it sends.
class SendInProgress {
 public:
  // Returns once it has begun.
  explicit SendInProgress(const std::string& snapshot) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    sent_ = Fd(ends[0]);
    const Fd to(ends[1]);
    const char* const words[] = {"btrfs", "-q", "send", snapshot.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to.get(), STDOUT_FILENO);
    if (::posix_spawnp(&pid_, words[0], &actions, nullptr, const_cast<char* const*>(words), environ) != 0) {
      pid_ = -1;
    }
    EXPECT_GT(pid_, 0);
    posix_spawn_file_actions_destroy(&actions);
    pollfd something = {sent_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&something, 1, 60'000), 1);
    EXPECT_EQ(something.revents, POLLIN);
  }
  ~SendInProgress() {
    if (pid_ <= 0) return;  // not begun
    ::kill(pid_, SIGKILL);
    EXPECT_EQ(::waitpid(pid_, nullptr, 0), pid_);
  }
  SendInProgress(const SendInProgress&) = delete;
  SendInProgress& operator=(const SendInProgress&) = delete;

 private:
  pid_t pid_ = -1;
  Fd sent_;
};

// The kernel shares nothing of a subvolume that is being sent (EAGAIN). What snapshots hold cannot go free
// meanwhile, and nothing is copied in vain.
TEST(Hardship, SnapshotBeingSent) {
  const auto loop = Make(512 * kMiB, "");
  ASSERT_NE(loop, nullptr);
  const std::string live = loop->path() + "/live";
  const std::string snapshot = loop->path() + "/snapshot";
  ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "create", live}), absl::OkStatus());
  // Of each extent a sixth is to be moved.
  std::string content = testing::Bytes(1, 48 * kMiB);
  const std::map<std::string, std::string> files = [&] {
    std::map<std::string, std::string> all = {{"one", content}};
    for (uint64_t at = 0; at < content.size(); at += 6 * kMiB) {
      content.replace(at, kMiB, testing::Bytes(2 + at, kMiB));
    }
    all["two"] = content;
    return all;
  }();
  for (const auto& [name, bytes] : files) std::ofstream(absl::StrCat(live, "/", name)) << bytes;
  ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "snapshot", "-r", live, snapshot}), absl::OkStatus());
  const auto expect_contents = [&] {
    for (const std::string& top : {live, snapshot}) {
      for (const auto& [name, bytes] : files) {
        std::ifstream in(absl::StrCat(top, "/", name), std::ios::binary);
        EXPECT_TRUE(std::string(std::istreambuf_iterator<char>(in), {}) == bytes) << top << "/" << name;
      }
    }
  };
  LinuxExtentOps ops;
  const Fd top(::open(loop->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto free = [&] {
    EXPECT_EQ(ops.Commit(top.get()), absl::OkStatus());
    return static_cast<int64_t>(ops.Facts(top.get())->free_bytes);
  };
  const auto scan = [&] {
    SharedTotals totals;
    Pace pace(0, nullptr, totals);
    LinuxFileTrees trees;
    const auto tree = *trees.OpenRoot({"test", loop->path(), loop->path()});
    EXPECT_EQ(ScanTree(ops, *tree, ScanRequest(), kMiB, pace, Stop(), totals, [](const Duplicate&) {}),
              absl::OkStatus());
    return totals.Get();
  };
  const int64_t before = free();
  {
    const SendInProgress sending(snapshot);
    const Totals totals = scan();
    EXPECT_GT(totals.ranges_failed, 0u);
    EXPECT_GT(free() - before, -static_cast<int64_t>(2 * kMiB));
    expect_contents();
  }
  EXPECT_EQ(scan().ranges_failed, 0u);
  EXPECT_GT(free() - before, static_cast<int64_t>(39 * kMiB));
  expect_contents();
}

void SetImmutable(const std::string& path, bool on) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  int flags = 0;
  ASSERT_EQ(::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags), 0);
  flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
  ASSERT_EQ(::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags), 0) << ErrnoName(errno);
}

// Others share with a file that is immutable; what it would have to give up is neither planned nor tried.
TEST(Hardship, ImmutableFiles) {
  for (const std::string type : {"btrfs", "xfs"}) {
    SCOPED_TRACE(type);
    const auto loop = Make(512 * kMiB, "", type);
    ASSERT_NE(loop, nullptr);
    DirectoryUnderTest directory(loop->path(), true);
    const std::string once = Numbered(kMiB);
    const std::string again = std::string(4096, 'a') + once;
    // In this order on disk: the first is a source, the last is shared, that in the middle would have to give
    // up.
    const std::vector<std::pair<std::string, std::string>> files = {
        {"fixed source", once}, {"shares", once}, {"source", again}, {"fixed", again}, {"shares too", again}};
    for (const auto& [name, content] : files) {
      directory.AddFile(name, content);
      const auto tree = *directory.trees().OpenRoot(directory.root());
      ASSERT_EQ(directory.ops().Commit(tree->root_fd()), absl::OkStatus());
    }
    for (const std::string name : {"fixed source", "fixed"}) SetImmutable(directory.At(name), true);
    ScanRequest request;
    request.dry_run = true;
    const Totals planned = Scan(directory, request);
    const Totals done = Scan(directory);
    for (const auto& [name, content] : files) EXPECT_EQ(directory.Content(name), content) << name;
    for (const std::string name : {"fixed source", "fixed"}) SetImmutable(directory.At(name), false);
    EXPECT_EQ(done.ranges_failed, 0u);
    EXPECT_GE(done.bytes_accepted, 3 * kMiB);
    EXPECT_GE(done.bytes_held, kMiB);
    EXPECT_EQ(planned.bytes_freeable, done.bytes_freeable);
    EXPECT_NEAR(static_cast<double>(done.bytes_won), static_cast<double>(planned.bytes_freeable), 64 << 10);
  }
}

}  // namespace
}  // namespace cowherd
