#ifndef COWHERD_CLIENT_COMMANDS_CONTEXT_H_
#define COWHERD_CLIENT_COMMANDS_CONTEXT_H_

#include <google/protobuf/message.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "client/channel.h"
#include "client/controllers.h"
#include "client/progress.h"

// What every command is given, and how it ends.
namespace cowherd {

// The world outside of a command.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
  size_t columns = 80;  // of the terminal
  std::string working_directory;
  // "" for a variable that is not set.
  std::function<std::string(const char* name)> environment;
  std::function<void(absl::Duration)> sleep;
};

// Exit codes.
constexpr int kExitOk = 0;
// A destination failed or differs, a job failed or was cancelled, or the server answered with an error.
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
// The server cannot be reached, or gave no answer in time.
constexpr int kExitUnreachable = 3;

struct Context {
  explicit Context(const Console& console);

  const Console& console;
  // Flags of every command.
  bool json = false;
  ChannelFlags channel;
  std::string timeout_text;
  // As --timeout says; else unset.
  absl::optional<absl::Duration> timeout;
  // "cowherd job create".
  std::string command = "cowherd";
  // What the command line asks for.
  std::function<int()> run;

  // For calls that answer at once; for those that take as long as the work does.
  absl::Duration ShortTimeout() const { return timeout.value_or(absl::Seconds(30)); }
  absl::Duration LongTimeout() const { return timeout.value_or(absl::InfiniteDuration()); }

  // A line of protobuf JSON: names as in the .proto, zeros too. The exit code: kExitFailed, and a line on
  // console.err, for a message that JSON cannot hold.
  int PrintJson(const google::protobuf::Message& message) const;

  // Each prints to console.err and returns the exit code. `doing`: "dedupe", "job get 7".
  int UsageError(const absl::Status& status) const;
  int CallError(absl::string_view doing, absl::string_view address, const absl::Status& status) const;

  // Shown on a terminal only.
  ProgressLine MakeProgressLine() const {
    return ProgressLine(console.err, console.err_is_terminal, console.columns);
  }
};

// --node and --controller: from the command line, COWHERD_NODE or COWHERD_CONTROLLER, or the local default.
CLI::Option* AddNodeFlag(CLI::App& command, const Context& context, std::string& address);
CLI::Option* AddControllerFlag(CLI::App& command, const Context& context, std::string& address);

// `examples`, then the flags of every command. For CLI::App::footer.
std::string Footer(absl::string_view examples);

// Runs `call(client)` on a Client connected to `address`, which may be a list for controllers; the exit code.
template <typename Client, typename Call>
int WithClient(const Context& context, const std::string& address, Call call) {
  if constexpr (std::is_constructible_v<Client, std::shared_ptr<Controllers>>) {
    absl::StatusOr<std::shared_ptr<Controllers>> controllers =
        Controllers::Make(address, context.channel, context.console.sleep);
    if (!controllers.ok()) return context.UsageError(controllers.status());
    const Client client(*std::move(controllers));
    return call(client);
  } else {
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = MakeChannel(address, context.channel);
    if (!channel.ok()) return context.UsageError(channel.status());
    const Client client(*std::move(channel));
    return call(client);
  }
}

}  // namespace cowherd

#endif  // COWHERD_CLIENT_COMMANDS_CONTEXT_H_
