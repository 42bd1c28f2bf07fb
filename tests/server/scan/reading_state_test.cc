#include "server/scan/reading_state.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

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
          state(file.get(), std::chrono::hours(1), 1 << 10, kDevice, anchors, table) {
      EXPECT_NE(file, nullptr);
      state.Load();
    }

    void LookAt(uint64_t inode) {
      state.BeforeReading(FactsOf(inode));
      table.Add(absl::StrCat(inode), {kDevice, inode}, kBlock, inode);
      anchors.Put(inode, inode);
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

  fs::path SavedFile() const {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory_)) {
      if (entry.path().extension() == ".state") return entry.path();
    }
    return {};
  }

  std::string directory_;
};

TEST_F(ReadingStateTest, TheNextScanHasFilesAndIndex) {
  {
    Scan first(directory_);
    first.LookAt(7);
    first.state.Save(/*complete=*/true);
  }
  Scan next(directory_);
  EXPECT_TRUE(next.Met(7));
  EXPECT_FALSE(next.Met(8));
  next.LookAt(8);
  EXPECT_EQ(next.table.files(), 2U);
  EXPECT_EQ(next.anchors.entries(), 2U);
}

TEST_F(ReadingStateTest, NoFileIsPassedOverWhoseIndexCannotBeLoaded) {
  {
    Scan first(directory_);
    first.LookAt(7);
    first.state.Save(/*complete=*/true);
  }
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
