#include "client/commands/hold.h"

#include <unistd.h>

#include <array>
#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/commands/error_text.h"
#include "client/format.h"
#include "client/hold_client.h"
#include "client/job_client.h"

namespace cowherd {
namespace {

struct Flags {
  std::string controller;
  std::string node;
  std::string reason;
};

int PrintNodeHold(const Context& context, const v1::NodeHold& node) {
  if (context.json) return context.PrintJson(node);
  context.console.out << "node " << EscapeName(node.node()) << ": "
                      << (node.has_hold() ? HoldText(node.hold()) : "works") << '\n';
  return kExitOk;
}

int PrintClusterHold(const Context& context, const v1::ClusterHold& cluster) {
  if (context.json) return context.PrintJson(cluster);
  context.console.out << "cluster: " << (cluster.has_hold() ? HoldText(cluster.hold()) : "works") << '\n';
  return kExitOk;
}

template <typename Request>
Request ForNode(const Context& context, const Flags& flags) {
  Request request;
  request.set_node(flags.node);
  request.set_reason(flags.reason);
  request.set_by(Asker(context));
  return request;
}

template <typename Request>
Request ForCluster(const Context& context, const Flags& flags) {
  Request request;
  request.set_reason(flags.reason);
  request.set_by(Asker(context));
  return request;
}

// Prints the answer, or why there is none.
template <typename Answer, typename Print>
int Finish(const Context& context, const Flags& flags, absl::string_view doing,
           const absl::StatusOr<Answer>& answer, Print print) {
  if (!answer.ok()) return context.CallError(doing, flags.controller, answer.status());
  return print(context, *answer);
}

int PauseNode(const Context& context, const Flags& flags) {
  return WithClient<HoldClient>(context, flags.controller, [&](const HoldClient& client) {
    return Finish(context, flags, "node pause",
                  client.PauseNode(ForNode<v1::PauseNodeRequest>(context, flags), context.ShortTimeout()),
                  PrintNodeHold);
  });
}

int DrainNode(const Context& context, const Flags& flags) {
  return WithClient<HoldClient>(context, flags.controller, [&](const HoldClient& client) {
    return Finish(context, flags, "node drain",
                  client.DrainNode(ForNode<v1::DrainNodeRequest>(context, flags), context.ShortTimeout()),
                  PrintNodeHold);
  });
}

int ResumeNode(const Context& context, const Flags& flags) {
  v1::ResumeNodeRequest request;
  request.set_node(flags.node);
  return WithClient<HoldClient>(context, flags.controller, [&](const HoldClient& client) {
    return Finish(context, flags, "node resume", client.ResumeNode(request, context.ShortTimeout()),
                  PrintNodeHold);
  });
}

int PauseCluster(const Context& context, const Flags& flags) {
  return WithClient<HoldClient>(context, flags.controller, [&](const HoldClient& client) {
    return Finish(
        context, flags, "cluster pause",
        client.PauseCluster(ForCluster<v1::PauseClusterRequest>(context, flags), context.ShortTimeout()),
        PrintClusterHold);
  });
}

int DrainCluster(const Context& context, const Flags& flags) {
  return WithClient<HoldClient>(context, flags.controller, [&](const HoldClient& client) {
    return Finish(
        context, flags, "cluster drain",
        client.DrainCluster(ForCluster<v1::DrainClusterRequest>(context, flags), context.ShortTimeout()),
        PrintClusterHold);
  });
}

int ResumeCluster(const Context& context, const Flags& flags) {
  return WithClient<HoldClient>(context, flags.controller, [&](const HoldClient& client) {
    return Finish(context, flags, "cluster resume", client.ResumeCluster(context.ShortTimeout()),
                  PrintClusterHold);
  });
}

int ShowCluster(const Context& context, const Flags& flags) {
  return WithClient<JobClient>(context, flags.controller, [&](const JobClient& client) {
    const absl::StatusOr<v1::ListNodesResponse> nodes = client.ListNodes(context.ShortTimeout());
    if (!nodes.ok()) return context.CallError("cluster show", flags.controller, nodes.status());
    v1::ClusterHold cluster;
    if (nodes->has_cluster_hold()) *cluster.mutable_hold() = nodes->cluster_hold();
    return PrintClusterHold(context, cluster);
  });
}

struct Command {
  const char* name;
  const char* what;
  const char* footer;
  int (*run)(const Context&, const Flags&);
  bool gives_reason;
};

void Add(CLI::App& group, Context& context, const Command& command, bool of_node) {
  CLI::App* added = group.add_subcommand(command.name, command.what);
  const auto flags = std::make_shared<Flags>();
  AddControllerFlag(*added, context, flags->controller);
  if (of_node) added->add_option("NAME", flags->node, "The node's name")->required()->type_name("");
  if (command.gives_reason) {
    added->add_option("--reason", flags->reason, "Why, for others to read")->type_name("TEXT");
  }
  added->footer(Footer(command.footer));
  added->callback([&context, flags, run = command.run] {
    context.run = [&context, flags, run] { return run(context, *flags); };
  });
}

}  // namespace

std::string Asker(const Context& context) {
  std::string user = context.console.environment("USER");
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) return user;
  return absl::StrCat(user, "@", host.data());
}

std::string HoldText(const v1::Hold& hold) {
  return absl::StrCat(hold.kind() == v1::HOLD_DRAIN ? "drained" : "paused", hold.by().empty() ? "" : " by ",
                      EscapeName(hold.by()), " since ", FormatTime(hold.since().seconds()),
                      hold.reason().empty() ? "" : ": ", EscapeName(hold.reason()));
}

void AddNodeHoldCommands(CLI::App& nodes, Context& context) {
  const Command commands[] = {
      {"pause", "Stop a node's tasks, and start none",
       "  cowherd node pause storage-7 --reason 'disk is being replaced'\n"
       "What was shared stays shared; the tasks wait, and look again for what is left when the node is "
       "resumed.\n",
       PauseNode, true},
      {"drain", "Let a node's tasks end, and start none",
       "  cowherd node drain storage-7 --reason 'kernel update'\n"
       "cowherd node show storage-7 tells how many still run.\n",
       DrainNode, true},
      {"resume", "Go on with a node that is paused or drained", "  cowherd node resume storage-7\n",
       ResumeNode, false},
  };
  for (const Command& command : commands) Add(nodes, context, command, /*of_node=*/true);
}

void AddClusterCommand(CLI::App& root, Context& context) {
  CLI::App* group = root.add_subcommand("cluster", "All nodes together: pause and go on");
  group->require_subcommand(1);
  const Command commands[] = {
      {"show", "Whether the cluster works", "  cowherd cluster show\n", ShowCluster, false},
      {"pause", "Stop all tasks, and start none", "  cowherd cluster pause --reason 'backup is running'\n",
       PauseCluster, true},
      {"drain", "Let all tasks end, and start none", "  cowherd cluster drain --reason 'upgrade'\n",
       DrainCluster, true},
      {"resume", "Go on with a cluster that is paused or drained",
       "  cowherd cluster resume\nNodes that are paused or drained themselves stay so.\n", ResumeCluster,
       false},
  };
  for (const Command& command : commands) Add(*group, context, command, /*of_node=*/false);
}

}  // namespace cowherd
