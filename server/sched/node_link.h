#ifndef COWHERD_SERVER_SCHED_NODE_LINK_H_
#define COWHERD_SERVER_SCHED_NODE_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/jobs/job.h"
#include "server/sched/node_facts.h"
#include "server/sched/node_registry.h"

namespace cowherd {

// What to run: RunTaskRequest of node.proto, the work still to be cut out of the job's spec.
struct RunOrder {
  std::string task_id;
  std::string job_id;
  uint32_t attempt = 0;
  uint64_t epoch = 0;
  std::string spec;
  std::string node;
  std::string root;
  std::vector<std::string> paths;
  // The most it may look at and compare. 0: no limit beyond the spec's.
  uint64_t bytes_per_second = 0;
  // A new run ends by itself after this.
  absl::Duration work_for = absl::InfiniteDuration();
};

// One message of a run.
struct RunEvent {
  std::string run_id;
  Totals totals;
  // The run is over, for this reason; OK: complete.
  bool over = false;
  absl::Status error;
  // Opaque; only when over. Empty: none.
  std::string results;
  // When the node that runs it had begun. InfinitePast: it does not say.
  absl::Time node_started = absl::InfinitePast();
};

// The way to the nodes. Calls do not block; callbacks come on any thread, and must not block.
class NodeLink {
 public:
  using ProbeDone = std::function<void(absl::StatusOr<NodeFacts>)>;
  using CancelDone = std::function<void(absl::Status)>;

  // A stream. Going away, it is dropped, and the task goes on; callbacks may still come a little later.
  class Run {
   public:
    virtual ~Run() = default;
    // Asks for the next event. Once at most for each event that came.
    virtual void Next() = 0;
  };

  struct RunEvents {
    // The first comes by itself.
    std::function<void(RunEvent)> on_event;
    // The stream's end; nothing comes after it.
    std::function<void(absl::Status)> on_end;
  };

  virtual ~NodeLink() = default;

  // Ends within 2 s.
  virtual void Probe(const Endpoint& endpoint, ProbeDone done) = 0;
  virtual std::unique_ptr<Run> RunTask(const Endpoint& endpoint, const RunOrder& order, RunEvents events) = 0;
  // Ends within 2 s. NOT_FOUND: the node does not know the task.
  virtual void CancelTask(const Endpoint& endpoint, const std::string& task_id, uint64_t epoch,
                          CancelDone done) = 0;
  // Nobody will dial this address again soon.
  virtual void Forget(const std::string& address) = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NODE_LINK_H_
