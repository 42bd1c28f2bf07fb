#ifndef COWHERD_CLIENT_COMMANDS_NODE_WINDOW_H_
#define COWHERD_CLIENT_COMMANDS_NODE_WINDOW_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd node window set, clear and list. `group` is that of cowherd node.
void AddNodeWindowCommand(CLI::App& group, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_NODE_WINDOW_H_
