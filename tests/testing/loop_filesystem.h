#ifndef COWHERD_TESTS_TESTING_LOOP_FILESYSTEM_H_
#define COWHERD_TESTS_TESTING_LOOP_FILESYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cowherd {

// A filesystem in an image file, mounted by a loop device until this object goes. Needs root and mkfs.<type>.
//
// Images and mount points lie below $COWHERD_TEST_DIR (else $TEST_TMPDIR, else /var/tmp/cowherd-test). Mounts
// are made in a mount namespace of this process, entered at the first Make; so make one before starting
// threads. Even after kill -9 the kernel takes the mounts and loop devices away by itself, and what remains
// to sweep is that directory.
class LoopFilesystem {
 public:
  struct Options {
    std::string type;                   // "btrfs", "xfs", "ext4", for mkfs.<type>
    uint64_t size = uint64_t{1} << 30;  // of an image, which is sparse
    std::vector<std::string> mkfs_arguments;
    unsigned images = 1;  // btrfs can take several, each a device
  };

  static absl::StatusOr<std::unique_ptr<LoopFilesystem>> Make(const Options& options);
  ~LoopFilesystem();
  LoopFilesystem(const LoopFilesystem&) = delete;
  LoopFilesystem& operator=(const LoopFilesystem&) = delete;

  // Where it is mounted, or would be.
  const std::string& path() const { return path_; }
  const std::string& image() const { return images_.front(); }

  absl::Status Mount(const std::string& mount_options = "");
  // Unlike the destructor, fails if it is in use.
  absl::Status Unmount();
  // Makes the filesystem anew; not while mounted.
  absl::Status Format();

 private:
  LoopFilesystem(Options options, std::string directory);

  const Options options_;
  const std::string directory_;
  const std::string path_;
  std::vector<std::string> images_;
  bool mounted_ = false;
};

// The directory that test files lie below; made if need be.
absl::StatusOr<std::string> TestDirectory();

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_LOOP_FILESYSTEM_H_
