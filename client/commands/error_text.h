#ifndef COWHERD_CLIENT_COMMANDS_ERROR_TEXT_H_
#define COWHERD_CLIENT_COMMANDS_ERROR_TEXT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "cowherd/v1/errors.pb.h"

// What went wrong, for people. Pure. All text is safe to print.
namespace cowherd {

// The error came from the way to the server, not from the server: nothing there, or no answer in time.
bool IsUnreachable(const absl::Status& status);

// Several lines: what, then address, field, reason, errno's name and what to do next, as far as known.
std::string ErrorText(absl::string_view doing, absl::string_view address, const absl::Status& status);

// One line for a table: "EXDEV: <message>", with the field in front if there is one.
std::string ErrorLine(const v1::ErrorDetail& error);

// What to do about an error with this reason (an errno's name too): one sentence. "" if not known.
std::string NextStep(absl::string_view reason);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_ERROR_TEXT_H_
