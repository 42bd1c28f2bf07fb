#include "server/fs/linux_file_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>

#include "tests/server/fs/directory_under_test.h"
#include "tests/server/fs/file_tree_conformance.h"

namespace cowherd {
namespace {

std::unique_ptr<DirectoryUnderTest> NewDirectory() {
  return std::make_unique<DirectoryUnderTest>(testing::TempDir(), false);
}

const FilesystemKind kLinux = {"linux", [] { return NewDirectory(); }};
INSTANTIATE_TEST_SUITE_P(Linux, FileTreeConformance, testing::Values(kLinux));

TEST(LinuxFileTree, NamesAreBytes) {
  const auto directory = NewDirectory();
  const std::string name = "\xff\xfe caf\xe9 \n\x01";
  directory->AddFile(name, "x");
  const auto tree = *directory->trees().OpenRoot(directory->root());
  const std::vector<DirEntry> entries = *tree->List("", Stop());
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].name, name);
  EXPECT_TRUE(tree->Open(name, false).ok());
  // The message of a refusal is plain text all the same.
  for (const char c : tree->Open(name + "\xff", false).status().ToString()) EXPECT_TRUE(c >= ' ' && c < 127);
}

TEST(LinuxFileTree, MagicLinksAreRefused) {
  const auto directory = NewDirectory();
  directory->AddFile("file", "x");
  const auto tree = *directory->trees().OpenRoot({"proc", "/proc/self", "/proc/self"});
  EXPECT_EQ(ErrnoOf(tree->Open("cwd/file", false).status()), ELOOP);
  EXPECT_EQ(ErrnoOf(tree->Open("exe", false).status()), ELOOP);
}

TEST(LinuxFileTree, ARootMayBeASymbolicLink) {
  const auto directory = NewDirectory();
  directory->AddFile("real/file", "x");
  directory->AddSymlink("root", "real");
  const std::string path = directory->At("root");
  const auto tree = directory->trees().OpenRoot({"root", path, path});
  ASSERT_TRUE(tree.ok()) << tree.status();
  EXPECT_TRUE((*tree)->Open("file", false).ok());
}

TEST(LinuxFileTree, LookingChangesNoTimes) {
  const auto directory = NewDirectory();
  directory->AddFile("directory/file", "content");
  // An access time older than the last change, so that relatime would move it.
  const timespec times[2] = {{1000, 0}, {2000, 0}};
  for (const std::string name : {"directory/file", "directory"}) {
    ASSERT_EQ(::utimensat(AT_FDCWD, directory->At(name).c_str(), times, 0), 0);
  }
  const auto tree = *directory->trees().OpenRoot(directory->root());
  const OpenFile file = *tree->Open("directory/file", true);
  char byte;
  ASSERT_EQ(::pread(file.fd.get(), &byte, 1, 0), 1);
  ASSERT_TRUE(tree->List("directory", Stop()).ok());
  for (const std::string name : {"directory/file", "directory"}) {
    struct stat stat;
    ASSERT_EQ(::stat(directory->At(name).c_str(), &stat), 0);
    EXPECT_EQ(stat.st_atim.tv_sec, 1000) << name;
    EXPECT_EQ(stat.st_mtim.tv_sec, 2000) << name;
  }
}

// Nanoseconds since 1970 do not fit into 64 bits any more.
TEST(LinuxFileTree, FilesOfAnotherAgeAreOpened) {
  const auto directory = NewDirectory();
  directory->AddFile("file", "content");
  const timespec times[2] = {{}, {10'413'792'000, 1}};
  ASSERT_EQ(::utimensat(AT_FDCWD, directory->At("file").c_str(), times, 0), 0);
  const auto tree = *directory->trees().OpenRoot(directory->root());
  const absl::StatusOr<OpenFile> before = tree->Open("file", false);
  ASSERT_TRUE(before.ok()) << before.status();
  const timespec later[2] = {{}, {10'413'792'000, 2}};
  ASSERT_EQ(::utimensat(AT_FDCWD, directory->At("file").c_str(), later, 0), 0);
  EXPECT_NE(tree->Open("file", false)->facts.modified_ns, before->facts.modified_ns);
}

}  // namespace
}  // namespace cowherd
