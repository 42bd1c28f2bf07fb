#include "client/commands/cowherd.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/commands/dedupe.h"
#include "client/commands/extents.h"
#include "client/commands/find.h"
#include "client/commands/hold.h"
#include "client/commands/job.h"
#include "client/commands/node.h"
#include "client/commands/schedule.h"
#include "client/size.h"
#include "server/base/version.h"

namespace cowherd {
namespace {

// CLI11 takes "[a,b]" apart into a list. An argument that ends so is given a NUL, which no real one can hold,
// and each option takes it off again: file names come through as they are.
constexpr char kGuard = '\0';

std::string Guarded(const std::string& argument) {
  return absl::EndsWith(argument, "]") ? argument + kGuard : argument;
}

std::string Unguarded(std::string argument) {
  if (!argument.empty() && argument.back() == kGuard) argument.pop_back();
  return argument;
}

void UnguardOptions(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() > 0) option->transform(Unguarded);
  }
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) UnguardOptions(*command);
}

// "cowherd job create", as far as it was recognized.
std::string CommandName(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* command : app.get_subcommands()) absl::StrAppend(&name, " ", CommandName(*command));
  return name;
}

// What is wrong with the arguments. A word that fits nowhere comes first: it is often why another is missing.
std::string Describe(const CLI::ParseError& error, const CLI::App& app) {
  for (const std::string& word : app.remaining(/*recurse=*/true)) {
    if (word != "--") return absl::StrCat("unknown or one too many: ", Unguarded(word));
  }
  std::string what = error.what();
  what.erase(std::remove(what.begin(), what.end(), kGuard), what.end());
  return what;
}

void AddCommonFlags(CLI::App& app, Context& context, std::string& format) {
  app.set_version_flag("--version", absl::StrCat("cowherd ", kVersion));
  app.add_option("-o,--output", format,
                 "table for people, json (the protobuf JSON of the answer) for programs")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"table", "json"}));
  app.add_option("--timeout", context.timeout_text,
                 "The longest a command may take: seconds, or 30s, 5m (default: 30s a call; none for dedupe, "
                 "find and "
                 "watch)")
      ->type_name("TIME");
  app.add_option("--tls_cert", context.channel.tls.cert, "Our certificate, PEM; also COWHERD_TLS_CERT")
      ->type_name("FILE");
  app.add_option("--tls_key", context.channel.tls.key, "Its private key, PEM; also COWHERD_TLS_KEY")
      ->type_name("FILE");
  app.add_option("--tls_ca", context.channel.tls.ca,
                 "Who may have signed the server's, PEM; also COWHERD_TLS_CA")
      ->type_name("FILE");
  app.add_flag("--allow_remote_plaintext", context.channel.allow_remote_plaintext,
               "Without TLS, also to other machines");
}

}  // namespace

int RunCowherd(const std::vector<std::string>& args, const Console& console) {
  Context context(console);
  std::string format = "table";
  CLI::App app(
      "Shares the storage of duplicate data: on one node (dedupe, find, extents) or on many (job, schedule).",
      "cowherd");
  app.fallthrough();
  app.require_subcommand(1);
  AddCommonFlags(app, context, format);
  AddDedupeCommand(app, context);
  AddFindCommand(app, context);
  AddExtentsCommand(app, context);
  AddNodeCommand(app, context);
  AddJobCommand(app, context);
  AddScheduleCommand(app, context);
  AddClusterCommand(app, context);
  app.footer(
      "Examples:\n"
      "  cowherd dedupe --length 64m /srv/a.img 0 /srv/b.img 0\n"
      "  cowherd job create --all --wait\n"
      "Flags above may stand before or after the command; cowherd COMMAND --help tells of each.\n"
      "Exit code: 0 ok; 1 something failed, differs or was refused; 2 usage; 3 server unreachable.");
  UnguardOptions(app);

  // CLI11 wants the last argument first.
  std::vector<std::string> reversed;
  std::transform(args.rbegin(), args.rend(), std::back_inserter(reversed), Guarded);
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::Success& answer) {
    return app.exit(answer, console.out, console.err);
  } catch (const CLI::ParseError& error) {
    context.command = CommandName(app);
    return context.UsageError(absl::InvalidArgumentError(Describe(error, app)));
  }
  context.command = CommandName(app);
  context.json = format == "json";
  if (!context.timeout_text.empty()) {
    const absl::StatusOr<absl::Duration> timeout = ParseTimeout("--timeout", context.timeout_text);
    if (!timeout.ok()) return context.UsageError(timeout.status());
    context.timeout = *timeout;
  }
  return context.run();
}

}  // namespace cowherd
