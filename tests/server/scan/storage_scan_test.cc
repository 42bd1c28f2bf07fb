#include "server/scan/storage_scan.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/fs/fake_filesystem.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::HasReason;
using testing::IsOk;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kExtentBytes = 64 * kMiB;  // one window of a scan

// Storage as a test says it is: unique extents, some of them without checksums, each one a file's or
// nobody's.
class ScriptedMap final : public StorageMap {
 public:
  struct Extent {
    uint64_t generation = 0;
    bool checksums = true;
    bool written = true;
  };

  absl::StatusOr<StorageExtents> Extents(uint64_t from, size_t max, uint64_t since) override {
    StorageExtents found;
    uint64_t passed_over = 0;
    for (auto e = extents.lower_bound(from); e != extents.end(); ++e) {
      if (e->second.generation > since) {
        found.extents.push_back({e->first, extent_bytes});
      } else {
        ++passed_over;
      }
      if (found.extents.size() < max && passed_over < most_passed_over) continue;
      found.next = e->first + 1;
      break;
    }
    return found;
  }
  absl::StatusOr<uint64_t> CommittedGeneration() override { return generation; }
  FileKey root() const override { return {5, 256}; }
  absl::StatusOr<std::vector<uint64_t>> Checksums(uint64_t address, size_t count) override {
    std::vector<uint64_t> checksums(count);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t block = address + i * block_size();
      const auto extent = std::prev(extents.upper_bound(block));
      if (extent->second.checksums) checksums[i] = ContentAt(block) * 0x9e3779b97f4a7c15 | 1;
    }
    if (on_checksums) on_checksums(address);
    return checksums;
  }
  absl::StatusOr<std::vector<Reference>> References(const StorageExtent& extent) override {
    asked_for_references.push_back(extent.address);
    if (on_references) on_references(extent.address);
    if (!has_files) return std::vector<Reference>();
    Reference reference;
    reference.file = {5, extent.address};
    reference.length = extent.length;
    reference.unwritten = !extents.at(extent.address).written;
    reference.encoded = encoded;
    return std::vector<Reference>{reference};
  }
  absl::StatusOr<std::string> PathOf(const FileKey& file, Wanted wanted) override {
    std::string path = absl::StrCat(file.inode);
    if (!wanted(path)) return absl::NotFoundError("not wanted");
    return path;
  }
  absl::StatusOr<InodeFacts> InodeOf(const FileKey&) override { return InodeFacts{extent_bytes, 1}; }
  absl::StatusOr<uint64_t> ExtentsOf(const FileKey&, uint64_t) override { return 0; }
  void Forget() override {}
  uint32_t block_size() const override { return 4096; }
  unsigned checksum_bits() const override { return 64; }
  bool may_compress() const override { return false; }

  uint64_t ContentAt(uint64_t address) const {
    for (const auto& [copy, original] : copies) {
      if (copy <= address && address < copy + original.length) return original.address + (address - copy);
    }
    return address;
  }

  std::map<uint64_t, Extent> extents;
  uint64_t extent_bytes = kExtentBytes;
  uint64_t most_passed_over = UINT64_MAX;
  bool has_files = false;
  bool encoded = false;
  std::map<uint64_t, StorageExtent> copies;  // where they are, and of what
  uint64_t generation = 1;
  std::function<void(uint64_t address)> on_checksums;
  std::function<void(uint64_t address)> on_references;
  std::vector<uint64_t> asked_for_references;
};

class StorageScanTest : public ::testing::Test {
 protected:
  StorageScanTest() {
    std::string name = absl::StrCat(::testing::TempDir(), "/storage_scan.XXXXXX");
    directory_ = ::mkdtemp(&name[0]);
    fs_.AddDirectory("/data");
    for (uint64_t i = 0; i < 8; ++i) map_.extents[At(i)] = {1, true};
  }
  ~StorageScanTest() override { std::filesystem::remove_all(directory_); }

  static uint64_t At(uint64_t index) { return (index + 1) * kExtentBytes; }

  // Whole extents that were looked at.
  uint64_t Scan() {
    EXPECT_THAT(Run(), IsOk());
    return looked_at_;
  }

  absl::Status Run() {
    const std::unique_ptr<FileTree> tree = testing::OpenData(fs_);
    const auto state = ScanStateFile::Open(directory_, "uuid", "key");
    EXPECT_THAT(state, IsOk());
    SharedTotals totals;
    totals.Update([this](Totals& t) { t.bytes_found = map_.extents.size() * kExtentBytes; });
    Pace pace(0, nullptr, totals);
    SpaceWon won(fs_, tree->root_fd(), totals);
    const Stop& stop = *stop_;
    absl::StatusOr<UncheckedFiles> unchecked = ScanStorage(
        fs_, *tree, map_, request_, [](const std::string&) { return true; }, 1 << 20, state->get(), pace,
        stop, totals, won, [](const Duplicate&) {});
    looked_at_ = totals.Get().bytes_scanned / map_.extent_bytes;
    freeable_ = totals.Get().bytes_freeable;
    skipped_ = totals.Get().files_skipped;
    RETURN_IF_ERROR(unchecked.status());
    unchecked_ = *std::move(unchecked);
    return absl::OkStatus();
  }

  std::string directory_;
  FakeFilesystem fs_;
  ScriptedMap map_;
  ScanRequest request_;
  std::unique_ptr<Stop> stop_ = std::make_unique<Stop>();
  uint64_t looked_at_ = 0;
  uint64_t freeable_ = 0;
  uint64_t skipped_ = 0;
  UncheckedFiles unchecked_;
};

TEST_F(StorageScanTest, OnlyWhatIsNewerIsLookedAt) {
  EXPECT_EQ(Scan(), 8U);
  EXPECT_EQ(Scan(), 0U);
  map_.generation = 4;
  EXPECT_EQ(Scan(), 0U);
  map_.extents[At(3)].generation = 3;  // goes free and is written to again
  map_.extents[At(20)].generation = 4;
  EXPECT_EQ(Scan(), 2U);
  EXPECT_EQ(Scan(), 0U);
  request_.full_scan = true;
  EXPECT_EQ(Scan(), 9U);
}

TEST_F(StorageScanTest, WhatIsWrittenMeanwhileIsLookedAtBehindToo) {
  map_.on_checksums = [this](uint64_t address) {
    if (address != At(5)) return;
    map_.on_checksums = nullptr;
    map_.generation = 2;
    map_.extents[At(2)].generation = 2;
  };
  EXPECT_EQ(Scan(), 9U);
  EXPECT_EQ(Scan(), 0U);
}

// What came after the last look at the generation is for the next scan.
TEST_F(StorageScanTest, AFilesystemThatIsAlwaysWrittenToDoesNotKeepAScanForEver) {
  map_.on_checksums = [this](uint64_t) { map_.extents[At(2)].generation = ++map_.generation; };
  const uint64_t looked_at = Scan();
  EXPECT_GT(looked_at, 8U);
  EXPECT_LT(looked_at, 16U);
  map_.on_checksums = nullptr;
  EXPECT_EQ(Scan(), 1U);
  EXPECT_EQ(Scan(), 0U);
}

// Old extents are gone with each scan, and as many new ones there. The index holds 49152 blocks, three
// extents of 16384 blocks each, and has to choose.
TEST_F(StorageScanTest, AnIndexOfWhatIsGoneIsBegunAnew) {
  std::string looked_at;
  for (uint64_t scan = 0; scan < 9; ++scan) {
    absl::StrAppend(&looked_at, Scan(), " ");
    map_.generation = 2 + scan;
    for (uint64_t i = 0; i < 2; ++i) {
      map_.extents.erase(At(2 * scan + i));
      map_.extents[At(8 + 2 * scan + i)] = {map_.generation, true};
    }
  }
  // 8 + 2 * 5 are more than 2 * 8.
  EXPECT_EQ(looked_at, "8 2 2 2 2 2 8 2 2 ");
}

TEST_F(StorageScanTest, ACancelledScanGoesOnWhereItWas) {
  map_.on_checksums = [this](uint64_t address) {
    if (address == At(5)) stop_->Request();
  };
  EXPECT_THAT(Run(), HasReason("CANCELLED"));
  EXPECT_EQ(looked_at_, 5U);
  stop_ = std::make_unique<Stop>();
  map_.on_checksums = nullptr;
  // Behind, where the scan was already.
  map_.generation = 2;
  map_.extents[At(1)].generation = 2;
  EXPECT_EQ(Scan(), 3U + 1U);
  EXPECT_EQ(Scan(), 0U);
}

// The filesystem looks for new extents among so many old ones that it takes several calls.
TEST_F(StorageScanTest, AScanGoesOnWhereNothingNewWasFoundForLong) {
  EXPECT_EQ(Scan(), 8U);
  map_.most_passed_over = 2;
  map_.generation = 2;
  map_.extents[At(6)].generation = 2;
  EXPECT_EQ(Scan(), 1U);
  EXPECT_EQ(Scan(), 0U);
}

// Its sources are many, and each takes the disk.
TEST_F(StorageScanTest, AScanThatIsStoppedWithinAnExtentFindsItsDuplicatesLater) {
  constexpr uint64_t kPart = 1 << 20;
  map_.has_files = request_.dry_run = true;
  map_.extents.clear();
  map_.extent_bytes = 16 * kPart;
  const auto at = [this](uint64_t extent) { return extent * map_.extent_bytes; };
  for (uint64_t i = 1; i <= 16; ++i) map_.extents[at(i)] = {1, true};
  for (uint64_t i = 1; i <= 15; ++i) map_.copies[at(16) + i * kPart] = {at(i), kPart};
  map_.on_references = [&](uint64_t address) {
    if (address == at(3)) stop_->Request();
  };
  EXPECT_THAT(Run(), HasReason("CANCELLED"));
  EXPECT_EQ(map_.asked_for_references, (std::vector<uint64_t>{at(16), at(1), at(2), at(3)}));
  stop_ = std::make_unique<Stop>();
  map_.on_references = nullptr;
  Scan();
  EXPECT_EQ(freeable_, 15 * kPart);
}

TEST_F(StorageScanTest, AKilledScanGoesOnFromItsCheckpoint) {
  request_.checkpoint_interval = std::chrono::milliseconds(0);
  const std::string kept = directory_ + ".killed";
  map_.on_checksums = [&](uint64_t address) {
    // As the folder would be after kill -9.
    if (address == At(6)) std::filesystem::copy(directory_, kept, std::filesystem::copy_options::recursive);
  };
  EXPECT_EQ(Scan(), 8U);
  map_.on_checksums = nullptr;
  std::filesystem::remove_all(directory_);
  std::filesystem::rename(kept, directory_);
  const uint64_t rest = Scan();
  EXPECT_GE(rest, 2U);
  EXPECT_LT(rest, 8U);
  EXPECT_EQ(Scan(), 0U);
}

TEST_F(StorageScanTest, AStateOfALaterTimeIsNotTrusted) {
  map_.generation = 10;
  EXPECT_EQ(Scan(), 8U);
  map_.generation = 9;
  EXPECT_EQ(Scan(), 8U);
  EXPECT_EQ(Scan(), 0U);
}

// Its body is needed only where there is something new.
TEST_F(StorageScanTest, AStateWithTornAnchorsIsReplacedByAFullScan) {
  EXPECT_EQ(Scan(), 8U);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_)) {
    if (entry.path().extension() != ".state") continue;
    std::FILE* const file = std::fopen(entry.path().c_str(), "r+");
    ASSERT_NE(file, nullptr);
    std::fseek(file, -1, SEEK_END);
    std::fputc('x', file);
    std::fclose(file);
  }
  EXPECT_EQ(Scan(), 0U);
  map_.generation = 2;
  map_.extents[At(20)].generation = 2;
  EXPECT_EQ(Scan(), 9U);
  EXPECT_EQ(Scan(), 0U);
}

TEST_F(StorageScanTest, ExtentsWithoutChecksumsAreLookedAtUntilTheyHaveSome) {
  map_.has_files = true;
  map_.extents[At(3)].checksums = false;
  EXPECT_EQ(Scan(), 7U);
  map_.asked_for_references.clear();
  EXPECT_EQ(Scan(), 0U);
  // Files that use it may have to be read.
  EXPECT_EQ(map_.asked_for_references, std::vector<uint64_t>{At(3)});
  map_.extents[At(3)].checksums = true;
  map_.asked_for_references.clear();
  EXPECT_EQ(Scan(), 1U);
  EXPECT_EQ(Scan(), 0U);
  EXPECT_TRUE(map_.asked_for_references.empty());
}

TEST_F(StorageScanTest, WhoHasReservedAnExtentIsAskedAgainOnceSomethingWasWritten) {
  map_.has_files = true;
  map_.extents[At(3)] = {1, false, false};
  EXPECT_EQ(Scan(), 7U);
  EXPECT_TRUE(unchecked_.files.empty());
  map_.asked_for_references.clear();
  EXPECT_EQ(Scan(), 0U);
  EXPECT_TRUE(map_.asked_for_references.empty());
  // A file without checksums writes to it.
  map_.extents[At(3)].written = true;
  ++map_.generation;
  EXPECT_EQ(Scan(), 0U);
  EXPECT_EQ(unchecked_.files, std::vector<FileKey>({{5, At(3)}}));
  EXPECT_EQ(Scan(), 0U);
  EXPECT_EQ(unchecked_.files, std::vector<FileKey>({{5, At(3)}}));
}

TEST_F(StorageScanTest, ReservedStorageThatIsWrittenToMeanwhileIsFound) {
  map_.has_files = true;
  map_.extents[At(3)] = {1, false, false};
  map_.on_checksums = [this](uint64_t address) {
    if (address != At(5)) return;
    map_.extents[At(3)].written = true;
    map_.generation = 2;
  };
  EXPECT_EQ(Scan(), 7U);
  EXPECT_EQ(unchecked_.files, std::vector<FileKey>({{5, At(3)}}));
}

// As zlib and lzo make them of files that begin alike.
TEST_F(StorageScanTest, CompressedCopiesOfExtentsThatBeginAlikeAreFound) {
  constexpr uint64_t kBegin = 8 * 4096;
  map_.has_files = map_.encoded = request_.dry_run = request_.full_scan = true;
  map_.extents.clear();
  map_.extent_bytes = 2 * kBegin;
  for (uint64_t i = 1; i <= 4; ++i) map_.extents[i * map_.extent_bytes] = {1, true};
  const auto at = [this](uint64_t extent) { return extent * map_.extent_bytes; };
  map_.copies = {{at(2), {at(1), kBegin}}, {at(3), {at(1), kBegin}}, {at(4), {at(1), kBegin}}};
  Scan();
  EXPECT_EQ(freeable_, 0U);
  map_.copies[at(4) + kBegin] = {at(2) + kBegin, kBegin};
  Scan();
  EXPECT_EQ(freeable_, map_.extent_bytes);
}

// 65,536 are remembered with this budget, and as many extents that have to be looked at again.
TEST_F(StorageScanTest, WhatIsTooMuchWithoutChecksumsIsCountedAndLeftToLaterScans) {
  constexpr uint64_t kFiles = 70000;
  constexpr uint64_t kMost = 65536;
  map_.extents.clear();
  map_.extent_bytes = map_.block_size();
  map_.has_files = true;
  for (uint64_t i = 1; i <= kFiles; ++i) map_.extents[i * map_.extent_bytes] = {1, false};
  map_.extents[(kFiles + 1) * map_.extent_bytes] = {1, true};
  std::set<FileKey> all;
  for (int scan = 0; scan < 2; ++scan) {
    // The second one does not believe that all was looked at.
    EXPECT_EQ(Scan(), 1U);
    EXPECT_EQ(unchecked_.files.size(), kMost);
    EXPECT_FALSE(unchecked_.all);
    EXPECT_EQ(skipped_, kFiles - kMost);
    all.insert(unchecked_.files.begin(), unchecked_.files.end());
  }
  // It looks at others.
  EXPECT_GT(all.size(), kMost);
  map_.extents.erase(map_.extents.begin(), map_.extents.find((kFiles - kMost + 1) * map_.extent_bytes));
  EXPECT_EQ(Scan(), 1U);
  EXPECT_EQ(Scan(), 0U);
  EXPECT_EQ(unchecked_.files.size(), kMost);
  EXPECT_TRUE(unchecked_.all);
  EXPECT_EQ(skipped_, 0U);
}

}  // namespace
}  // namespace cowherd
