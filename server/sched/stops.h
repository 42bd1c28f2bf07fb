#ifndef COWHERD_SERVER_SCHED_STOPS_H_
#define COWHERD_SERVER_SCHED_STOPS_H_

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/sched/node_registry.h"
#include "server/sched/task_key.h"

namespace cowherd {

// Open tasks that their nodes are to be told to stop, and how far that is. Pure state. Times are when to look
// at a task next.
class Stops {
 public:
  // Look at it at once, whatever was planned.
  void Hurry(TaskKey task);
  // A stop is on its way to the node; say it again at `again`.
  void Sent(TaskKey task, absl::Time again);
  // The node took the stop.
  void Taken(TaskKey task);
  // It did not.
  void NotTaken(TaskKey task);
  // Look at it then.
  void Later(TaskKey task, absl::Time when);
  // It need not stop now. What was sent may still act.
  void Rest(TaskKey task);
  // A run that knows nothing of a stop that an earlier one was told.
  void NewRun(TaskKey task);
  void Forget(TaskKey task);

  // One is on its way, so no other need be sent.
  bool in_flight(TaskKey task) const;
  bool taken(TaskKey task) const;

  // What to do about a task that is to stop and whose time has come.
  enum class Step {
    // One stop is on its way, or the end has come, or nobody knows where the node is.
    kWait,
    // Tell the node.
    kSend,
    // The node took the stop, and there is no stream: ask for the last figures.
    kAttach,
    // The node will not come back to tell of the task, which may go on there.
    kGone,
  };
  // `node` null: it is not known. `has_end`: it came, and is not stored.
  Step NextStep(TaskKey task, const NodeEntry* node, bool has_stream, bool has_end) const;

  std::vector<TaskKey> Due(absl::Time now) const;
  absl::Time wake() const;

 private:
  struct Stop {
    bool in_flight = false;
    bool taken = false;
    absl::Time next = absl::InfiniteFuture();
  };
  void Plan(TaskKey task, Stop& stop, absl::Time next);

  std::map<TaskKey, Stop> stops_;
  std::set<std::pair<absl::Time, TaskKey>> due_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_STOPS_H_
