#ifndef COWHERD_CLIENT_COMMANDS_COWHERD_H_
#define COWHERD_CLIENT_COMMANDS_COWHERD_H_

#include <string>
#include <vector>

#include "client/commands/context.h"

namespace cowherd {

// The whole program but for the process around it: `args` without the program's name. The exit code.
int RunCowherd(const std::vector<std::string>& args, const Console& console);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_COWHERD_H_
