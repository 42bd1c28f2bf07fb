#include "tests/testing/loop_filesystem.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "tests/testing/command.h"

namespace cowherd {
namespace {

absl::Status EnterMountNamespace() {
  static bool entered = false;
  if (entered) return absl::OkStatus();
  if (::unshare(CLONE_NEWNS) != 0) return ErrnoError(errno, "unshare: loop filesystems need root");
  // EINVAL: in a chroot whose root is no mount point. There, others see the mounts too, as long as they last.
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 && errno != EINVAL) {
    return ErrnoError(errno, "make mounts private");
  }
  entered = true;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> TestDirectory() {
  const char* directory = std::getenv("COWHERD_TEST_DIR");
  if (directory == nullptr) directory = std::getenv("TEST_TMPDIR");
  if (directory == nullptr) directory = "/var/tmp/cowherd-test";
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("make ", directory));
  return std::string(directory);
}

absl::StatusOr<std::unique_ptr<LoopFilesystem>> LoopFilesystem::Make(const Options& options) {
  RETURN_IF_ERROR(EnterMountNamespace());
  ASSIGN_OR_RETURN(const std::string parent, TestDirectory());
  std::string directory = absl::StrCat(parent, "/", options.type, "-XXXXXX");
  if (::mkdtemp(&directory[0]) == nullptr) return ErrnoError(errno, absl::StrCat("make ", directory));
  std::unique_ptr<LoopFilesystem> filesystem(new LoopFilesystem(options, directory));
  std::error_code error;
  std::filesystem::create_directory(filesystem->path_, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("make ", filesystem->path_));
  RETURN_IF_ERROR(filesystem->Format());
  RETURN_IF_ERROR(filesystem->Mount());
  return filesystem;
}

LoopFilesystem::LoopFilesystem(Options options, std::string directory)
    : options_(std::move(options)),
      directory_(std::move(directory)),
      image_(absl::StrCat(directory_, "/image")),
      path_(absl::StrCat(directory_, "/mount")) {}

LoopFilesystem::~LoopFilesystem() {
  if (mounted_ && ::umount2(path_.c_str(), MNT_DETACH) != 0) std::perror("umount");
  std::error_code error;
  std::filesystem::remove(image_, error);
  std::filesystem::remove(path_, error);
  std::filesystem::remove(directory_, error);
  if (error) std::fprintf(stderr, "%s is left: %s\n", directory_.c_str(), error.message().c_str());
}

absl::Status LoopFilesystem::Format() {
  const Fd image(::open(image_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!image.valid() || ::ftruncate(image.get(), static_cast<off_t>(options_.size)) != 0) {
    return ErrnoError(errno, absl::StrCat("make ", image_));
  }
  std::vector<std::string> words = {"/usr/sbin/mkfs." + options_.type, "-q"};
  words.insert(words.end(), options_.mkfs_arguments.begin(), options_.mkfs_arguments.end());
  words.push_back(image_);
  return RunCommand(words);
}

absl::Status LoopFilesystem::Mount(const std::string& mount_options) {
  // The loop device that mount(8) makes goes with the mount.
  RETURN_IF_ERROR(
      RunCommand({"mount", "-t", options_.type, "-o",
                  mount_options.empty() ? "loop" : absl::StrCat("loop,", mount_options), image_, path_}));
  mounted_ = true;
  return absl::OkStatus();
}

absl::Status LoopFilesystem::Unmount() {
  if (::umount2(path_.c_str(), 0) != 0) return ErrnoError(errno, absl::StrCat("umount ", path_));
  mounted_ = false;
  return absl::OkStatus();
}

}  // namespace cowherd
