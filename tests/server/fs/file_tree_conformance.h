#ifndef COWHERD_TESTS_SERVER_FS_FILE_TREE_CONFORMANCE_H_
#define COWHERD_TESTS_SERVER_FS_FILE_TREE_CONFORMANCE_H_

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "tests/server/fs/filesystem_under_test.h"

// What every FileTrees does. Use as extent_ops_conformance.h.
namespace cowherd {

class FileTreeConformance : public testing::TestWithParam<FilesystemKind> {
 protected:
  void SetUp() override {
    filesystem_ = GetParam().make();
    ASSERT_NE(filesystem_, nullptr);
    absl::StatusOr<std::unique_ptr<FileTree>> tree = filesystem_->trees().OpenRoot(filesystem_->root());
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
  }

  std::string OpenError(const std::string& path) {
    return ErrnoName(ErrnoOf(tree_->Open(path, false).status()));
  }
  std::string ListError(const std::string& path) {
    return ErrnoName(ErrnoOf(tree_->List(path, Stop()).status()));
  }

  std::map<std::string, DirEntry::Kind> List(const std::string& path) {
    std::map<std::string, DirEntry::Kind> entries;
    const absl::StatusOr<std::vector<DirEntry>> list = tree_->List(path, Stop());
    EXPECT_TRUE(list.ok()) << list.status();
    if (!list.ok()) return entries;
    for (const DirEntry& entry : *list) EXPECT_TRUE(entries.emplace(entry.name, entry.kind).second);
    return entries;
  }

  std::unique_ptr<FilesystemUnderTest> filesystem_;
  std::unique_ptr<FileTree> tree_;
};

TEST_P(FileTreeConformance, OpensAFileAndTellsItsFacts) {
  filesystem_->AddFile("a/b/file", "hello");
  for (const bool for_destination : {false, true}) {
    const absl::StatusOr<OpenFile> file = tree_->Open("a/b/file", for_destination);
    ASSERT_TRUE(file.ok()) << file.status();
    char content[16];
    EXPECT_EQ(std::string(content, ::pread(file->fd.get(), content, sizeof(content), 0)), "hello");
    struct stat stat;
    ASSERT_EQ(::fstat(file->fd.get(), &stat), 0);
    EXPECT_EQ(file->facts.device, stat.st_dev);
    EXPECT_EQ(file->facts.inode, stat.st_ino);
    EXPECT_EQ(file->facts.size, 5u);
    EXPECT_EQ(file->facts.links, 1u);
    EXPECT_EQ(file->facts.modified_ns, stat.st_mtim.tv_sec * 1000000000 + stat.st_mtim.tv_nsec);
    EXPECT_EQ(file->facts.changed_ns, stat.st_ctim.tv_sec * 1000000000 + stat.st_ctim.tv_nsec);
  }
}

TEST_P(FileTreeConformance, CountsLinks) {
  filesystem_->AddFile("one", "x");
  filesystem_->AddLink("two", "one");
  const absl::StatusOr<OpenFile> one = tree_->Open("one", false);
  const absl::StatusOr<OpenFile> two = tree_->Open("two", false);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->facts.links, 2u);
  EXPECT_EQ(one->facts.inode, two->facts.inode);
}

TEST_P(FileTreeConformance, ANewFileOfTheSameNameIsAnother) {
  filesystem_->AddFile("file", "x");
  const absl::StatusOr<OpenFile> before = tree_->Open("file", false);
  filesystem_->Remove("file");
  EXPECT_EQ(OpenError("file"), "ENOENT");
  filesystem_->AddFile("file", "x");
  const absl::StatusOr<OpenFile> after = tree_->Open("file", false);
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_NE(before->facts.inode, after->facts.inode);
}

TEST_P(FileTreeConformance, OpensOnlyRegularFiles) {
  filesystem_->AddFile("directory/file", "x");
  filesystem_->AddFifo("fifo");
  EXPECT_EQ(OpenError("directory"), "EISDIR");
  EXPECT_EQ(OpenError(""), "EISDIR");
  EXPECT_EQ(OpenError("directory/none"), "ENOENT");
  EXPECT_EQ(OpenError("none/file"), "ENOENT");
  EXPECT_EQ(OpenError("directory/file/x"), "ENOTDIR");
  for (const bool for_destination : {false, true}) {
    const absl::Status fifo = tree_->Open("fifo", for_destination).status();
    EXPECT_EQ(fifo.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(fifo), "NOT_REGULAR");
    EXPECT_EQ(ErrnoOf(fifo), EINVAL);
  }
}

TEST_P(FileTreeConformance, NoPathLeadsOut) {
  filesystem_->AddFile("directory/file", "x");
  filesystem_->AddSymlink("directory/link", "file");
  filesystem_->AddSymlink("up", "directory");
  filesystem_->AddSymlink("outward", "/etc");
  EXPECT_EQ(OpenError("directory/link"), "ELOOP");
  EXPECT_EQ(OpenError("up"), "ELOOP");
  EXPECT_EQ(OpenError("up/file"), "ELOOP");
  EXPECT_EQ(OpenError("outward/passwd"), "ELOOP");
  EXPECT_EQ(OpenError("../x"), "EXDEV");
  EXPECT_EQ(OpenError(".."), "EXDEV");
  EXPECT_EQ(OpenError("/etc/passwd"), "EXDEV");
  EXPECT_EQ(OpenError(std::string("directory/file\0x", 16)), "EINVAL");
  EXPECT_EQ(OpenError(std::string(256, 'x')), "ENAMETOOLONG");
  EXPECT_EQ(ListError("up"), "ELOOP");
  EXPECT_EQ(ListError("outward"), "ELOOP");
  EXPECT_EQ(ListError(".."), "EXDEV");
  EXPECT_EQ(ListError("/etc"), "EXDEV");
}

TEST_P(FileTreeConformance, ListsADirectory) {
  EXPECT_TRUE(List("").empty());
  filesystem_->AddFile("file", "x");
  filesystem_->AddFile("directory/inner/file", "x");
  filesystem_->AddFile("directory2/file", "x");
  filesystem_->AddDirectory("directory/empty");
  filesystem_->AddSymlink("link", "file");
  filesystem_->AddFifo("fifo");
  using Kind = DirEntry::Kind;
  using Entries = std::map<std::string, Kind>;
  EXPECT_EQ(List(""), (Entries{{"file", Kind::kFile},
                               {"directory", Kind::kDirectory},
                               {"directory2", Kind::kDirectory},
                               {"link", Kind::kOther},
                               {"fifo", Kind::kOther}}));
  EXPECT_EQ(List("directory"), (Entries{{"inner", Kind::kDirectory}, {"empty", Kind::kDirectory}}));
  EXPECT_EQ(List("directory/inner"), (Entries{{"file", Kind::kFile}}));
  EXPECT_EQ(List("directory/empty"), Entries{});
  EXPECT_EQ(ListError("file"), "ENOTDIR");
  EXPECT_EQ(ListError("fifo"), "ENOTDIR");
  EXPECT_EQ(ListError("none"), "ENOENT");
}

TEST_P(FileTreeConformance, LooksAtFilesAsOpenTellsThem) {
  // More than fits into one step, and not all of them asked for.
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i)
    filesystem_->AddFile("d/" + std::to_string(i), std::string(static_cast<size_t>(i % 7), 'x'));
  filesystem_->AddDirectory("d/directory");
  filesystem_->AddSymlink("d/link", "0");
  const auto entries = tree_->List("d", Stop());
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), kFiles + 2u);
  ASSERT_EQ(filesystem_->ops().Commit(tree_->root_fd()), absl::OkStatus());
  for (const int part : {1, 2, 50}) {
    std::vector<NamedFile> asked = {{"d/none", 0}};
    for (size_t i = 0; i < entries->size(); i += part)
      asked.push_back({"d/" + (*entries)[i].name, (*entries)[i].inode});
    const auto facts = tree_->Look(asked, Stop());
    ASSERT_EQ(facts.size(), asked.size());
    EXPECT_FALSE(facts[0]);
    for (size_t i = 1; i < asked.size(); ++i) {
      const auto file = tree_->Open(asked[i].path, /*for_destination=*/false);
      ASSERT_EQ(facts[i].has_value(), file.ok()) << asked[i].path;
      if (!file.ok()) continue;
      EXPECT_EQ(facts[i]->device, file->facts.device);
      EXPECT_EQ(facts[i]->inode, file->facts.inode);
      EXPECT_EQ(facts[i]->size, file->facts.size);
      EXPECT_EQ(facts[i]->links, 1u);
      EXPECT_EQ(facts[i]->modified_ns, file->facts.modified_ns);
      EXPECT_EQ(facts[i]->changed_ns, file->facts.changed_ns);
    }
  }
}

TEST_P(FileTreeConformance, LooksAtAndListsNothingOnceItIsToStop) {
  filesystem_->AddFile("file", "x");
  Stop stop;
  stop.Request();
  EXPECT_FALSE(tree_->Look({{"file", (*tree_->List("", Stop()))[0].inode}}, stop)[0]);
  EXPECT_EQ(tree_->List("", stop).status(), stop.Check());
}

TEST_P(FileTreeConformance, ListsManyEntries) {
  for (int i = 0; i < 3000; ++i) filesystem_->AddFile("many/" + std::to_string(i), "");
  EXPECT_EQ(List("many").size(), 3000u);
}

TEST_P(FileTreeConformance, RootsComeAndGo) {
  Root root = filesystem_->root();
  root.local_path += "/later";
  const absl::Status absent = filesystem_->trees().OpenRoot(root).status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(absent), "ROOT_ABSENT");
  filesystem_->AddFile("later/file", "x");
  EXPECT_TRUE(filesystem_->trees().OpenRoot(root).ok());
  root.local_path += "/file";
  EXPECT_EQ(ErrnoOf(filesystem_->trees().OpenRoot(root).status()), ENOTDIR);
}

}  // namespace cowherd

#endif  // COWHERD_TESTS_SERVER_FS_FILE_TREE_CONFORMANCE_H_
