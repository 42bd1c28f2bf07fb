#include "server/node/io_class.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr int kThisThread = 0;
// The kernel's default within the class.
constexpr int kMiddle = 4;

bool Set(int priority) {
  if (::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, kThisThread, priority) == 0) return true;
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
  const int before = static_cast<int>(::syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, kThisThread));
  const int wanted = io_class == IoClass::kIdle ? IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)
                                                : IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, kMiddle);
  if (Set(wanted)) before_ = before;
}

ScopedIoClass::~ScopedIoClass() {
  if (before_ >= 0) Set(before_);
}

}  // namespace cowherd
