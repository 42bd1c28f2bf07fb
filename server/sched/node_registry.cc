#include "server/sched/node_registry.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr absl::Duration kForgetAfter = absl::Hours(24);

absl::Status NameTaken(const std::string& name, const std::vector<std::string>& addresses) {
  return MakeError(absl::StatusCode::kAlreadyExists, "NODE_NAME_TAKEN",
                   absl::StrCat("different nodes are called \"", name, "\": ", absl::StrJoin(addresses, ", "),
                                "; give each its own name (--name), or take one out"));
}

absl::Status AddressTaken(const std::string& address, const std::string& one, const std::string& other) {
  return MakeError(
      absl::StatusCode::kAlreadyExists, "ADDRESS_TAKEN",
      absl::StrCat("the address ", address, " is given as \"", one, "\" and as \"", other, "\""));
}

absl::Status Unnamed(const std::string& address) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "NODE_UNNAMED",
                   absl::StrCat("the node at ", address, " gives no name; set its --name"));
}

absl::Status Vanished(const std::string& name) {
  return MakeError(absl::StatusCode::kUnavailable, "NODE_VANISHED",
                   absl::StrCat("no --node and no --node_dns names \"", name, "\" now"));
}

absl::Status Lost(absl::Duration for_long, const absl::Status& why) {
  return MakeError(absl::StatusCode::kUnavailable, "NODE_LOST",
                   absl::StrCat("not up for ", absl::FormatDuration(for_long), " and more",
                                why.ok() ? "" : ": ", why.message()));
}

}  // namespace

absl::string_view NodeStateName(NodeState state) {
  switch (state) {
    case NodeState::kUnknown:
      return "unknown";
    case NodeState::kUp:
      return "up";
    case NodeState::kDown:
      return "down";
    case NodeState::kRefused:
      return "refused";
    case NodeState::kLost:
      return "lost";
  }
  return "";
}

absl::Status NodeRegistry::SetTargets(const std::string& source, const std::vector<Target>& targets,
                                      absl::Time now) {
  std::map<std::string, const Target*> told;
  for (const Target& target : targets) {
    const auto [before, is_new] = told.emplace(target.endpoint.address, &target);
    if (!is_new && before->second->name != target.name) {
      return AddressTaken(target.endpoint.address, before->second->name, target.name);
    }
  }
  std::set<std::string> touched;
  for (auto it = addresses_.begin(); it != addresses_.end();) {
    if (it->second.source != source || told.count(it->first) > 0) {
      ++it;
      continue;
    }
    touched.insert(it->second.name);
    Leave(it->first, it->second.name);
    it = addresses_.erase(it);
  }
  for (const auto& [address, target] : told) {
    AddressEntry& entry = addresses_[address];
    if (entry.source.empty()) entry.source = source;
    if (entry.source != source) continue;
    entry.endpoint = target->endpoint;
    entry.named = !target->name.empty();
    if (entry.named) Join(entry, target->name, now);
    touched.insert(entry.name);
  }
  for (const std::string& name : touched) Refresh(name, now);
  return absl::OkStatus();
}

void NodeRegistry::Expect(const std::string& name, absl::Time now) {
  const auto [found, is_new] = nodes_.emplace(name, NodeEntry());
  if (!is_new) return;
  found->second.name = name;
  found->second.not_up_since = now;
  Refresh(name, now);
}

void NodeRegistry::Join(AddressEntry& entry, const std::string& name, absl::Time now) {
  if (entry.name == name) return;
  Leave(entry.endpoint.address, entry.name);
  entry.name = name;
  Expect(name, now);
  nodes_.at(name).addresses.insert(entry.endpoint.address);
}

void NodeRegistry::Leave(const std::string& address, const std::string& name) {
  const auto found = nodes_.find(name);
  if (found != nodes_.end()) found->second.addresses.erase(address);
}

std::vector<std::string> NodeRegistry::Heard(const std::string& address,
                                             const absl::StatusOr<NodeFacts>& answer, absl::Time now) {
  const auto found = addresses_.find(address);
  if (found == addresses_.end()) return {};
  AddressEntry& entry = found->second;
  entry.error = answer.status();
  if (answer.ok() && !entry.named && answer->name.empty()) entry.error = Unnamed(address);
  std::set<std::string> touched = {entry.name};
  if (entry.error.ok()) {
    if (!entry.named) Join(entry, answer->name, now);
    touched.insert(entry.name);
    if (entry.state != NodeState::kUp) entry.up_since = now;
    entry.state = NodeState::kUp;
    entry.last_seen = now;
    std::string instance = absl::StrCat(answer->instance_id, "@", absl::ToUnixMicros(answer->started));
    entry.last_heard = ++answers_;
    if (entry.instance != instance) {
      entry.instance = std::move(instance);
      entry.first_heard = entry.last_heard;
    }
    NodeEntry& node = nodes_.at(entry.name);
    node.last_seen = now;
    node.facts = *answer;
  } else {
    entry.state = NodeState::kDown;
    entry.up_since = absl::InfiniteFuture();
    // Where it is silent, what was heard before no longer speaks for a second node.
    entry.instance.clear();
  }
  std::vector<std::string> changed;
  for (const std::string& name : touched) {
    if (Refresh(name, now)) changed.push_back(name);
  }
  return changed;
}

bool NodeRegistry::Refresh(const std::string& name, absl::Time now) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) return false;
  NodeEntry& node = found->second;
  const NodeState before = node.state;
  std::vector<const AddressEntry*> up;
  bool untried = false;
  for (const std::string& address : node.addresses) {
    const AddressEntry& entry = addresses_.at(address);
    if (entry.state == NodeState::kUp) up.push_back(&entry);
    untried = untried || entry.state == NodeState::kUnknown;
  }
  bool two = false;
  bool unsure = false;
  for (const AddressEntry* one : up) {
    for (const AddressEntry* other : up) {
      if (one->instance == other->instance) continue;
      // Heard of before and after the other: both live.
      const bool overlap = one->first_heard < other->last_heard && other->first_heard < one->last_heard;
      (overlap ? two : unsure) = true;
    }
  }
  Choose(node);
  node.set_aside = !two && !unsure && !up.empty() && up.front()->instance == node.aside;
  if (two) {
    node.state = NodeState::kRefused;
    std::vector<std::string> claims;
    claims.reserve(up.size());
    for (const AddressEntry* entry : up) claims.push_back(entry->endpoint.address);
    node.error = NameTaken(name, claims);
  } else if (unsure) {
    node.state = NodeState::kUnknown;
    node.error = absl::OkStatus();
  } else if (node.set_aside) {
    node.state = NodeState::kRefused;
    node.error = node.aside_why;
  } else if (!up.empty()) {
    node.state = NodeState::kUp;
    node.error = absl::OkStatus();
  } else if (node.addresses.empty()) {
    node.state = NodeState::kDown;
    node.error = Vanished(name);
  } else {
    node.state = untried ? NodeState::kUnknown : NodeState::kDown;
    node.error = addresses_.at(node.endpoint.address).error;
  }
  if (node.state == NodeState::kUp) {
    up_.insert(name);
  } else {
    up_.erase(name);
  }
  if (!up.empty()) {
    node.not_up_since = now;
    SetDue(node, absl::InfiniteFuture());
    return before != node.state;
  }
  if (before == NodeState::kLost) {
    node.state = NodeState::kLost;
    node.error = Lost(lost_after_, node.error);
  }
  const absl::Time lost_at = node.not_up_since + lost_after_;
  if (before != NodeState::kLost) {
    SetDue(node, lost_at);
  } else {
    SetDue(node, node.addresses.empty() ? lost_at + kForgetAfter : absl::InfiniteFuture());
  }
  return before != node.state;
}

void NodeRegistry::Choose(NodeEntry& node) {
  const AddressEntry* best = nullptr;
  for (const std::string& address : node.addresses) {
    const AddressEntry& entry = addresses_.at(address);
    if (address == node.endpoint.address && entry.state == NodeState::kUp) {
      best = &entry;
      break;
    }
    // Where none is up, the one that was seen last.
    if (best == nullptr || entry.up_since < best->up_since ||
        (entry.up_since == best->up_since && entry.last_seen > best->last_seen)) {
      best = &entry;
    }
  }
  node.endpoint = best == nullptr ? Endpoint() : best->endpoint;
}

void NodeRegistry::SetDue(NodeEntry& node, absl::Time due) {
  if (node.due == due) return;
  due_.erase({node.due, node.name});
  node.due = due;
  if (due != absl::InfiniteFuture()) due_.insert({due, node.name});
}

bool NodeRegistry::SetAside(const std::string& name, const absl::Status& why, absl::Time now) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || found->second.state != NodeState::kUp) return false;
  NodeEntry& node = found->second;
  node.aside = addresses_.at(node.endpoint.address).instance;
  node.aside_why = why;
  return Refresh(name, now);
}

std::vector<std::string> NodeRegistry::Expire(absl::Time now) {
  // One step each: who is told of a node that is lost finds it.
  const std::vector<std::pair<absl::Time, std::string>> due(
      due_.begin(), due_.lower_bound({now + absl::Nanoseconds(1), ""}));
  std::vector<std::string> lost;
  for (const auto& [time, name] : due) {
    NodeEntry& node = nodes_.at(name);
    if (node.state == NodeState::kLost) {
      due_.erase({time, name});
      nodes_.erase(name);
      continue;
    }
    node.state = NodeState::kLost;
    Refresh(name, now);
    lost.push_back(name);
  }
  return lost;
}

absl::Time NodeRegistry::next_expiry() const {
  return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first;
}

const NodeEntry* NodeRegistry::Find(const std::string& name) const {
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : &found->second;
}

}  // namespace cowherd
