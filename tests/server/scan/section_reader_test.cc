#include "server/scan/section_reader.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/fs/fake_filesystem.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_data.h"

namespace cowherd {
namespace {

using testing::Blocks;
using testing::HasErrno;
using testing::IsOk;
using testing::kBlock;

class SectionReaderTest : public ::testing::Test {
 protected:
  std::unique_ptr<Section> Make(const std::string& relative, size_t blocks) {
    auto section = std::make_unique<Section>();
    section->file = std::make_shared<ScannedFile>();
    section->file->path = relative;
    OpenFile open;
    if (!relative.empty()) open.fd = testing::OpenFd(fs_, relative);
    section->file->open = std::make_shared<const OpenFile>(std::move(open));
    section->blocks = blocks;
    FileExtent extent;
    extent.length = blocks * kBlock;
    section->extents = {extent};
    return section;
  }

  FakeFilesystem fs_;
};

TEST_F(SectionReaderTest, SectionsComeBackInOrder) {
  SectionReader reader(kBlock);
  for (int i = 0; i < 100; ++i) {
    fs_.AddFile(absl::StrCat("/data/", i), Blocks(i, 1 + i % 7 * 40));
    reader.Push(Make(absl::StrCat(i), 1 + i % 7 * 40));
  }
  for (int i = 0; i < 100; ++i) {
    const std::unique_ptr<Section> section = reader.Pop();
    ASSERT_NE(section, nullptr);
    EXPECT_EQ(section->file->path, absl::StrCat(i));
    EXPECT_THAT(section->status, IsOk());
    EXPECT_EQ(section->fingerprints.size(), section->blocks);
    EXPECT_EQ(section->bytes_read, section->blocks * kBlock);
  }
  EXPECT_EQ(reader.Pop(), nullptr);
}

TEST_F(SectionReaderTest, AnErrorIsTheSectionsOwn) {
  SectionReader reader(kBlock);
  fs_.AddFile("/data/a", Blocks(1, 1));
  reader.Push(Make("", 1));
  reader.Push(Make("a", 1));
  EXPECT_THAT(reader.Pop()->status, HasErrno(EBADF));
  EXPECT_THAT(reader.Pop()->status, IsOk());
}

TEST_F(SectionReaderTest, EndsWithSectionsOnTheWay) {
  fs_.AddFile("/data/a", Blocks(1, 100));
  SectionReader reader(kBlock);
  for (int i = 0; i < 50; ++i) reader.Push(Make("a", 100));
}

}  // namespace
}  // namespace cowherd
