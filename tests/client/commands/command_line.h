#ifndef COWHERD_TESTS_CLIENT_COMMANDS_COMMAND_LINE_H_
#define COWHERD_TESTS_CLIENT_COMMANDS_COMMAND_LINE_H_

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "client/commands/cowherd.h"

namespace cowherd::testing {

// The command line, in this process.
struct CommandLine {
  // What the world outside is like; set before operator().
  bool terminal = false;
  std::map<std::string, std::string> environment;
  // What came of it.
  int code = -1;
  std::string out;
  std::string err;
  std::vector<absl::Duration> slept;

  CommandLine& operator()(const std::vector<std::string>& args) {
    std::ostringstream out_stream;
    std::ostringstream err_stream;
    const Console console = {out_stream,
                             err_stream,
                             terminal,
                             /*columns=*/80,
                             "/home/me",
                             [this](const char* name) { return environment[name]; },
                             [this](absl::Duration time) { slept.push_back(time); }};
    code = RunCowherd(args, console);
    out = out_stream.str();
    err = err_stream.str();
    return *this;
  }
};

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_CLIENT_COMMANDS_COMMAND_LINE_H_
