#ifndef COWHERD_CLIENT_COMMANDS_SCHEDULE_H_
#define COWHERD_CLIENT_COMMANDS_SCHEDULE_H_

#include "client/commands/context.h"

namespace cowherd {

// cowherd schedule create, get, list, update, suspend, resume, run and delete.
void AddScheduleCommand(CLI::App& root, Context& context);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_SCHEDULE_H_
