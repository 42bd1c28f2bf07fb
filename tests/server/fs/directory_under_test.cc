#include "tests/server/fs/directory_under_test.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "server/base/fd.h"

namespace cowherd {
namespace {

// "ok", or why not.
std::string Outcome(bool ok) { return ok ? "ok" : std::error_code(errno, std::generic_category()).message(); }

}  // namespace

DirectoryUnderTest::DirectoryUnderTest(const std::string& parent, bool keeps_inline)
    : path_(parent + "/test-XXXXXX"), keeps_inline_(keeps_inline) {
  EXPECT_EQ(Outcome(::mkdtemp(&path_[0]) != nullptr), "ok") << path_;
  // mkdtemp's mode keeps other users out, whose rights some tests are about.
  EXPECT_EQ(Outcome(::chmod(path_.c_str(), 0755) == 0), "ok");
}

DirectoryUnderTest::~DirectoryUnderTest() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  EXPECT_FALSE(error) << path_ << ": " << error.message();
}

void DirectoryUnderTest::AddFile(const std::string& path, absl::string_view content) {
  MakeParents(path);
  {
    const Fd file(::open(At(path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    ASSERT_EQ(Outcome(file.valid()), "ok") << path;
  }
  Write(path, 0, content);
}

void DirectoryUnderTest::AddDirectory(const std::string& path) { MakeParents(path + "/"); }

void DirectoryUnderTest::AddLink(const std::string& path, const std::string& existing) {
  MakeParents(path);
  ASSERT_EQ(Outcome(::link(At(existing).c_str(), At(path).c_str()) == 0), "ok") << path;
}

void DirectoryUnderTest::AddSymlink(const std::string& path, const std::string& to) {
  MakeParents(path);
  ASSERT_EQ(Outcome(::symlink(to.c_str(), At(path).c_str()) == 0), "ok") << path;
}

void DirectoryUnderTest::AddFifo(const std::string& path) {
  MakeParents(path);
  ASSERT_EQ(Outcome(::mkfifo(At(path).c_str(), 0644) == 0), "ok") << path;
}

void DirectoryUnderTest::Remove(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(At(path), error);
  ASSERT_FALSE(error) << path << ": " << error.message();
}

void DirectoryUnderTest::Write(const std::string& path, uint64_t offset, absl::string_view content) {
  const Fd file(::open(At(path).c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(Outcome(file.valid()), "ok") << path;
  while (!content.empty()) {
    const ssize_t written = ::pwrite(file.get(), content.data(), content.size(), static_cast<off_t>(offset));
    ASSERT_EQ(Outcome(written > 0), "ok") << path;
    content.remove_prefix(written);
    offset += written;
  }
}

void DirectoryUnderTest::Truncate(const std::string& path, uint64_t size) {
  ASSERT_EQ(Outcome(::truncate(At(path).c_str(), static_cast<off_t>(size)) == 0), "ok") << path;
}

void DirectoryUnderTest::Preallocate(const std::string& path, uint64_t offset, uint64_t length) {
  const Fd file(::open(At(path).c_str(), O_WRONLY | O_CLOEXEC));
  for (const int mode : {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0}) {
    ASSERT_EQ(
        Outcome(::fallocate(file.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0),
        "ok")
        << path;
  }
}

std::string DirectoryUnderTest::Content(const std::string& path) {
  const Fd file(::open(At(path).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat stat = {};
  EXPECT_EQ(Outcome(file.valid() && ::fstat(file.get(), &stat) == 0), "ok") << path;
  std::string content(stat.st_size, '\0');
  EXPECT_EQ(::pread(file.get(), &content[0], content.size(), 0), stat.st_size) << path;
  return content;
}

void DirectoryUnderTest::MakeParents(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return;
  std::error_code error;
  std::filesystem::create_directories(At(path.substr(0, slash)), error);
  ASSERT_FALSE(error) << path << ": " << error.message();
}

}  // namespace cowherd
