#ifndef COWHERD_TESTS_TESTING_COMMAND_H_
#define COWHERD_TESTS_TESTING_COMMAND_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace cowherd {

// Runs a program, found by PATH, to its end. All its output goes to standard error: benchmarks print tables.
// UNKNOWN names the command and how it ended, if not with 0.
absl::Status RunCommand(const std::vector<std::string>& words);

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_COMMAND_H_
