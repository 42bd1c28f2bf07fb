#include "tests/testing/loop_filesystem.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
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

// A loop device for the image, which is gone once nobody has it open or mounted.
absl::StatusOr<Fd> AttachLoop(const std::string& image, std::string& device) {
  const Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  const Fd file(::open(image.c_str(), O_RDWR | O_CLOEXEC));
  if (!control.valid() || !file.valid()) return ErrnoError(errno, absl::StrCat("attach ", image));
  while (true) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return ErrnoError(errno, "LOOP_CTL_GET_FREE");
    device = absl::StrCat("/dev/loop", number);
    Fd loop(::open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!loop.valid()) return ErrnoError(errno, absl::StrCat("open ", device));
    loop_config config = {};
    config.fd = static_cast<uint32_t>(file.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return loop;
    // Somebody else was faster.
    if (errno != EBUSY) return ErrnoError(errno, absl::StrCat("LOOP_CONFIGURE ", device));
  }
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
      path_(absl::StrCat(directory_, "/mount")),
      images_{absl::StrCat(directory_, "/image")} {
  while (images_.size() < options_.images) {
    images_.push_back(absl::StrCat(directory_, "/image", images_.size() + 1));
  }
}

LoopFilesystem::~LoopFilesystem() {
  if (mounted_ && ::umount2(path_.c_str(), MNT_DETACH) != 0) std::perror("umount");
  std::error_code error;
  for (const std::string& image : images_) std::filesystem::remove(image, error);
  std::filesystem::remove(path_, error);
  std::filesystem::remove(directory_, error);
  if (error) std::fprintf(stderr, "%s is left: %s\n", directory_.c_str(), error.message().c_str());
}

absl::Status LoopFilesystem::Format() {
  std::vector<std::string> words = {"/usr/sbin/mkfs." + options_.type, "-q"};
  words.insert(words.end(), options_.mkfs_arguments.begin(), options_.mkfs_arguments.end());
  for (const std::string& image : images_) {
    const Fd fd(::open(image.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(options_.size)) != 0) {
      return ErrnoError(errno, absl::StrCat("make ", image));
    }
    words.push_back(image);
  }
  return RunCommand(words);
}

absl::Status LoopFilesystem::Mount(const std::string& mount_options) {
  // The loop device that mount(8) makes goes with the mount, and so do the others.
  std::string options = "loop";
  std::vector<Fd> devices;
  for (size_t i = 1; i < images_.size(); ++i) {
    std::string device;
    ASSIGN_OR_RETURN(Fd fd, AttachLoop(images_[i], device));
    devices.push_back(std::move(fd));
    absl::StrAppend(&options, ",device=", device);
  }
  if (!mount_options.empty()) absl::StrAppend(&options, ",", mount_options);
  RETURN_IF_ERROR(RunCommand({"mount", "-t", options_.type, "-o", options, images_.front(), path_}));
  mounted_ = true;
  return absl::OkStatus();
}

absl::Status LoopFilesystem::Unmount() {
  if (::umount2(path_.c_str(), 0) != 0) return ErrnoError(errno, absl::StrCat("umount ", path_));
  mounted_ = false;
  return absl::OkStatus();
}

}  // namespace cowherd
