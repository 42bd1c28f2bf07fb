#ifndef COWHERD_SERVER_SCHED_NODE_REGISTRY_H_
#define COWHERD_SERVER_SCHED_NODE_REGISTRY_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/sched/node_facts.h"

namespace cowherd {

// As NodeState of controller.proto.
enum class NodeState { kUnknown, kUp, kDown, kRefused, kLost };

// "unknown", "up": for the log and metrics.
absl::string_view NodeStateName(NodeState state);

// Where a node can be dialled.
struct Endpoint {
  // host:port or unix:path.
  std::string address;
  // The name that the node's certificate must carry, where it is not the address's host.
  std::string tls_name;
};

struct Target {
  // Empty: as the node calls itself.
  std::string name;
  Endpoint endpoint;
};

// An address, and how it was when last probed.
struct AddressEntry {
  Endpoint endpoint;
  std::string source;
  // The node that is there. Empty: not known yet.
  std::string name;
  // Given by its source, so it does not change.
  bool named = false;
  // Up, down, or not probed yet.
  NodeState state = NodeState::kUnknown;
  absl::Status error;
  absl::Time last_seen = absl::InfinitePast();
  // Since when it has answered without a failure between.
  absl::Time up_since = absl::InfiniteFuture();

 private:
  friend class NodeRegistry;
  // Which start of which node answered, and its first and last answer here, as the registry counts answers.
  std::string instance;
  uint64_t first_heard = 0;
  uint64_t last_heard = 0;
};

// A node: all addresses that are one name's.
struct NodeEntry {
  // By which jobs name it.
  std::string name;
  NodeState state = NodeState::kUnknown;
  // Why it is not up.
  absl::Status error;
  // The address in use: one that answers, the same for as long as it does, then the one that has answered
  // longest. Empty: no source names the node any more.
  Endpoint endpoint;
  std::set<std::string> addresses;
  absl::Time last_seen = absl::InfinitePast();
  // What it last said of itself.
  absl::optional<NodeFacts> facts;
  // It is refused since it was set aside.
  bool set_aside = false;

 private:
  friend class NodeRegistry;
  // The instance that was set aside, and why. Empty: none was.
  std::string aside;
  absl::Status aside_why;
  absl::Time not_up_since = absl::InfinitePast();
  // When it is to be lost, or forgotten.
  absl::Time due = absl::InfiniteFuture();
};

// The nodes known and how they are. Pure state: one thread, no I/O.
//
// Two nodes of one name are told by their instances (instance_id and start): both are refused. One that was
// started anew is not taken for two, even if only some of its addresses have told of it yet: an instance that
// another has followed must be heard of once more.
class NodeRegistry {
 public:
  // A node is lost when it was not up for `lost_after`. One that no source names is forgotten a day later.
  explicit NodeRegistry(absl::Duration lost_after) : lost_after_(lost_after) {}

  // Replaces what this source told before. Addresses it tells again keep their state; several with one name
  // are one node. An address that another source has already is left out. ALREADY_EXISTS "ADDRESS_TAKEN",
  // with nothing changed: one address has two names.
  absl::Status SetTargets(const std::string& source, const std::vector<Target>& targets, absl::Time now);

  // A task waits for this node, which no source may have named yet: it counts as down from now on.
  void Expect(const std::string& name, absl::Time now);

  // A probe's answer. The names of nodes whose state it changed; each of these that has become kUnknown or
  // kRefused is to be probed again at once. News of an address that is gone are dropped. Addresses that give
  // no name are down, FAILED_PRECONDITION "NODE_UNNAMED".
  std::vector<std::string> Heard(const std::string& address, const absl::StatusOr<NodeFacts>& answer,
                                 absl::Time now);

  // The node is up, but is to be given nothing: refused, for this reason, until another instance of it
  // answers. True: its state has changed.
  bool SetAside(const std::string& name, const absl::Status& why, absl::Time now);

  // The names of nodes that are lost from now on: UNAVAILABLE "NODE_LOST".
  std::vector<std::string> Expire(absl::Time now);
  // When Expire has something to do.
  absl::Time next_expiry() const;

  // By name.
  const std::map<std::string, NodeEntry>& nodes() const { return nodes_; }
  // By address. Those without a name belong to no node yet.
  const std::map<std::string, AddressEntry>& addresses() const { return addresses_; }

  // Null: no node has this name.
  const NodeEntry* Find(const std::string& name) const;

  const std::set<std::string>& UpNames() const { return up_; }

 private:
  void Join(AddressEntry& entry, const std::string& name, absl::Time now);
  void Leave(const std::string& address, const std::string& name);
  // Works out a node's state from its addresses. True: it changed.
  bool Refresh(const std::string& name, absl::Time now);
  void Choose(NodeEntry& node);
  void SetDue(NodeEntry& node, absl::Time due);

  const absl::Duration lost_after_;
  std::map<std::string, AddressEntry> addresses_;
  std::map<std::string, NodeEntry> nodes_;
  std::set<std::string> up_;
  std::set<std::pair<absl::Time, std::string>> due_;
  uint64_t answers_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NODE_REGISTRY_H_
