#ifndef COWHERD_SERVER_SCHED_RESTS_H_
#define COWHERD_SERVER_SCHED_RESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/jobs/job_store.h"
#include "server/sched/holds.h"
#include "server/sched/node_registry.h"
#include "server/sched/openings.h"
#include "server/sched/scheduler.h"
#include "server/sched/window.h"

namespace cowherd {

// What keeps work from being done though nothing is wrong: pauses and drains that people asked for, and
// maintenance windows of jobs (by sequence) and nodes. A hold is in the store before it counts. One thread.
class Rests {
 public:
  // `store` must outlive it.
  explicit Rests(JobStore& store) : store_(store) {}
  Rests(const Rests&) = delete;
  Rests& operator=(const Rests&) = delete;

  // Takes up the holds that are in the store. Once, first. DATA_LOSS "STORE_CORRUPT".
  absl::Status Load();

  // What rests already gets the new hold; `since` is set here.
  absl::Status Hold(const std::string& name, cowherd::Hold hold, absl::Time now);
  // OK also if it does not rest.
  absl::Status Lift(const std::string& name);
  const Holds& holds() const { return holds_; }

  Openings<uint64_t>& jobs() { return jobs_; }
  Openings<std::string>& nodes() { return nodes_; }
  // When a window of either opens or closes next.
  absl::Time wake() const;

  bool JobIsOpen(uint64_t job) const { return jobs_.IsOpen(job); }
  // Neither its windows nor a pause, its own or the cluster's, keep what runs on the node from going on.
  bool MayRun(const std::string& node) const;
  // Whether the node is given tasks. `entry` null: the node is not known.
  Gate GateOf(const std::string& node, const NodeEntry* entry) const;
  // How long a task of this job may work on this node: until the first of the windows closes.
  absl::Duration OpenFor(uint64_t job, const std::string& node, absl::Time now) const;

  // Why nothing of the job is done now on any node, or nothing at all on this node. OK: nothing here says so.
  absl::Status WhyJob(uint64_t job) const;
  absl::Status WhyNode(const std::string& node) const;

 private:
  JobStore& store_;
  Holds holds_;
  Openings<uint64_t> jobs_;
  Openings<std::string> nodes_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_RESTS_H_
