#include "server/base/full_io.h"

#include <unistd.h>

#include <cerrno>

#include "server/base/status.h"

namespace cowherd {

absl::StatusOr<size_t> ReadFully(int fd, char* bytes, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read the file");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

absl::Status WriteFully(int fd, const char* bytes, size_t size, uint64_t offset) {
  for (size_t done = 0; done < size;) {
    const ssize_t wrote = ::pwrite(fd, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return ErrnoError(wrote < 0 ? errno : ENOSPC, "write the file");
    done += static_cast<size_t>(wrote);
  }
  return absl::OkStatus();
}

}  // namespace cowherd
