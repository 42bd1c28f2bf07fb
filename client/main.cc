#include <sys/ioctl.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "absl/time/clock.h"
#include "client/commands/cowherd.h"

namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string WorkingDirectory() {
  char path[PATH_MAX];
  return getcwd(path, sizeof(path)) != nullptr ? path : "/";
}

size_t Columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : 80;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // gRPC logs what the error text says anyway.
  setenv("GRPC_VERBOSITY", "NONE", /*replace=*/0);
  const cowherd::Console console = {std::cout,     std::cerr,          isatty(STDERR_FILENO) == 1,
                                    Columns(),     WorkingDirectory(), Environment,
                                    absl::SleepFor};
  const int code = cowherd::RunCowherd({argv + 1, argv + argc}, console);
  if (!std::cout.flush()) {
    std::cerr << "error: cannot write the output\n";
    return code != cowherd::kExitOk ? code : cowherd::kExitFailed;
  }
  return code;
}
