// Scans that go on where the last one ended, for real: what they look at, and what becomes of states that are
// not to be trusted and of scans that are killed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/scan/scanner.h"
#include "tests/testing/file_clock.h"
#include "tests/testing/loop_filesystem.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kBlock = 4096;
constexpr uint64_t kMiB = 1 << 20;

using testing::Bytes;

std::string Content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class StateTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    LoopFilesystem::Options options;
    options.type = GetParam() == "xfs" ? "xfs" : "btrfs";
    if (GetParam() == "nodatasum") mount_options_ = GetParam();
    absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
    ASSERT_TRUE(made.ok()) << made.status();
    loop_ = *std::move(made);
    Remount();
    const absl::StatusOr<std::string> test_directory = TestDirectory();
    ASSERT_TRUE(test_directory.ok()) << test_directory.status();
    std::string name = absl::StrCat(*test_directory, "/state.XXXXXX");
    ASSERT_NE(::mkdtemp(&name[0]), nullptr);
    request_.state_dir = name;
    request_.min_extent_length = kBlock;
    request_.min_file_size = 1;
  }

  void TearDown() override {
    if (!request_.state_dir.empty()) fs::remove_all(request_.state_dir);
  }

  std::string Path(const std::string& name) const { return absl::StrCat(loop_->path(), "/", name); }

  void Write(const std::string& name, const std::string& bytes) {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << bytes;
  }

  // Where a scan does not move what is unique, btrfs keeps whole extents for it.
  static bool GoesFreeInParts() { return GetParam() != "nodatasum"; }

  // Committed.
  uint64_t Free() {
    const Fd root(::open(loop_->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_EQ(ops_.Commit(root.get()), absl::OkStatus());
    return ops_.Facts(root.get())->free_bytes;
  }

  Totals Scan() {
    SharedTotals totals;
    const Stop stop;
    EXPECT_EQ(ScanUntil(stop, totals), absl::OkStatus());
    EXPECT_EQ(totals.Get().ranges_failed, 0U);
    EXPECT_EQ(totals.Get().bytes_found, totals.Get().bytes_scanned);
    EXPECT_EQ(totals.Get().work_done, totals.Get().work_planned);
    return totals.Get();
  }

  absl::Status ScanUntil(const Stop& stop, SharedTotals& totals) {
    LetFileClockStep();
    const auto tree = trees_.OpenRoot({"test", loop_->path(), loop_->path()});
    if (!tree.ok()) return tree.status();
    Pace pace(request_.bytes_per_second, nullptr, totals);
    return ScanTree(ops_, **tree, request_, 8 << 20, pace, stop, totals, [](const Duplicate&) {});
  }

  std::vector<fs::path> States() {
    std::vector<fs::path> states;
    for (const auto& entry : fs::recursive_directory_iterator(request_.state_dir)) {
      if (entry.path().extension() == ".state") states.push_back(entry.path());
    }
    return states;
  }

  // Hash, time of change and time of modification of every file.
  std::map<std::string, std::vector<uint64_t>> LookAtAll() {
    std::map<std::string, std::vector<uint64_t>> all;
    for (const auto& entry : fs::recursive_directory_iterator(loop_->path())) {
      if (!entry.is_regular_file()) continue;
      struct stat stat;
      EXPECT_EQ(::stat(entry.path().c_str(), &stat), 0);
      const std::string content = Content(entry.path());
      const auto ns = [](const timespec& t) {
        return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
      };
      all[entry.path()] = {XXH3_64bits(content.data(), content.size()), ns(stat.st_mtim), ns(stat.st_ctim)};
    }
    return all;
  }

  void Remount() {
    ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
    ASSERT_EQ(loop_->Mount(mount_options_), absl::OkStatus());
  }

  LinuxExtentOps ops_;
  LinuxFileTrees trees_;
  std::unique_ptr<LoopFilesystem> loop_;
  std::string mount_options_;
  ScanRequest request_;
};

TEST_P(StateTest, SecondScanLooksAtNothing) {
  for (int i = 0; i < 8; ++i) Write(absl::StrCat("d/", i), Bytes(i % 4, kMiB));
  const Totals first = Scan();
  EXPECT_EQ(first.bytes_accepted, 4 * kMiB);
  EXPECT_EQ(first.bytes_unchanged, 0U);
  const Totals second = Scan();
  // On btrfs metadata counts too.
  EXPECT_GE(second.bytes_unchanged, 4 * kMiB);
  EXPECT_EQ(second.bytes_scanned, 0U);
  EXPECT_EQ(second.duplicate_ranges, 0U);
  Remount();
  EXPECT_EQ(Scan().bytes_scanned, 0U);
  request_.full_scan = true;
  EXPECT_GE(Scan().bytes_scanned, 4 * kMiB);
  request_.full_scan = false;
  EXPECT_EQ(Scan().bytes_scanned, 0U);
}

// Left to the kernel's own thread for commits, these took 20 s, and one alone up to 30 s.
TEST_P(StateTest, GenerationsAreCommittedAmongWritersWithoutDelay) {
  if (GetParam() == "xfs") return;
  const auto tree = trees_.OpenRoot({"test", loop_->path(), loop_->path()});
  ASSERT_TRUE(tree.ok()) << tree.status();
  const auto map = (*tree)->OpenStorageMap();
  ASSERT_TRUE(map.ok()) << map.status();
  std::atomic<bool> done = false;
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&, i] {
      while (!done) Write(absl::StrCat("written_", i), std::string(kBlock, 'x'));
    });
  }
  const auto begin = std::chrono::steady_clock::now();
  uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const absl::StatusOr<uint64_t> generation = (*map)->CommittedGeneration();
    EXPECT_TRUE(generation.ok()) << generation.status();
    EXPECT_GE(generation.value_or(0), last);
    last = generation.value_or(0);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  done = true;
  for (std::thread& writer : writers) writer.join();
}

TEST_P(StateTest, OnlyWhatIsNewIsLookedAtAndSharesWithWhatIsOld) {
  for (int i = 0; i < 16; ++i) Write(absl::StrCat("old", i), Bytes(100 + i, kMiB));
  EXPECT_EQ(Scan().duplicate_bytes, 0U);
  // Shifted by three blocks, and behind something new.
  Write("new", Bytes(1, 3 * kBlock) + Bytes(107, kMiB));
  const auto before = LookAtAll();
  const uint64_t free = Free();
  const Totals second = Scan();
  EXPECT_LE(second.bytes_scanned, 4 * kMiB);
  EXPECT_EQ(second.bytes_accepted, kMiB);
  if (GoesFreeInParts()) {
    EXPECT_GE(Free() - free, kMiB - kMiB / 50);
  }
  EXPECT_TRUE(LookAtAll() == before);
  EXPECT_EQ(Scan().bytes_scanned, 0U);
}

// Where files are read, each takes addresses by its size.
TEST_P(StateTest, AFileBeyondTheAddressesOfTheIndexIsSkippedAndTheOthersAreShared) {
  Write("a", Bytes(1, kMiB));
  Write("b", Bytes(1, kMiB));
  Write("sparse", Bytes(1, kMiB));
  ASSERT_EQ(::truncate(Path("sparse").c_str(), (off_t{1} << 59) + 1), 0) << std::strerror(errno);
  const Totals totals = Scan();
  const bool is_read = GetParam() != "btrfs";
  EXPECT_EQ(totals.files_skipped, is_read ? 1U : 0U);
  EXPECT_EQ(totals.bytes_accepted, (is_read ? 1 : 2) * kMiB);
}

TEST_P(StateTest, AFileThatIsRewrittenIsLookedAtAgain) {
  for (int i = 0; i < 4; ++i) Write(absl::StrCat("f", i), Bytes(100 + i, kMiB));
  EXPECT_EQ(Scan().duplicate_bytes, 0U);
  Write("f3", Bytes(100, kMiB));
  EXPECT_EQ(Scan().bytes_accepted, kMiB);
  EXPECT_EQ(Scan().bytes_scanned, 0U);
}

TEST_P(StateTest, DataThatComesToReservedStorageIsFound) {
  Write("old", Bytes(1, kMiB));
  const Fd reserved(::open(Path("reserved").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::fallocate(reserved.get(), 0, 0, kMiB), 0);
  ASSERT_EQ(::fsync(reserved.get()), 0);
  EXPECT_EQ(Scan().duplicate_bytes, 0U);
  const std::string bytes = Bytes(1, kMiB);
  ASSERT_EQ(::pwrite(reserved.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(Scan().bytes_accepted, kMiB);
}

TEST_P(StateTest, AnotherRequestHasAStateOfItsOwn) {
  for (int i = 0; i < 4; ++i) Write(absl::StrCat("d", i % 2, "/", i), Bytes(100 + i / 2, kMiB));
  request_.paths = {"d0"};
  EXPECT_EQ(Scan().duplicate_bytes, 0U);
  request_.paths = {};
  EXPECT_EQ(Scan().bytes_accepted, 2 * kMiB);
  // Files without checksums have one beside that of the storage.
  EXPECT_EQ(States().size(), GetParam() == "nodatasum" ? 4U : 2U);
}

TEST_P(StateTest, AFilesystemMadeAnewIsLookedAtInFull) {
  for (int i = 0; i < 4; ++i) Write(absl::StrCat("f", i), Bytes(i % 2, kMiB));
  EXPECT_EQ(Scan().bytes_accepted, 2 * kMiB);
  const fs::path old = States().at(0);
  ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
  ASSERT_EQ(loop_->Format(), absl::OkStatus());
  ASSERT_EQ(loop_->Mount(mount_options_), absl::OkStatus());
  for (int i = 0; i < 4; ++i) Write(absl::StrCat("f", i), Bytes(i % 2, kMiB));
  // Also where somebody puts the old state in the place of the new one.
  Scan();
  for (const fs::path& state : States()) {
    if (state != old) fs::copy_file(old, state, fs::copy_options::overwrite_existing);
  }
  fs::remove(old);
  Write("f4", Bytes(0, kMiB));
  const Totals again = Scan();
  EXPECT_GE(again.bytes_scanned, 3 * kMiB);
  EXPECT_EQ(again.bytes_accepted, kMiB);
  EXPECT_EQ(Scan().bytes_scanned, 0U);
}

TEST_P(StateTest, ATornStateIsNotTrusted) {
  for (int i = 0; i < 4; ++i) Write(absl::StrCat("f", i), Bytes(i, kMiB));
  Scan();
  // Of each part of the scan, by checksums and by reading.
  std::map<fs::path, std::string> states;
  for (const fs::path& state : States()) states[state] = Content(state);
  std::mt19937_64 random(1);
  for (int round = 0; round < 6; ++round) {
    for (const auto& [state, good] : states) {
      std::string bad = good;
      if (round % 2 == 0) {
        bad.resize(random() % good.size());
      } else {
        const size_t at = random() % good.size();
        bad[at] = static_cast<char>(bad[at] ^ 0x10);
      }
      std::ofstream(state, std::ios::binary) << bad;
    }
    Write(absl::StrCat("new", round), Bytes(round % 4, kMiB));
    const Totals again = Scan();
    EXPECT_GE(again.bytes_scanned, 4 * kMiB) << "round " << round;
    EXPECT_EQ(again.bytes_accepted, kMiB) << "round " << round;
  }
}

TEST_P(StateTest, CancelledScansGoOn) {
  // Copies beside each other, so that some are shared before all is read.
  for (int i = 0; i < 200; ++i) Write(absl::StrCat("f", i), Bytes(i / 4, 64 * kBlock));
  const auto before = LookAtAll();
  const uint64_t free = Free();
  request_.bytes_per_second = 40 * kMiB;
  request_.checkpoint_interval = std::chrono::milliseconds(0);
  int cancelled = 0;
  for (int round = 0; round < 6; ++round) {
    Stop stop(std::chrono::steady_clock::now() + std::chrono::milliseconds(450));
    SharedTotals totals;
    if (ScanUntil(stop, totals).ok()) break;
    ++cancelled;
  }
  EXPECT_GT(cancelled, 0);
  request_.bytes_per_second = 0;
  EXPECT_LT(Scan().bytes_accepted, 150 * 64 * kBlock);
  EXPECT_TRUE(LookAtAll() == before);
  EXPECT_GE(Free() - free, 150 * 64 * kBlock / 100 * 98);
  EXPECT_EQ(Scan().bytes_scanned, 0U);
}

TEST_P(StateTest, KilledScansGoOn) {
  std::mt19937_64 random(7);
  uint64_t duplicate = 0;
  for (int i = 0; i < 300; ++i) {
    Write(absl::StrCat("f", i), Bytes(i % 60, 48 * kBlock) + Bytes(1000 + i, i % 3 * kBlock));
    if (i >= 60) duplicate += 48 * kBlock;
  }
  const auto before = LookAtAll();
  const uint64_t free = Free();
  request_.checkpoint_interval = std::chrono::milliseconds(0);
  request_.bytes_per_second = 100 * kMiB;
  int killed = 0;
  for (int round = 0; round < 40; ++round) {
    // What is not cached takes its time.
    if (round % 10 == 0) Remount();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const Stop stop;
      SharedTotals totals;
      ::_exit(ScanUntil(stop, totals).ok() ? 0 : 1);
    }
    ::usleep(static_cast<useconds_t>(random() % 200000));
    ::kill(child, SIGKILL);
    int ended = 0;
    ASSERT_EQ(::waitpid(child, &ended, 0), child);
    if (WIFSIGNALED(ended)) ++killed;
    if (round % 10 == 9) {
      EXPECT_TRUE(LookAtAll() == before);
    }
  }
  EXPECT_GT(killed, 0);
  request_.bytes_per_second = 0;
  const Totals last = Scan();
  // Of files that are read only they tell: the rest of btrfs's storage counts as unchanged in any case.
  EXPECT_GT(GetParam() == "btrfs" ? last.bytes_unchanged : last.files_unchanged, 0U);
  EXPECT_TRUE(LookAtAll() == before);
  Remount();
  EXPECT_TRUE(LookAtAll() == before);
  // Space that a scratch file would take is free.
  if (GoesFreeInParts()) {
    EXPECT_GE(Free() - free, duplicate / 100 * 98);
  }
  EXPECT_EQ(Scan().bytes_scanned, 0U);
  for (const auto& entry : fs::recursive_directory_iterator(request_.state_dir)) {
    EXPECT_NE(entry.path().extension(), ".new");
  }
}

INSTANTIATE_TEST_SUITE_P(Filesystems, StateTest, ::testing::Values("btrfs", "nodatasum", "xfs"),
                         [](const auto& info) { return info.param; });

class BtrfsStateTest : public StateTest {};

// The same filesystem, as it was before the state was made.
TEST_P(BtrfsStateTest, AFilesystemPutBackToAnEarlierTimeIsLookedAtInFull) {
  for (int i = 0; i < 4; ++i) Write(absl::StrCat("f", i), Bytes(i % 2, kMiB));
  ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
  const std::string earlier = loop_->image() + ".earlier";
  fs::copy_file(loop_->image(), earlier);
  ASSERT_EQ(loop_->Mount(), absl::OkStatus());
  EXPECT_EQ(Scan().bytes_accepted, 2 * kMiB);
  ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
  fs::rename(earlier, loop_->image());
  ASSERT_EQ(loop_->Mount(), absl::OkStatus());
  EXPECT_EQ(Scan().bytes_accepted, 2 * kMiB);
  EXPECT_EQ(Scan().bytes_scanned, 0U);
}

INSTANTIATE_TEST_SUITE_P(Filesystems, BtrfsStateTest, ::testing::Values("btrfs"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace cowherd
