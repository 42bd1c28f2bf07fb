#ifndef COWHERD_SERVER_BASE_FULL_IO_H_
#define COWHERD_SERVER_BASE_FULL_IO_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cowherd {

// At `offset` of a file, whatever its position is; goes on where the kernel ends early or a signal came.
// ErrnoError.

// How much was read: fewer than `size` bytes only at the end of the file.
absl::StatusOr<size_t> ReadFully(int fd, char* bytes, size_t size, uint64_t offset);

absl::Status WriteFully(int fd, const char* bytes, size_t size, uint64_t offset);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_FULL_IO_H_
