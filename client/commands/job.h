#ifndef COWHERD_CLIENT_COMMANDS_JOB_H_
#define COWHERD_CLIENT_COMMANDS_JOB_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd job create, list, get, watch, cancel, pause, resume and delete.
void AddJobCommand(CLI::App& root, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_JOB_H_
