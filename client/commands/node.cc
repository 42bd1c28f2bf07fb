#include "client/commands/node.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/commands/error_text.h"
#include "client/commands/hold.h"
#include "client/commands/node_window.h"
#include "client/commands/totals_text.h"
#include "client/format.h"
#include "client/job_client.h"
#include "client/node_client.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Flags {
  std::string node;
  std::string controller;
  std::string name;
};

// "UP" of NODE_UP.
std::string StateText(v1::NodeState state) {
  const std::string name = v1::NodeState_Name(state);
  return name.rfind("NODE_", 0) == 0 ? name.substr(5) : name;
}

// The address in use, and how many others there are.
std::string AddressText(const v1::NodeStatus& status) {
  if (status.address().empty()) return "-";
  const int others = status.addresses_size() - 1;
  return others > 0 ? absl::StrCat(EscapeName(status.address()), " +", others) : EscapeName(status.address());
}

void PrintNode(std::ostream& out, const v1::Node& node) {
  PrintLine(out, "name", EscapeName(node.name()));
  PrintLine(out, "version", EscapeName(node.version()));
  PrintLine(out, "kernel", EscapeName(node.kernel()));
  std::vector<std::string> labels;
  for (const auto& label : node.labels()) labels.push_back(absl::StrCat(label.first, "=", label.second));
  std::sort(labels.begin(), labels.end());
  PrintLine(out, "labels", labels.empty() ? "-" : EscapeName(absl::StrJoin(labels, ",")));
  PrintLine(out, "started", FormatTime(node.started().seconds()));
  if (!node.instance_id().empty()) PrintLine(out, "instance", EscapeName(node.instance_id()));
  PrintLine(out, "tasks", absl::StrCat(node.running_tasks(), " running, at most ", node.max_tasks()));
  if (!node.profile().empty()) {
    PrintLine(
        out, "rights",
        absl::StrCat(EscapeName(node.profile()), ": ",
                     node.capabilities().empty() ? "no capability"
                                                 : EscapeName(absl::StrJoin(node.capabilities(), ", "))));
  }
  for (const v1::Root& root : node.roots()) {
    for (const v1::Lack& lack : root.lacks()) {
      PrintLine(out, lack.needed() ? "lacks" : "without",
                absl::StrCat(EscapeName(lack.capability()), " on ", EscapeName(root.name()), ": ",
                             EscapeName(lack.loses())));
    }
  }
  Table table({{"ROOT"},
               {"PATH"},
               {"TYPE"},
               {"SIZE", true},
               {"FREE", true},
               {"BLOCK", true},
               {"DEDUPE"},
               {"UUID"},
               {"NOTE"}});
  for (const v1::Root& root : node.roots()) {
    if (root.has_error()) {
      table.Add({EscapeName(root.name()), EscapeName(root.path()), "-", "-", "-", "-", "-", "-",
                 ErrorLine(root.error())});
      continue;
    }
    table.Add({EscapeName(root.name()), EscapeName(root.path()), EscapeName(root.filesystem()),
               FormatSize(root.size_bytes()), FormatSize(root.free_bytes()), FormatSize(root.block_size()),
               root.dedupe_supported() ? "yes" : "no", EscapeName(root.uuid()),
               root.read_only() ? "read-only" : ""});
  }
  out << '\n';
  table.Flush(out);
}

void PrintStatus(std::ostream& out, const v1::NodeStatus& status) {
  PrintLine(out, "node", EscapeName(status.name()));
  PrintLine(out, "state", StateText(status.state()));
  if (status.has_error()) PrintLine(out, "error", ErrorLine(status.error()));
  PrintLine(out, "address", status.address().empty() ? "-" : EscapeName(status.address()));
  for (const v1::AddressStatus& address : status.addresses()) {
    if (address.address() == status.address()) continue;
    PrintLine(out, "also at",
              address.has_error()
                  ? absl::StrCat(EscapeName(address.address()), ", ", ErrorLine(address.error()))
                  : EscapeName(address.address()));
  }
  PrintLine(out, "last seen", FormatTime(status.last_seen().seconds()));
  PrintLine(out, "our tasks", absl::StrCat(status.running_tasks(), " running"));
  if (status.has_hold()) PrintLine(out, "rests", HoldText(status.hold()));
  for (const v1::PausedFilesystem& paused : status.paused_filesystems()) {
    PrintLine(out, "left alone",
              absl::StrCat("filesystem ", EscapeName(paused.uuid()), " until ",
                           FormatTime(paused.until().seconds()), ": ", ErrorLine(paused.error())));
  }
  if (!status.has_node()) return;
  out << '\n';
  PrintNode(out, status.node());
}

// What keeps it from working.
std::string NodeNote(const v1::NodeStatus& status) {
  std::vector<std::string> notes;
  if (status.has_error()) notes.push_back(ErrorLine(status.error()));
  if (status.has_hold()) notes.push_back(HoldText(status.hold()));
  for (const v1::Root& root : status.node().roots()) {
    for (const v1::Lack& lack : root.lacks()) {
      if (!lack.needed()) continue;
      notes.push_back(absl::StrCat("lacks ", EscapeName(lack.capability()), " on ", EscapeName(root.name())));
    }
  }
  for (const v1::PausedFilesystem& paused : status.paused_filesystems()) {
    notes.push_back(absl::StrCat("filesystem ", EscapeName(paused.uuid()), " left alone until ",
                                 FormatTime(paused.until().seconds()), ": ", ErrorLine(paused.error())));
  }
  return absl::StrJoin(notes, "; ");
}

int RunList(const Context& context, const Flags& flags) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::StatusOr<v1::ListNodesResponse> response = client.ListNodes(context.ShortTimeout());
    if (!response.ok()) return context.CallError("node list", flags.controller, response.status());
    if (context.json) return context.PrintJson(*response);
    Table table(
        {{"NAME"}, {"STATE"}, {"ADDRESS"}, {"ROOTS"}, {"TASKS", true}, {"VERSION"}, {"LAST SEEN"}, {"NOTE"}});
    for (const v1::NodeStatus& status : response->nodes()) {
      std::vector<std::string> roots;
      for (const v1::Root& root : status.node().roots()) roots.push_back(EscapeName(root.name()));
      const std::string version = EscapeName(status.node().version());
      const char* hold = !status.has_hold()                       ? ""
                         : status.hold().kind() == v1::HOLD_DRAIN ? ",DRAINED"
                                                                  : ",PAUSED";
      table.Add({EscapeName(status.name()), StateText(status.state()) + hold, AddressText(status),
                 roots.empty() ? "-" : absl::StrJoin(roots, ","), absl::StrCat(status.running_tasks()),
                 version.empty() ? "-" : version, FormatTime(status.last_seen().seconds()),
                 NodeNote(status)});
    }
    if (response->has_cluster_hold()) {
      context.console.out << "cluster " << HoldText(response->cluster_hold()) << "\n\n";
    }
    table.Flush(context.console.out);
    return kExitOk;
  });
}

int RunShowFromNode(const Context& context, const Flags& flags) {
  return WithClient<NodeClient>(context, flags.node, [&](const NodeClient& client) {
    const absl::StatusOr<v1::Node> node = client.GetNode(context.ShortTimeout());
    if (!node.ok()) return context.CallError("node show", flags.node, node.status());
    if (context.json) return context.PrintJson(*node);
    PrintNode(context.console.out, *node);
    return kExitOk;
  });
}

int RunShowFromController(const Context& context, const Flags& flags) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::StatusOr<v1::ListNodesResponse> response = client.ListNodes(context.ShortTimeout());
    if (!response.ok()) return context.CallError("node show", flags.controller, response.status());
    for (const v1::NodeStatus& status : response->nodes()) {
      if (status.name() != flags.name) continue;
      if (context.json) return context.PrintJson(status);
      PrintStatus(context.console.out, status);
      return kExitOk;
    }
    return context.CallError("node show", flags.controller,
                             MakeError(absl::StatusCode::kNotFound, "NODE_UNKNOWN",
                                       absl::StrCat("the controller knows no node ", flags.name)));
  });
}

}  // namespace

void AddNodeCommand(CLI::App& root, Context& context) {
  CLI::App* group = root.add_subcommand("node", "Nodes: who they are and what they can do");
  group->require_subcommand(1);
  const auto flags = std::make_shared<Flags>();

  CLI::App* list = group->add_subcommand("list", "All nodes that the controller knows");
  AddControllerFlag(*list, context, flags->controller);
  list->footer(Footer("  cowherd node list\n  cowherd node list -o json | jq -r '.nodes[].name'\n"));
  list->callback([&context, flags] { context.run = [&context, flags] { return RunList(context, *flags); }; });

  CLI::App* show =
      group->add_subcommand("show", "One node: by NAME as the controller sees it, else asked itself");
  CLI::Option* controller = AddControllerFlag(*show, context, flags->controller);
  CLI::Option* node = AddNodeFlag(*show, context, flags->node);
  CLI::Option* name =
      show->add_option("NAME", flags->name, "The node's name for the controller")->type_name("");
  name->excludes(node);
  controller->needs(name);
  show->footer(Footer("  cowherd node show storage-7\n  cowherd node show --node 127.0.0.1:7300\n"));
  show->callback([&context, flags, name] {
    const bool by_name = name->count() != 0;
    context.run = [&context, flags, by_name] {
      return by_name ? RunShowFromController(context, *flags) : RunShowFromNode(context, *flags);
    };
  });
  AddNodeHoldCommands(*group, context);
  AddNodeWindowCommand(*group, context);
}

}  // namespace cowherd
