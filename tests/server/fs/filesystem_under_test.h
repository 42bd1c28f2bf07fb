#ifndef COWHERD_TESTS_SERVER_FS_FILESYSTEM_UNDER_TEST_H_
#define COWHERD_TESTS_SERVER_FS_FILESYSTEM_UNDER_TEST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"

namespace cowherd {

// What the conformance suites need of a filesystem, fake or real. Paths are relative to the root, which is
// empty at first. Building fails the test by itself.
class FilesystemUnderTest {
 public:
  virtual ~FilesystemUnderTest() = default;
  virtual ExtentOps& ops() = 0;
  virtual FileTrees& trees() = 0;
  virtual Root root() const = 0;
  // Whether tiny files live in metadata.
  virtual bool keeps_inline() const = 0;

  virtual void AddFile(const std::string& path, absl::string_view content) = 0;
  virtual void AddDirectory(const std::string& path) = 0;
  virtual void AddLink(const std::string& path, const std::string& existing) = 0;
  virtual void AddSymlink(const std::string& path, const std::string& to) = 0;
  virtual void AddFifo(const std::string& path) = 0;
  virtual void Remove(const std::string& path) = 0;
  virtual void Write(const std::string& path, uint64_t offset, absl::string_view content) = 0;
  virtual void Truncate(const std::string& path, uint64_t size) = 0;
  virtual void Preallocate(const std::string& path, uint64_t offset, uint64_t length) = 0;
  virtual std::string Content(const std::string& path) = 0;
};

struct FilesystemKind {
  std::string name;
  std::function<std::unique_ptr<FilesystemUnderTest>()> make;
};

inline void PrintTo(const FilesystemKind& kind, std::ostream* out) { *out << kind.name; }

}  // namespace cowherd

#endif  // COWHERD_TESTS_SERVER_FS_FILESYSTEM_UNDER_TEST_H_
