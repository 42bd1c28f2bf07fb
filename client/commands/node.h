#ifndef COWHERD_CLIENT_COMMANDS_NODE_H_
#define COWHERD_CLIENT_COMMANDS_NODE_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd node list and show.
void AddNodeCommand(CLI::App& root, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_NODE_H_
