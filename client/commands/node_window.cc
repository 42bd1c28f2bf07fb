#include "client/commands/node_window.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/commands/schedule_text.h"
#include "client/commands/window_text.h"
#include "client/format.h"
#include "client/schedule_client.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Flags {
  std::string controller;
  std::string node;
  std::vector<std::string> windows;
};

void AddRow(Table& table, const v1::NodeWindows& node, absl::Time now) {
  std::vector<std::string> windows;
  for (const v1::Window& window : node.windows()) windows.push_back(WindowText(window));
  table.Add({EscapeName(node.node()), node.open() ? "OPEN" : "CLOSED",
             node.has_until() ? FormatTimeIn(node.until(), "") : "-",
             node.has_until() ? FormatSpan(absl::FromUnixSeconds(node.until().seconds()) - now) : "-",
             absl::StrJoin(windows, "; ")});
}

Table MakeTable() { return Table({{"NODE"}, {"STATE"}, {"CHANGES"}, {"IN"}, {"WINDOWS"}}); }

int RunSet(const Context& context, const Flags& flags, absl::string_view name) {
  v1::SetNodeWindowsRequest request;
  request.set_node(flags.node);
  for (const std::string& text : flags.windows) {
    absl::StatusOr<v1::Window> window = ParseWindow(text);
    if (!window.ok()) return context.UsageError(window.status());
    *request.add_windows() = *std::move(window);
  }
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    const absl::StatusOr<v1::NodeWindows> node = client.SetNodeWindows(request, context.ShortTimeout());
    if (!node.ok()) {
      return context.CallError(absl::StrCat("node window ", name), flags.controller, node.status());
    }
    if (context.json) return context.PrintJson(*node);
    if (node->windows_size() == 0) {
      context.console.out << "node " << EscapeName(node->node()) << ": works at any time\n";
      return kExitOk;
    }
    Table table = MakeTable();
    AddRow(table, *node, absl::Now());
    table.Flush(context.console.out);
    return kExitOk;
  });
}

int RunList(const Context& context, const Flags& flags) {
  return WithClient<ScheduleClient>(context, flags.controller, [&](const ScheduleClient& client) {
    const absl::StatusOr<v1::ListNodeWindowsResponse> answer = client.ListNodeWindows(context.ShortTimeout());
    if (!answer.ok()) return context.CallError("node window list", flags.controller, answer.status());
    if (context.json) return context.PrintJson(*answer);
    Table table = MakeTable();
    for (const v1::NodeWindows& node : answer->nodes()) AddRow(table, node, absl::Now());
    table.Flush(context.console.out);
    return kExitOk;
  });
}

}  // namespace

void AddNodeWindowCommand(CLI::App& group, Context& context) {
  CLI::App* windows = group.add_subcommand("window", "When tasks may work on a node");
  windows->require_subcommand(1);
  const auto flags = std::make_shared<Flags>();
  const auto add_node = [&flags](CLI::App& command) {
    command.add_option("NODE", flags->node, "The node's name")->required()->type_name("");
  };

  CLI::App* set = windows->add_subcommand("set", "Let tasks work on a node in these windows only");
  AddControllerFlag(*set, context, flags->controller);
  add_node(*set);
  set->add_option("--window", flags->windows,
                  "CRON for TIME [in ZONE]: when it opens, and how long it stays open (1m to 168h). May be "
                  "repeated; they replace those set before")
      ->required()
      ->allow_extra_args(false)
      ->type_name("WINDOW");
  set->footer(
      Footer("  cowherd node window set storage-7 --window '0 22 * * * for 6h in Europe/Berlin'\n"
             "  cowherd node window set storage-7 --window '0 20 * * mon-fri for 10h' --window '0 0 * * sat "
             "for 48h'\n"
             "At the end of a window tasks pause within one range (16 MiB); they go on when the next one "
             "opens.\n"));
  set->callback(
      [&context, flags] { context.run = [&context, flags] { return RunSet(context, *flags, "set"); }; });

  CLI::App* clear = windows->add_subcommand("clear", "Let tasks work on a node at any time");
  AddControllerFlag(*clear, context, flags->controller);
  add_node(*clear);
  clear->footer(Footer("  cowherd node window clear storage-7\n"));
  clear->callback(
      [&context, flags] { context.run = [&context, flags] { return RunSet(context, *flags, "clear"); }; });

  CLI::App* list = windows->add_subcommand("list", "All nodes that have windows, and whether they are open");
  AddControllerFlag(*list, context, flags->controller);
  list->footer(Footer("  cowherd node window list\n"));
  list->callback([&context, flags] { context.run = [&context, flags] { return RunList(context, *flags); }; });
}

}  // namespace cowherd
