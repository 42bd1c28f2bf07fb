#include "server/base/failpoint.h"

namespace cowherd {

// Weak, so that a program that links the active ones has those.
__attribute__((weak)) absl::Status Failpoint(absl::string_view) { return absl::OkStatus(); }

__attribute__((weak)) void Crashpoint(absl::string_view) {}

}  // namespace cowherd
