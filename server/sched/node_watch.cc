#include "server/sched/node_watch.h"

#include <algorithm>
#include <map>
#include <utility>

#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// At a time: a new controller asks a thousand nodes at once, and those that have answered are not to wait for
// all others to be asked.
constexpr size_t kMaxProbes = 128;

constexpr absl::Duration kDiscovery = absl::Seconds(20);

}  // namespace

NodeWatch::NodeWatch(NodeLink& link, const Clock& clock, std::shared_ptr<Mailbox> mailbox, Options options,
                     std::function<void(const std::string&)> changed,
                     std::function<void(const std::string&)> answered)
    : link_(link),
      clock_(clock),
      mailbox_(std::move(mailbox)),
      options_(options),
      changed_(std::move(changed)),
      answered_(std::move(answered)),
      nodes_(options.lost_after) {}

absl::Status NodeWatch::SetTargets(const std::string& source, const std::vector<Target>& targets,
                                   absl::Time now) {
  std::map<std::string, NodeState> before;
  for (const auto& [name, node] : nodes_.nodes()) before[name] = node.state;
  RETURN_IF_ERROR(nodes_.SetTargets(source, targets, now));
  awaited_.erase(source);
  for (const std::string& address : probes_.Retain(nodes_.addresses())) {
    Log(LogLevel::kInfo, "address gone", {{"address", address}});
    link_.Forget(address);
  }
  for (const auto& [address, entry] : nodes_.addresses()) probes_.Add(address);
  counts_changed_ = true;
  for (const auto& [name, node] : nodes_.nodes()) {
    const auto known = before.find(name);
    if (known != before.end() && known->second != node.state) Changed(name);
  }
  return absl::OkStatus();
}

void NodeWatch::Await(const std::string& source, absl::Time now) {
  awaited_.insert(source);
  discovers_until_ = now + kDiscovery;
}

bool NodeWatch::Discovers(absl::Time now) const {
  if (now >= discovers_until_) return false;
  if (!awaited_.empty()) return true;
  const auto& addresses = nodes_.addresses();
  return std::any_of(addresses.begin(), addresses.end(), [](const auto& address) {
    return address.second.name.empty() && address.second.state == NodeState::kUnknown;
  });
}

void NodeWatch::Probe(absl::Time now) {
  for (const std::string& address : probes_.Due(now, kMaxProbes)) {
    probes_.Sent(address, now + options_.probe_interval);
    link_.Probe(nodes_.addresses().at(address).endpoint, [this, mailbox = mailbox_,
                                                          address](absl::StatusOr<NodeFacts> answer) {
      mailbox->PostNews([this, address, answer = std::move(answer)] { Answered(address, answer); });
    });
  }
}

void NodeWatch::Answered(const std::string& address, const absl::StatusOr<NodeFacts>& answer) {
  if (!probes_.Known(address)) return;
  probes_.Done(address);
  for (const std::string& name : nodes_.Heard(address, answer, clock_.Now())) Changed(name);
  const std::string name = nodes_.addresses().at(address).name;
  if (name.empty()) counts_changed_ = true;
  if (answer.ok() && !name.empty()) answered_(name);
}

void NodeWatch::Hurry(const std::string& node) {
  const NodeEntry* entry = nodes_.Find(node);
  if (entry == nullptr) return;
  for (const std::string& address : entry->addresses) probes_.Hurry(address);
}

void NodeWatch::SetAside(const std::string& node, const absl::Status& why) {
  if (nodes_.SetAside(node, why, clock_.Now())) Changed(node);
}

void NodeWatch::Changed(const std::string& name) {
  counts_changed_ = true;
  const NodeEntry& node = *nodes_.Find(name);
  Log(node.error.ok() ? LogLevel::kInfo : LogLevel::kWarning, "node changed",
      {{"node", name},
       {"state", NodeStateName(node.state)},
       {"address", node.endpoint.address},
       {"error", node.error}});
  if (node.state == NodeState::kUnknown || node.state == NodeState::kRefused) Hurry(name);
  changed_(name);
}

std::vector<std::string> NodeWatch::Expire(absl::Time now) {
  const size_t known = nodes_.nodes().size();
  std::vector<std::string> lost = nodes_.Expire(now);
  if (nodes_.nodes().size() != known) counts_changed_ = true;
  for (const std::string& name : lost) Changed(name);
  return lost;
}

absl::optional<std::map<std::string, uint64_t>> NodeWatch::TakeCounts() {
  if (!std::exchange(counts_changed_, false)) return absl::nullopt;
  std::map<std::string, uint64_t> counts;
  for (const auto& [name, node] : nodes_.nodes()) {
    ++counts[node.addresses.empty() ? "vanished" : std::string(NodeStateName(node.state))];
  }
  for (const auto& [address, entry] : nodes_.addresses()) {
    if (entry.name.empty()) ++counts[std::string(NodeStateName(entry.state))];
  }
  return counts;
}

uint64_t NodeWatch::CountAside() const {
  return static_cast<uint64_t>(std::count_if(nodes_.nodes().begin(), nodes_.nodes().end(),
                                             [](const auto& node) { return node.second.set_aside; }));
}

}  // namespace cowherd
