#include "server/sched/node_registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

absl::Status NameTaken(const std::string& name, const std::string& by, const std::string& refused) {
  return MakeError(absl::StatusCode::kAlreadyExists, "NODE_NAME_TAKEN",
                   absl::StrCat("the node at ", refused, " is called \"", name, "\" as is the one at ", by,
                                "; give each node its own name (--name)"));
}

}  // namespace

absl::Status NodeRegistry::SetTargets(const std::string& source, const std::vector<Target>& targets) {
  std::map<std::string, NodeEntry> next;
  std::map<std::string, std::string> names;
  for (const auto& [address, entry] : nodes_) {
    if (entry.source == source) continue;
    next[address] = entry;
    if (entry.named) names[entry.name] = address;
  }
  for (const Target& target : targets) {
    if (next.count(target.endpoint.address) > 0) continue;
    NodeEntry entry;
    const auto known = nodes_.find(target.endpoint.address);
    if (known != nodes_.end() && known->second.source == source) entry = known->second;
    entry.endpoint = target.endpoint;
    entry.source = source;
    if (!target.name.empty()) {
      const auto [taken, is_new] = names.emplace(target.name, target.endpoint.address);
      if (!is_new) return NameTaken(target.name, taken->second, target.endpoint.address);
      entry.name = target.name;
      entry.named = true;
    }
    next[target.endpoint.address] = std::move(entry);
  }
  nodes_ = std::move(next);
  return absl::OkStatus();
}

bool NodeRegistry::Heard(const std::string& address, const absl::StatusOr<NodeFacts>& answer,
                         absl::Time now) {
  const auto found = nodes_.find(address);
  if (found == nodes_.end()) return false;
  NodeEntry& entry = found->second;
  const NodeState before = entry.state;
  const absl::Status error_before = entry.error;
  entry.error = answer.status();
  if (answer.ok() && !entry.named) {
    if (answer->name.empty()) {
      entry.error = MakeError(absl::StatusCode::kFailedPrecondition, "NODE_UNNAMED",
                              absl::StrCat("the node at ", address, " gives no name; set its --name"));
    }
    for (const auto& [other_address, other] : nodes_) {
      if (other_address == address || other.name != answer->name) continue;
      if (other.named || other.state != NodeState::kDown) {
        entry.error = NameTaken(answer->name, other_address, address);
      }
    }
  }
  if (!entry.error.ok()) {
    entry.state = NodeState::kDown;
    // A refused name is not its name.
    if (answer.ok()) entry.name.clear();
    return before != entry.state || error_before.code() != entry.error.code();
  }
  if (!entry.named) {
    for (auto& [other_address, other] : nodes_) {
      if (other_address != address && other.name == answer->name) other.name.clear();
    }
    entry.name = answer->name;
  }
  entry.state = NodeState::kUp;
  entry.last_seen = now;
  entry.facts = *answer;
  return before != entry.state;
}

const NodeEntry* NodeRegistry::Find(const std::string& name) const {
  if (name.empty()) return nullptr;
  for (const auto& [address, entry] : nodes_) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

std::set<std::string> NodeRegistry::UpNames() const {
  std::set<std::string> names;
  for (const auto& [address, entry] : nodes_) {
    if (entry.state == NodeState::kUp) names.insert(entry.name);
  }
  return names;
}

}  // namespace cowherd
