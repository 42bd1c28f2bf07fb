#ifndef COWHERD_SERVER_BASE_FAILPOINT_H_
#define COWHERD_SERVER_BASE_FAILPOINT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// Places where a test makes a process die, fail or wait, each with a name of its own. What is linked decides:
// here they do nothing, as in every program that is shipped; the library //tests/faults:active_failpoints
// takes their place in the programs that the fault tests run. Any thread.

// Where what follows may fail: the error to return instead of doing it, UNAVAILABLE "FAILPOINT".
absl::Status Failpoint(absl::string_view name);

// Where a process may die or be late, but nothing can fail any more.
void Crashpoint(absl::string_view name);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_FAILPOINT_H_
