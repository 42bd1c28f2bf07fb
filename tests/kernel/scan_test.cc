// Random trees with random edits, scanned for real: no content, no time and no name changes, what is
// duplicate comes back, and nothing is left to do for a second scan.
//   COWHERD_SEED=N COWHERD_ROUNDS=N   the first seed of random trees, and how many: 1 and 4 by default
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "tests/kernel/scan_loop.h"
#include "tests/kernel/space_model.h"
#include "tests/testing/command.h"
#include "tests/testing/loop_filesystem.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = 4096;

unsigned FromEnvironment(const char* name, unsigned otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(value, nullptr, 10));
}

unsigned long long Number(uint64_t number) { return number; }  // for %llu

struct Config {
  std::string name;
  std::string type;
  std::vector<std::string> mkfs_arguments = {};
  std::vector<std::string> mount_options = {""};  // seed by seed in turn
  bool snapshots = false;
  unsigned images = 1;
  bool kernel_may_lack = false;
};

struct FileLook {
  uint64_t checksum = 0;
  int64_t modified = 0;
  int64_t changed = 0;
};
bool operator==(const FileLook& a, const FileLook& b) {
  return a.checksum == b.checksum && a.modified == b.modified && a.changed == b.changed;
}

std::string Content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class Tree {
 public:
  // Each byte of random content has the bits of `mask`.
  Tree(std::string path, unsigned seed, unsigned mask) : path_(std::move(path)), random_(seed) {
    for (int i = 0; i < 24; ++i) {
      std::string bytes((1 + Below(48)) * kBlock + (Below(3) == 0 ? Below(kBlock) : 0), '\0');
      if (Below(8) != 0) {
        for (char& c : bytes) c = static_cast<char>(random_() & mask);
      }
      pool_.push_back(std::move(bytes));
    }
  }

  void Grow(int files) {
    for (int i = 0; i < files; ++i) {
      const std::string name = absl::StrCat(path_, "/f", names_++);
      std::string bytes;
      for (uint64_t parts = 1 + Below(6); parts > 0; --parts) {
        const std::string& chunk = pool_[Below(pool_.size())];
        bytes += Below(3) == 0 ? chunk.substr(Below(chunk.size() / kBlock + 1) * kBlock) : chunk;
        if (parts > 1) bytes.resize((bytes.size() + kBlock - 1) / kBlock * kBlock);
      }
      std::ofstream(name, std::ios::binary) << bytes;
      files_.push_back(name);
    }
  }

  void Edit(int times) {
    for (int i = 0; i < times; ++i) {
      const std::string& name = files_[Below(files_.size())];
      const Fd fd(::open(name.c_str(), O_RDWR | O_CLOEXEC));
      ASSERT_TRUE(fd.valid());
      struct stat stat;
      ASSERT_EQ(::fstat(fd.get(), &stat), 0);
      const uint64_t blocks = static_cast<uint64_t>(stat.st_size) / kBlock + 1;
      const off_t at = static_cast<off_t>(Below(blocks) * kBlock);
      switch (Below(5)) {
        case 0: {
          std::string block(kBlock, static_cast<char>(random_()));
          ASSERT_EQ(::pwrite(fd.get(), block.data(), 1 + Below(kBlock - 1), at) > 0, true);
          break;
        }
        case 1:
          ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, kBlock * 2), 0);
          break;
        case 2:
          ASSERT_EQ(::ftruncate(fd.get(), at + static_cast<off_t>(Below(kBlock))), 0);
          break;
        case 3:
          ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, at, kBlock * 8), 0);
          break;
        default: {
          const std::string copy = absl::StrCat(path_, "/f", names_++);
          const Fd to(::open(copy.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
          ASSERT_EQ(::ioctl(to.get(), FICLONE, fd.get()), 0);
          files_.push_back(copy);
        }
      }
    }
  }

  uint64_t Below(uint64_t end) { return random_() % end; }

 private:
  const std::string path_;
  std::mt19937_64 random_;
  std::vector<std::string> pool_;
  std::vector<std::string> files_;
  int names_ = 0;
};

class ScanTest : public ::testing::TestWithParam<Config> {
 protected:
  void Make(unsigned seed = 0) {
    LoopFilesystem::Options options;
    options.type = GetParam().type;
    options.mkfs_arguments = GetParam().mkfs_arguments;
    options.images = GetParam().images;
    absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
    if (!made.ok() && GetParam().kernel_may_lack) GTEST_SKIP() << made.status();
    ASSERT_TRUE(made.ok()) << made.status();
    loop_ = *std::move(made);
    mount_options_ = GetParam().mount_options[seed % GetParam().mount_options.size()];
    if (!mount_options_.empty()) Remount();
  }

  void Remount() {
    ASSERT_EQ(loop_->Unmount(), absl::OkStatus());
    ASSERT_EQ(loop_->Mount(mount_options_), absl::OkStatus());
  }

  Totals Scan(bool dry_run = false) {
    ScanRequest request;
    request.dry_run = dry_run;
    request.min_extent_length = kBlock;
    request.min_file_size = 1;
    request.workers = 2;
    const Scanned scanned = ScanLoop(*loop_, request, Stop(), [](const Duplicate&) {});
    EXPECT_EQ(scanned.status, absl::OkStatus());
    EXPECT_EQ(scanned.totals.bytes_scanned, scanned.totals.bytes_found);
    EXPECT_EQ(scanned.totals.work_done, scanned.totals.work_planned);
    return scanned.totals;
  }

  std::map<std::string, FileLook> LookAtAll() {
    std::map<std::string, FileLook> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(loop_->path())) {
      if (!entry.is_regular_file()) continue;
      struct stat stat;
      EXPECT_EQ(::stat(entry.path().c_str(), &stat), 0);
      const std::string content = Content(entry.path());
      all[entry.path()] = {XXH3_64bits(content.data(), content.size()),
                           stat.st_mtim.tv_sec * 1000000000 + stat.st_mtim.tv_nsec,
                           stat.st_ctim.tv_sec * 1000000000 + stat.st_ctim.tv_nsec};
    }
    return all;
  }

  // Bytes of storage that files take, and the least they could take: each different block once.
  std::pair<uint64_t, uint64_t> Model() {
    std::set<uint64_t> places;
    std::set<uint64_t> contents;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(loop_->path())) {
      if (!entry.is_regular_file()) continue;
      const Fd fd(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
      const std::string content = Content(entry.path());
      const absl::StatusOr<ExtentList> list = ops_.Extents(fd.get(), 0, UINT64_MAX, 100000, true);
      EXPECT_TRUE(list.ok());
      for (const FileExtent& extent : list->extents) {
        if (extent.inline_data || extent.unwritten) continue;
        for (uint64_t at = 0; at < extent.length && extent.offset + at < content.size(); at += kBlock) {
          places.insert(extent.physical + at);
          const size_t length = std::min<size_t>(kBlock, content.size() - extent.offset - at);
          contents.insert(XXH3_64bits_withSeed(content.data() + extent.offset + at, length, length));
        }
      }
    }
    return {places.size() * kBlock, contents.size() * kBlock};
  }

  bool HasChecksums() const { return GetParam().type == "btrfs" && GetParam().name != "nodatasum"; }

  SpaceModel Space() {
    const auto tree = trees_.OpenRoot({"test", loop_->path(), loop_->path()});
    EXPECT_TRUE(tree.ok()) << tree.status();
    const auto map = (*tree)->OpenStorageMap();
    EXPECT_TRUE(map.ok()) << map.status();
    const auto space = ModelSpace(**map, loop_->path(), ScanRequest().min_freed_per_moved);
    EXPECT_TRUE(space.ok()) << space.status();
    return *space;
  }

  LinuxExtentOps ops_;
  LinuxFileTrees trees_;
  std::unique_ptr<LoopFilesystem> loop_;
  std::string mount_options_;
};

TEST_P(ScanTest, RandomTrees) {
  const unsigned first = FromEnvironment("COWHERD_SEED", 1);
  const unsigned rounds = FromEnvironment("COWHERD_ROUNDS", 4);
  uint64_t freed_in_all = 0;
  uint64_t expected_in_all = 0;
  uint64_t planned_in_all = 0;
  for (unsigned seed = first; seed < first + rounds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Make(seed);
    ASSERT_FALSE(HasFatalFailure());
    std::string top = loop_->path() + "/top";
    const bool subvolume = GetParam().snapshots;
    if (subvolume) {
      ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "create", top}), absl::OkStatus());
    } else {
      ASSERT_TRUE(std::filesystem::create_directory(top));
    }
    const bool compresses = mount_options_.find("compress") != std::string::npos;
    Tree tree(top, seed, compresses ? 0x0f : 0xff);
    tree.Grow(60);
    tree.Edit(40);
    if (subvolume) {
      const std::string snapshot = loop_->path() + "/snapshot";
      ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "snapshot", top, snapshot}), absl::OkStatus());
      ASSERT_EQ(RunCommand({"btrfs", "-q", "subvolume", "snapshot", "-r", top, snapshot + "-read-only"}),
                absl::OkStatus());
      tree.Edit(20);
      tree.Grow(20);
    }
    ::sync();
    const auto before = LookAtAll();
    const auto [used, least] = Model();
    const SpaceModel space = HasChecksums() ? Space() : SpaceModel();
    const uint64_t planned = Scan(/*dry_run=*/true).bytes_freeable;
    const Totals totals = Scan();
    EXPECT_EQ(totals.ranges_failed, 0u);
    EXPECT_TRUE(LookAtAll() == before);
    const auto [used_after, least_after] = Model();
    // Zeros that were written may lie on preallocated storage now, which counts as no content.
    EXPECT_LE(least_after, least);
    uint64_t freed = used - used_after;
    uint64_t expected = used - least;
    if (HasChecksums()) {
      freed = space.used - Space().used;
      expected = space.attainable;
    }
    const auto part = [](uint64_t of, uint64_t whole) {
      return static_cast<double>(of) / static_cast<double>(whole);
    };
    std::printf(
        "%s, seed %u: freed %.3f of what could be, a dry run had said %.3f of that; of %llu bytes used and "
        "%llu duplicate, %llu are in extents with too much that is unique, %llu have no neighbour that is a "
        "duplicate too\n",
        GetParam().name.c_str(), seed, part(freed, expected), part(planned, freed),
        Number(HasChecksums() ? space.used : used), Number(HasChecksums() ? space.duplicate : used - least),
        Number(space.unprofitable), Number(space.single));
    // A run may start where another one would have been the better choice; and the model does not look back
    // at extents that later ones hold too.
    EXPECT_GE(freed * 100, expected * 90);
    EXPECT_LE(freed * 100, expected * (HasChecksums() ? 110 : 101));
    EXPECT_NEAR(part(planned, freed), 1, 0.02);
    freed_in_all += freed;
    expected_in_all += expected;
    planned_in_all += planned;
    EXPECT_GT(totals.bytes_won, 0);
    // Metadata grows, as files have more extents, and may shrink where others are gone.
    EXPECT_LE(totals.bytes_won, static_cast<int64_t>(freed) + (256 << 10));
    const Totals again = Scan();
    EXPECT_LT(again.bytes_won, totals.bytes_won / 10);
    EXPECT_TRUE(LookAtAll() == before);
    // Dropped from the cache, contents come from the disk: they were written right.
    Remount();
    EXPECT_TRUE(LookAtAll() == before);
  }
  EXPECT_GE(freed_in_all * 100, expected_in_all * (GetParam().type == "xfs" ? 95 : 97));
  EXPECT_LE(freed_in_all * 100, expected_in_all * (HasChecksums() ? 105 : 101));
  const double error = static_cast<double>(planned_in_all) / static_cast<double>(freed_in_all) - 1;
  std::printf("%s: dry runs said %+.2f %% of what then went free\n", GetParam().name.c_str(), 100 * error);
  EXPECT_NEAR(error, 0, 0.01);
}

// Pages of a file that are in the page cache.
size_t CachedPages(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat stat;
  EXPECT_EQ(::fstat(fd.get(), &stat), 0);
  const auto size = static_cast<size_t>(stat.st_size);
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  EXPECT_NE(map, MAP_FAILED);
  std::vector<unsigned char> pages((size + kBlock - 1) / kBlock);
  EXPECT_EQ(::mincore(map, size, pages.data()), 0);
  ::munmap(map, size);
  return static_cast<size_t>(
      std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

Totals ScanBtrfs(const LoopFilesystem& loop, bool dry_run, absl::FunctionRef<void(const Duplicate&)> found) {
  ScanRequest request;
  request.dry_run = dry_run;
  const Scanned scanned = ScanLoop(loop, request, Stop(), found);
  EXPECT_EQ(scanned.status, absl::OkStatus());
  return scanned.totals;
}

class CacheScanTest : public ScanTest {};

TEST_P(CacheScanTest, LeavesThePageCacheAsItWas) {
  Make();
  ASSERT_FALSE(HasFatalFailure());
  std::mt19937_64 random(1);
  constexpr size_t kFiles = 40;
  const auto path = [&](const char* kind, size_t i) { return absl::StrCat(loop_->path(), "/", kind, i); };
  for (size_t i = 0; i < kFiles; ++i) {
    std::string bytes((i == 0 ? 6000 : 1 + i) * kBlock, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    std::ofstream(path("source", i), std::ios::binary) << bytes;
    std::ofstream(path("copy", i), std::ios::binary) << bytes;
  }
  Remount();
  const std::string hot = path("source", 7);
  EXPECT_EQ(Content(hot).size(), 8 * kBlock);
  EXPECT_EQ(Scan().ranges_failed, 0u);
  EXPECT_EQ(CachedPages(hot), 8u);
  size_t pages = 0;
  for (size_t i = 0; i < kFiles; ++i) {
    if (i != 7) pages += CachedPages(path("source", i));
    pages += CachedPages(path("copy", i));
  }
  // Pages that are in the hands of another CPU just then stay.
  EXPECT_LT(pages, 400u);
}

class LayoutScanTest : public ScanTest {};

// Checksums of each length; and data that lies on a disk twice, on two disks, or on one of several: the
// addresses of extents are the filesystem's own.
TEST_P(LayoutScanTest, AllThatIsDuplicateGoesFree) {
  Make();
  if (HasFatalFailure() || IsSkipped()) return;
  // More than goes into the first piece of a device that btrfs puts data into, some 200 MiB of 1 GiB.
  constexpr uint64_t kFiles = 40;
  constexpr uint64_t kLength = 700 * kBlock;
  constexpr uint64_t kPart = 300 * kBlock;
  constexpr uint64_t kDuplicate = kFiles * (kLength + kPart);
  for (uint64_t i = 0; i < kFiles; ++i) {
    const std::string bytes = testing::Bytes(i, kLength);
    std::ofstream(absl::StrCat(loop_->path(), "/file", i), std::ios::binary) << bytes;
    std::ofstream(absl::StrCat(loop_->path(), "/copy", i), std::ios::binary) << bytes;
    // In another place than in the file.
    std::ofstream(absl::StrCat(loop_->path(), "/part", i), std::ios::binary)
        << bytes.substr(100 * kBlock, kPart);
  }
  const auto before = LookAtAll();
  const Totals totals = Scan();
  EXPECT_EQ(totals.bytes_accepted, kDuplicate);
  EXPECT_EQ(totals.ranges_failed + totals.ranges_differ, 0u);
  EXPECT_NEAR(static_cast<double>(totals.bytes_won) / static_cast<double>(kDuplicate), 1, 0.02);
  EXPECT_EQ(Scan().bytes_accepted, 0u);
  Remount();
  EXPECT_TRUE(LookAtAll() == before);
}

// A scan of btrfs goes by the filesystem's tree: it opens by number what another mount covers.
TEST(CoveredScanTest, SharesWhatLiesBeneathAMount) {
  LoopFilesystem::Options options;
  options.type = "btrfs";
  const absl::StatusOr<std::unique_ptr<LoopFilesystem>> loop = LoopFilesystem::Make(options);
  ASSERT_TRUE(loop.ok()) << loop.status();
  const std::string covered = (*loop)->path() + "/d";
  std::string content(256 * kBlock, '\0');
  std::mt19937_64 random(1);
  for (char& c : content) c = static_cast<char>(random());
  ASSERT_TRUE(std::filesystem::create_directory(covered));
  std::ofstream(covered + "/beneath", std::ios::binary) << content;
  std::ofstream((*loop)->path() + "/open", std::ios::binary) << content;
  const Fd beneath(::open((covered + "/beneath").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd open(::open(((*loop)->path() + "/open").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::mount("none", covered.c_str(), "tmpfs", 0, nullptr), 0);
  const absl::Cleanup uncover = [&covered] { ::umount2(covered.c_str(), MNT_DETACH); };
  std::ofstream(covered + "/above", std::ios::binary) << content;
  std::vector<std::string> found;
  const Totals totals = ScanBtrfs(**loop, /*dry_run=*/false, [&](const Duplicate& duplicate) {
    found.push_back(duplicate.source_path);
    found.push_back(duplicate.destination_path);
  });
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<std::string>{"d/beneath", "open"}));
  EXPECT_EQ(totals.bytes_accepted, content.size());
  EXPECT_EQ(totals.ranges_failed + totals.ranges_differ + totals.files_failed, 0u);
  LinuxExtentOps ops;
  const auto one = ops.Extents(open.get(), 0, content.size(), 10, /*flush=*/true);
  const auto other = ops.Extents(beneath.get(), 0, content.size(), 10, /*flush=*/true);
  ASSERT_TRUE(one.ok() && other.ok()) << one.status() << other.status();
  ASSERT_FALSE(one->extents.empty() || other->extents.empty());
  EXPECT_EQ(one->extents[0].physical, other->extents[0].physical);
  EXPECT_TRUE(Content(covered + "/above") == content);
  ASSERT_EQ(::umount(covered.c_str()), 0);
  EXPECT_TRUE(Content(covered + "/beneath") == content);
  EXPECT_TRUE(Content((*loop)->path() + "/open") == content);
  EXPECT_FALSE(std::filesystem::exists(covered + "/above"));
}

// Extents behind one another, each a file of its own, of parts that are 4 MiB or what is told.
class LookBackTest : public ::testing::Test {
 protected:
  static constexpr size_t kPart = 4 << 20;
  static constexpr size_t kShort = 64 << 10;

  void SetUp() override {
    LoopFilesystem::Options options;
    options.type = "btrfs";
    absl::StatusOr<std::unique_ptr<LoopFilesystem>> made = LoopFilesystem::Make(options);
    ASSERT_TRUE(made.ok()) << made.status();
    loop_ = *std::move(made);
  }

  void TearDown() override {
    if (!request_.state_dir.empty()) std::filesystem::remove_all(request_.state_dir);
  }

  std::string Part(size_t size = kPart) { return testing::Bytes(++parts_, size); }

  void Write(const std::string& name, const std::string& bytes) {
    const std::string path = absl::StrCat(loop_->path(), "/", name);
    for (int ballast = 0; ballast < 50; ++ballast) {
      const uint64_t address = Address(path, bytes);
      if (address > behind_) {
        behind_ = address;
        contents_[path] = bytes;
        return;
      }
      // Free space before the last one was taken: something else is to fill it.
      std::filesystem::remove(path);
      ::sync();
      Address(absl::StrCat(path, ".ballast", ballast), Part(bytes.size()));
    }
    FAIL() << name << " is not put behind the others";
  }

  // A whole between its halves.
  void WriteHalves() {
    const std::string one = Part();
    const std::string two = Part();
    Write("first", one);
    Write("whole", one + two);
    Write("second", two);
  }

  // The short one lies wholly in the long one, whose other part lies in a third.
  void WriteALongAndAShortOne() {
    const std::string begin = Part();
    const std::string end = Part(2 * kPart);
    Write("long", begin + end);
    Write("other", Part(4 * kPart) + begin);
    Write("short", end);
  }

  // 0: not in one piece.
  uint64_t Address(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto list = ops_.Extents(fd.get(), 0, bytes.size(), 10, /*flush=*/true);
    EXPECT_TRUE(list.ok()) << list.status();
    return list.ok() && list->extents.size() == 1 ? list->extents[0].physical : 0;
  }

  // A dry run and a run share so much, at these places ("destination source"), and all of it goes free; so
  // much is found to be unprofitable.
  void ExpectShared(uint64_t bytes, const std::set<std::string>& places, uint64_t moved = 0,
                    uint64_t unprofitable = 0) {
    ::sync();
    for (const bool dry_run : {true, false}) {
      std::set<std::string> told;
      request_.dry_run = dry_run;
      const Scanned scanned = ScanLoop(*loop_, request_, Stop(), [&](const Duplicate& duplicate) {
        told.insert(absl::StrCat(duplicate.destination_path, " ", duplicate.source_path));
      });
      EXPECT_EQ(scanned.status, absl::OkStatus());
      const Totals& totals = scanned.totals;
      EXPECT_EQ(told, places);
      EXPECT_EQ(totals.duplicate_bytes, bytes);
      EXPECT_EQ(totals.bytes_freeable, bytes);
      EXPECT_EQ(totals.bytes_moved, moved);
      EXPECT_EQ(totals.bytes_unprofitable, unprofitable);
      EXPECT_EQ(totals.bytes_accepted, dry_run ? 0 : bytes);
    }
    for (const auto& [path, bytes_there] : contents_) EXPECT_TRUE(Content(path) == bytes_there) << path;
  }

  void MakeStateDirectory() {
    request_.state_dir = absl::StrCat(::testing::TempDir(), "/look_back.XXXXXX");
    ASSERT_NE(::mkdtemp(&request_.state_dir[0]), nullptr);
  }

  // Both halves share with the whole, one after the other: the scan ends after the first one.
  void ExpectSharedInSpiteOfACancel() {
    ::sync();
    uint64_t accepted = 0;
    for (const absl::StatusCode expected : {absl::StatusCode::kCancelled, absl::StatusCode::kOk}) {
      Stop stop;
      const Scanned scanned = ScanLoop(*loop_, request_, stop, [&](const Duplicate& duplicate) {
        EXPECT_EQ(duplicate.source_path, "whole");
        if (expected == absl::StatusCode::kCancelled) stop.Request();
      });
      EXPECT_EQ(scanned.status.code(), expected) << scanned.status;
      accepted += scanned.totals.bytes_accepted;
    }
    EXPECT_EQ(accepted, 2 * kPart);
  }

  ScanRequest request_;
  uint64_t parts_ = 0;
  LinuxExtentOps ops_;
  std::unique_ptr<LoopFilesystem> loop_;
  uint64_t behind_ = 0;
  std::map<std::string, std::string> contents_;
};

// When the first is looked at nothing else is known, and when the whole is, half of it would have to be
// moved.
TEST_F(LookBackTest, ExtentsBeforeOneThatStaysGoFreeToo) {
  WriteHalves();
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(2 * kPart, {"first whole", "second whole"});
}

// Neither of the others is covered enough; the one between them is, by both.
TEST_F(LookBackTest, OneBetweenOthersThatStayGoesFree) {
  const std::string one = Part();
  const std::string two = Part();
  Write("before", Part(4 * kPart) + one);
  Write("between", one + two);
  Write("behind", two + Part(4 * kPart));
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(2 * kPart, {"between before", "between behind"});
}

// Were the first one given up, a part of the second would have to be moved.
TEST_F(LookBackTest, TheOneOfWhichMoreGoesFreeIsLookedAtFirst) {
  const std::string one = Part();
  const std::string rest = Part(4 * kPart);
  Write("first", one);
  Write("second", one + rest);
  Write("third", rest + Part(16 * kPart));
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(5 * kPart, {"second first", "second third"});
}

// Were the short one given up at once, the long one would stay for the part that the first holds too.
TEST_F(LookBackTest, ALongOneGoesFreeRatherThanTheShortOneWithinIt) {
  WriteALongAndAShortOne();
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(3 * kPart, {"long other", "long short"});
}

// The short one must stay until the long one shares with it. Then it goes free, but for a part that is moved.
TEST_F(LookBackTest, WhatOthersShareWithIsLookedAtAfterThem) {
  const std::string begin = Part();
  const std::string middle = Part(4 * kPart);
  const std::string end = Part();
  Write("long", begin + middle + end);
  Write("other", Part(4 * kPart) + begin);
  Write("short", middle + end);
  Write("last", middle + Part(16 * kPart));
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(10 * kPart, {"long other", "long last", "long short", "short last"}, /*moved=*/kPart);
}

// It waits for nothing: the long one has too much that is its own.
TEST_F(LookBackTest, AShortOneGoesFreeAfterAllIfTheLongOneStays) {
  const std::string begin = Part();
  const std::string middle = Part(2 * kPart);
  Write("long", begin + middle + Part(2 * kPart));
  Write("other", Part(4 * kPart) + begin);
  Write("short", middle);
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(2 * kPart, {"short long"}, /*moved=*/0, /*unprofitable=*/kPart);
}

// Once the whole one is given up, the others hold a part twice.
TEST_F(LookBackTest, AWholeOneStaysRatherThanOthersThatOverlap) {
  const std::string one = Part();
  const std::string two = Part(2 * kPart);
  const std::string three = Part();
  const std::string four = Part(2 * kPart);
  Write("begin", one + two);
  Write("middle", two.substr(kPart) + three);
  Write("end", two + three + four);
  Write("whole", one + two + three + four);
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(10 * kPart, {"begin whole", "middle whole", "end whole"});
}

TEST_F(LookBackTest, AShortOneGoesFreeToo) {
  const std::string begin = Part(kShort);
  Write("short", begin);
  Write("long", begin + Part());
  ASSERT_FALSE(HasFatalFailure());
  ExpectShared(kShort, {"short long"});
}

// Each of them would have to share anew.
TEST_F(LookBackTest, AShortOneThatManyHaveStays) {
  const std::string begin = Part(kShort);
  Write("short", begin);
  Write("long", begin + Part());
  ASSERT_FALSE(HasFatalFailure());
  const std::string path = loop_->path() + "/short";
  for (int i = 0; i < 40; ++i)
    ASSERT_EQ(RunCommand({"cp", "--reflink=always", path, absl::StrCat(path, i)}), absl::OkStatus());
  ExpectShared(0, {}, /*moved=*/0, /*unprofitable=*/kShort);
}

// It would be no source for the long one, which stays.
TEST_F(LookBackTest, WhatLiesOutsideTheScanDoesNotWait) {
  WriteALongAndAShortOne();
  ASSERT_FALSE(HasFatalFailure());
  request_.exclude = {"short"};
  ExpectShared(0, {}, /*moved=*/0, /*unprofitable=*/kPart);
}

// What was cut short before it was looked back for is looked at by the next scan, which goes on from there.
TEST_F(LookBackTest, IsTakenUpAgainAfterACancel) {
  MakeStateDirectory();
  WriteHalves();
  ASSERT_FALSE(HasFatalFailure());
  ExpectSharedInSpiteOfACancel();
}

// The next scan goes through what is newer than the last whole one.
TEST_F(LookBackTest, WhatIsOlderIsTakenUpAgainTooAfterACancel) {
  MakeStateDirectory();
  const std::string one = Part();
  const std::string two = Part();
  Write("first", one);
  ASSERT_FALSE(HasFatalFailure());
  ::sync();
  EXPECT_EQ(ScanLoop(*loop_, request_, Stop(), [](const Duplicate&) {}).status, absl::OkStatus());
  Write("whole", one + two);
  Write("second", two);
  ASSERT_FALSE(HasFatalFailure());
  ExpectSharedInSpiteOfACancel();
}

// All of it, however little that wins. With zlib and lzo, data that begins alike does so compressed, too.
const std::vector<std::string> kCompress = {"compress-force=zstd", "compress-force=zlib",
                                            "compress-force=lzo"};

INSTANTIATE_TEST_SUITE_P(Filesystems, CacheScanTest,
                         ::testing::Values(Config{"btrfs", "btrfs"},
                                           Config{"nodatasum", "btrfs", {}, {"nodatasum"}},
                                           Config{"xfs", "xfs"}),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Filesystems, LayoutScanTest,
    ::testing::Values(Config{"crc32c", "btrfs", {"--checksum", "crc32c"}},
                      Config{"xxhash", "btrfs", {"--checksum", "xxhash"}, {""}, false, 1, true},
                      Config{"sha256", "btrfs", {"--checksum", "sha256"}, {""}, false, 1, true},
                      Config{"blake2", "btrfs", {"--checksum", "blake2"}, {""}, false, 1, true},
                      Config{"dup", "btrfs", {"--data", "dup"}},
                      Config{"two_devices", "btrfs", {"--data", "single"}, {""}, false, 2},
                      Config{"raid1", "btrfs", {"--data", "raid1", "--metadata", "raid1"}, {""}, false, 2}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(Filesystems, ScanTest,
                         ::testing::Values(Config{"btrfs", "btrfs"},
                                           Config{"xxhash", "btrfs", {"--checksum", "xxhash"}},
                                           Config{"compressed", "btrfs", {}, kCompress},
                                           Config{"snapshots", "btrfs", {}, {""}, true},
                                           Config{"compressed_snapshots", "btrfs", {}, kCompress, true},
                                           Config{"nodatasum", "btrfs", {}, {"nodatasum"}},
                                           Config{"xfs", "xfs"}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cowherd
