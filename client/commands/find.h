#ifndef COWHERD_CLIENT_COMMANDS_FIND_H_
#define COWHERD_CLIENT_COMMANDS_FIND_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd find.
void AddFindCommand(CLI::App& root, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_FIND_H_
