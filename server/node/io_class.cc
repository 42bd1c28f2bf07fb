#include "server/node/io_class.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// As ioprio_set(2) has it. The linux/ioprio.h of some kernels is no C++.
constexpr int kWhoProcess = 1;
constexpr int kThisThread = 0;
constexpr int kClassShift = 13;
constexpr int kBestEffort = 2 << kClassShift | 4;  // the kernel's default within the class
constexpr int kIdle = 3 << kClassShift;

bool Set(int priority) {
  if (::syscall(SYS_ioprio_set, kWhoProcess, kThisThread, priority) == 0) return true;
  Log(LogLevel::kWarning, "cannot set the I/O class", {{"error", ErrnoError(errno, "ioprio_set")}});
  return false;
}

}  // namespace

absl::StatusOr<IoClass> ParseIoClass(absl::string_view name) {
  if (name == "none") return IoClass::kNone;
  if (name == "best-effort") return IoClass::kBestEffort;
  if (name == "idle") return IoClass::kIdle;
  return absl::InvalidArgumentError("must be none, best-effort or idle");
}

ScopedIoClass::ScopedIoClass(IoClass io_class) {
  if (io_class == IoClass::kNone) return;
  const int before = static_cast<int>(::syscall(SYS_ioprio_get, kWhoProcess, kThisThread));
  if (Set(io_class == IoClass::kIdle ? kIdle : kBestEffort)) before_ = before;
}

ScopedIoClass::~ScopedIoClass() {
  if (before_ >= 0) Set(before_);
}

}  // namespace cowherd
