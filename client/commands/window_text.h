#ifndef COWHERD_CLIENT_COMMANDS_WINDOW_TEXT_H_
#define COWHERD_CLIENT_COMMANDS_WINDOW_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cowherd/v1/controller.pb.h"

// Maintenance windows as people write them: "0 22 * * mon-fri for 8h in Europe/Berlin". Pure.
namespace cowherd {

// "CRON for TIME", and " in ZONE" if it is not to be left empty. INVALID_ARGUMENT of --window. What cron and
// zone are is for the controller to say.
absl::StatusOr<v1::Window> ParseWindow(absl::string_view text);

// The reverse, safe to print; always with a zone.
std::string WindowText(const v1::Window& window);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_WINDOW_TEXT_H_
