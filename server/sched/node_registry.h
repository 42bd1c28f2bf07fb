#ifndef COWHERD_SERVER_SCHED_NODE_REGISTRY_H_
#define COWHERD_SERVER_SCHED_NODE_REGISTRY_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/sched/node_facts.h"

namespace cowherd {

enum class NodeState { kUnknown, kUp, kDown };

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

struct NodeEntry {
  // By which jobs name it. Empty: not known yet.
  std::string name;
  Endpoint endpoint;
  NodeState state = NodeState::kUnknown;
  absl::Status error;
  absl::Time last_seen = absl::InfinitePast();
  // What it last said of itself.
  absl::optional<NodeFacts> facts;
  // Given by its source, so it does not change.
  bool named = false;
  std::string source;
};

// The nodes known and how they are. Pure state: one thread, no I/O.
class NodeRegistry {
 public:
  // Replaces what this source told before. Nodes it tells again keep their state. An address that another
  // source has already is left out. ALREADY_EXISTS "NODE_NAME_TAKEN", with nothing changed: two targets have
  // one name.
  absl::Status SetTargets(const std::string& source, const std::vector<Target>& targets);

  // A probe's answer. True: its state changed. News of an address that is gone are dropped. A node that calls
  // itself as another one that is not down is named: it counts as down, ALREADY_EXISTS "NODE_NAME_TAKEN".
  bool Heard(const std::string& address, const absl::StatusOr<NodeFacts>& answer, absl::Time now);

  // By address.
  const std::map<std::string, NodeEntry>& nodes() const { return nodes_; }

  // Null: no node has this name.
  const NodeEntry* Find(const std::string& name) const;

  std::set<std::string> UpNames() const;

 private:
  std::map<std::string, NodeEntry> nodes_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NODE_REGISTRY_H_
