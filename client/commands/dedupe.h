#ifndef COWHERD_CLIENT_COMMANDS_DEDUPE_H_
#define COWHERD_CLIENT_COMMANDS_DEDUPE_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd dedupe. `context` must outlive `root`, here and for the other commands.
void AddDedupeCommand(CLI::App& root, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_DEDUPE_H_
