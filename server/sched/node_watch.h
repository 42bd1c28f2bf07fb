#ifndef COWHERD_SERVER_SCHED_NODE_WATCH_H_
#define COWHERD_SERVER_SCHED_NODE_WATCH_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_link.h"
#include "server/sched/node_registry.h"
#include "server/sched/probes.h"

namespace cowherd {

// Asks the nodes how they are, and keeps what they answer. One thread; answers reach it by the mailbox.
class NodeWatch {
 public:
  struct Options {
    // How often each address is asked.
    absl::Duration probe_interval;
    // As NodeRegistry's.
    absl::Duration lost_after;
  };

  // All must outlive it; `mailbox` is also held by callbacks of `link`. `changed` is told of each node whose
  // state has changed, `answered` of each node that has told of itself, after that.
  NodeWatch(NodeLink& link, const Clock& clock, std::shared_ptr<Mailbox> mailbox, Options options,
            std::function<void(const std::string&)> changed,
            std::function<void(const std::string&)> answered);
  NodeWatch(const NodeWatch&) = delete;
  NodeWatch& operator=(const NodeWatch&) = delete;

  // As NodeRegistry's.
  absl::Status SetTargets(const std::string& source, const std::vector<Target>& targets, absl::Time now);
  void Expect(const std::string& node, absl::Time now) { nodes_.Expect(node, now); }
  // This source will tell of addresses.
  void Await(const std::string& source, absl::Time now);
  // Whether nodes are likely to be missing: a source that is awaited has not told yet, or an address whose
  // node gives the name was not asked yet. At most 20 s from Await on: some may never answer.
  bool Discovers(absl::Time now) const;

  // Asks some of those whom it is time to ask.
  void Probe(absl::Time now);
  // When to call it again: in the past while there are more.
  absl::Time wake() const { return probes_.wake(); }
  // Asks the node at once, or as soon as it has answered what it was asked before.
  void Hurry(const std::string& node);

  // As NodeRegistry's; `changed` is told.
  void SetAside(const std::string& node, const absl::Status& why);

  // The nodes that are lost from now on; `changed` is told of each.
  std::vector<std::string> Expire(absl::Time now);
  absl::Time next_expiry() const { return nodes_.next_expiry(); }

  const NodeRegistry& nodes() const { return nodes_; }

  // How many nodes, and addresses without one, are in which state: by NodeState's name, "vanished" for those
  // that no source names. Only if that may have changed since it was asked last.
  absl::optional<std::map<std::string, uint64_t>> TakeCounts();
  // How many are set aside.
  uint64_t CountAside() const;

 private:
  void Answered(const std::string& address, const absl::StatusOr<NodeFacts>& answer);
  void Changed(const std::string& node);

  NodeLink& link_;
  const Clock& clock_;
  const std::shared_ptr<Mailbox> mailbox_;
  const Options options_;
  const std::function<void(const std::string&)> changed_;
  const std::function<void(const std::string&)> answered_;
  NodeRegistry nodes_;
  Probes probes_;
  std::set<std::string> awaited_;
  absl::Time discovers_until_ = absl::InfinitePast();
  bool counts_changed_ = true;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NODE_WATCH_H_
