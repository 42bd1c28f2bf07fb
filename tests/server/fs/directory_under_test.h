#ifndef COWHERD_TESTS_SERVER_FS_DIRECTORY_UNDER_TEST_H_
#define COWHERD_TESTS_SERVER_FS_DIRECTORY_UNDER_TEST_H_

#include <string>

#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "tests/server/fs/filesystem_under_test.h"

namespace cowherd {

// A new directory of the running machine, removed when it goes.
class DirectoryUnderTest final : public FilesystemUnderTest {
 public:
  DirectoryUnderTest(const std::string& parent, bool keeps_inline);
  ~DirectoryUnderTest() override;

  ExtentOps& ops() override { return ops_; }
  FileTrees& trees() override { return trees_; }
  Root root() const override { return {"test", path_, path_}; }
  bool keeps_inline() const override { return keeps_inline_; }

  void AddFile(const std::string& path, absl::string_view content) override;
  void AddDirectory(const std::string& path) override;
  void AddLink(const std::string& path, const std::string& existing) override;
  void AddSymlink(const std::string& path, const std::string& to) override;
  void AddFifo(const std::string& path) override;
  void Remove(const std::string& path) override;
  void Write(const std::string& path, uint64_t offset, absl::string_view content) override;
  void Truncate(const std::string& path, uint64_t size) override;
  void Preallocate(const std::string& path, uint64_t offset, uint64_t length) override;
  std::string Content(const std::string& path) override;

  // The file's absolute path.
  std::string At(const std::string& path) const { return path_ + "/" + path; }

 private:
  void MakeParents(const std::string& path);

  std::string path_;
  const bool keeps_inline_;
  LinuxExtentOps ops_;
  LinuxFileTrees trees_;
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_SERVER_FS_DIRECTORY_UNDER_TEST_H_
