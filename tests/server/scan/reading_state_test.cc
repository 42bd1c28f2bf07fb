#include "server/scan/reading_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/scan/run_finder.h"

namespace cowherd {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kDevice = 1;
constexpr uint32_t kBlock = 4096;

FileFacts FactsOf(uint64_t inode) {
  FileFacts facts;
  facts.device = kDevice;
  facts.inode = inode;
  facts.size = kBlock;
  return facts;
}

class ReadingStateTest : public ::testing::Test {
 protected:
  // What one scan has of the state.
  struct Scan {
    explicit Scan(const std::string& directory)
        : file(ScanStateFile::Open(directory, "uuid", "key").value_or(nullptr)),
          state(file.get(), std::chrono::hours(1), 2 << 20, kBlock, kDevice, anchors, table) {
      EXPECT_NE(file, nullptr);
      state.Load();
    }

    void LookAt(uint64_t inode) {
      state.BeforeReading(FactsOf(inode));
      table.Add(table.Place(kBlock).value(), absl::StrCat(inode), {kDevice, inode}, kBlock, inode << 8);
      anchors.Put(inode * 0x9e3779b97f4a7c15, inode);
      state.Done(absl::StrCat(inode), FactsOf(inode));
    }
    bool Met(uint64_t inode) { return state.Met(absl::StrCat(inode), FactsOf(inode)); }

    AnchorTable anchors{1 << 20};
    FileTable table{1 << 20, kBlock};
    std::unique_ptr<ScanStateFile> file;
    ReadingState state;
  };

  ReadingStateTest() {
    std::string name = absl::StrCat(::testing::TempDir(), "/reading_state.XXXXXX");
    directory_ = ::mkdtemp(&name[0]);
  }
  ~ReadingStateTest() override { fs::remove_all(directory_); }

  // A whole scan, of file 7 alone.
  void ScanOneFile() const {
    Scan scan(directory_);
    scan.LookAt(7);
    scan.state.Save(/*complete=*/true);
  }

  fs::path SavedFile() const {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory_)) {
      if (entry.path().extension() == ".state") return entry.path();
    }
    return {};
  }

  std::string directory_;
};

TEST_F(ReadingStateTest, TheNextScanHasFilesAndIndex) {
  ScanOneFile();
  Scan next(directory_);
  EXPECT_TRUE(next.Met(7));
  EXPECT_FALSE(next.Met(8));
  next.LookAt(8);
  EXPECT_EQ(next.table.files(), 2U);
  EXPECT_EQ(next.anchors.entries(), 2U);
}

// Nothing is read then, and the index is kept as it was.
TEST_F(ReadingStateTest, FilesThatAreOnlySkippedLeaveTheIndex) {
  ScanOneFile();
  {
    Scan second(directory_);
    EXPECT_TRUE(second.Met(7));
    second.state.Done("small", FactsOf(8));
    second.state.Save(/*complete=*/true);
  }
  Scan third(directory_);
  EXPECT_TRUE(third.Met(7));
  third.LookAt(9);
  EXPECT_EQ(third.table.files(), 2U);
  EXPECT_EQ(third.anchors.entries(), 2U);
}

// Sizes add up, also those of files that are gone.
TEST_F(ReadingStateTest, AnIndexThatIsShortOfAddressesIsBegunAnew) {
  {
    Scan first(directory_);
    first.LookAt(7);
    ASSERT_TRUE(first.table.Place(kMaxAddress / 2 - kBlock));
    first.state.Save(/*complete=*/true);
  }
  {
    Scan second(directory_);
    EXPECT_TRUE(second.Met(7));
    second.LookAt(8);
    EXPECT_GT(second.table.end(), kMaxAddress / 2);
    second.state.Save(/*complete=*/true);
  }
  Scan third(directory_);
  EXPECT_FALSE(third.Met(7));
  third.LookAt(7);
  EXPECT_EQ(third.table.end(), kBlock);
  EXPECT_EQ(third.anchors.entries(), 1U);
}

// Each scan meets the same files but for many that are new and gone with the next. The index holds some
// 50,000 blocks, so it has to choose.
TEST_F(ReadingStateTest, AnIndexOfWhatIsGoneIsBegunAnew) {
  constexpr uint64_t kStay = 60000;
  constexpr uint64_t kCome = 20000;
  const auto scan = [&](uint64_t number) {
    Scan scan(directory_);
    const bool anew = !scan.Met(1);
    for (uint64_t inode = 1; inode <= kStay; ++inode) {
      if (!scan.Met(inode)) scan.LookAt(inode);
    }
    for (uint64_t i = 0; i < kCome; ++i) scan.LookAt(kStay + number * kCome + i);
    scan.state.Save(/*complete=*/true);
    return anew;
  };
  std::string anew;
  for (uint64_t number = 1; number <= 12; ++number) anew += scan(number) ? 'n' : '.';
  // Twice 80,000 are passed with the sixth, and again.
  EXPECT_THAT(anew, ::testing::AnyOf("n.....n.....", "n....n....n.", "n.....n....n", "n....n.....n")) << anew;
}

// The same with the table, which holds fewer.
TEST_F(ReadingStateTest, AScanThatWasStoppedDoesNotSayHowMuchThereIs) {
  constexpr uint64_t kFiles = 120000;
  {
    Scan first(directory_);
    for (uint64_t inode = 1; inode <= kFiles; ++inode) first.LookAt(inode);
    first.state.Save(/*complete=*/true);
  }
  {
    Scan stopped(directory_);
    EXPECT_TRUE(stopped.Met(1));
    stopped.LookAt(kFiles + 1);
    stopped.state.Save(/*complete=*/false);
  }
  EXPECT_TRUE(Scan(directory_).Met(1));
}

TEST_F(ReadingStateTest, NoFileIsPassedOverWhoseIndexCannotBeLoaded) {
  ScanOneFile();
  {
    Scan second(directory_);
    EXPECT_TRUE(second.Met(7));
    fs::resize_file(SavedFile(), fs::file_size(SavedFile()) - 1);
    second.LookAt(8);
    EXPECT_FALSE(second.Met(7));
    EXPECT_EQ(second.table.files(), 1U);
    EXPECT_EQ(second.anchors.entries(), 1U);
    second.state.Save(/*complete=*/false);
  }
  Scan third(directory_);
  EXPECT_FALSE(third.Met(7));
  EXPECT_TRUE(third.Met(8));
}

}  // namespace
}  // namespace cowherd
