#ifndef COWHERD_SERVER_BASE_READ_FILE_H_
#define COWHERD_SERVER_BASE_READ_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace cowherd {

// All of a small file, or of one that the kernel makes up, as in /proc. ErrnoError.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_READ_FILE_H_
