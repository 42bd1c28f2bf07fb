#ifndef COWHERD_CLIENT_COMMANDS_HOLD_H_
#define COWHERD_CLIENT_COMMANDS_HOLD_H_

#include <CLI/CLI.hpp>
#include <string>

#include "client/commands/context.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// Adds node pause, drain and resume to the group of node commands.
void AddNodeHoldCommands(CLI::App& nodes, Context& context);

// Adds cluster show, pause, drain and resume.
void AddClusterCommand(CLI::App& root, Context& context);

// Who asks, for the controller to note: the user and host of the environment. Empty: neither is known.
std::string Asker(const Context& context);

// "paused by ann since 2026-01-01 10:00:00Z: new disk".
std::string HoldText(const v1::Hold& hold);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_HOLD_H_
