#ifndef COWHERD_CLIENT_COMMANDS_EXTENTS_H_
#define COWHERD_CLIENT_COMMANDS_EXTENTS_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd extents.
void AddExtentsCommand(CLI::App& root, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_EXTENTS_H_
