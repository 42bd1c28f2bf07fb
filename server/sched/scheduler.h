#ifndef COWHERD_SERVER_SCHED_SCHEDULER_H_
#define COWHERD_SERVER_SCHED_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/sched/task_key.h"

namespace cowherd {

struct SchedulerLimits {
  size_t per_node = 1;
  size_t per_filesystem = 1;
  size_t in_all = 64;
  // Of all running tasks together. 0: none.
  uint64_t bytes_per_second = 0;
};

// What a node may be given.
enum class Gate {
  // Anything.
  kOpen,
  // Only what is open: its run may go on there.
  kDrained,
  kShut,
};

// Where a task runs.
struct Place {
  std::string node;
  // Its filesystem's uuid. Empty: not known; then only the node counts.
  std::string filesystem;
};

// Decides which tasks start where, and when. Pure: told what is, asked what to do; no clock, no I/O.
//
// - Open tasks, whose runs may go on, are attached to first: they take up their nodes anyhow, so that neither
//   the limits nor a drained node hold them back.
// - Then jobs of higher priority; of one priority, the one with the fewest running tasks; of these, the one
//   that was served longest ago.
// - Within a job by node, then by number.
// - While all bytes per second are given away, the jobs that take no share of them go on.
// - An open task counts with its node and its filesystem until it is no longer open, whether it has a stream
//   or not; with the limits over all nodes only while it runs.
//
// Only what changed is looked at: a call costs a logarithm for each task it is about, and for each job that
// waits for a node or filesystem that becomes free.
class Scheduler {
 public:
  // What to do with a task.
  struct Start {
    TaskKey task;
    // Its run may exist: give the same attempt.
    bool attach = false;
    // 0: no limit.
    uint64_t bytes_per_second = 0;
  };

  explicit Scheduler(SchedulerLimits limits) : limits_(limits) {}
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void AddJob(uint64_t job, int32_t priority);
  // None of its tasks is started or attached to while it is held.
  void SetHeld(uint64_t job, bool held);
  // Its tasks must have been removed.
  void RemoveJob(uint64_t job);

  // All nodes are shut at first. One that is no longer shut gets its open tasks at once.
  void SetGate(const std::string& node, Gate gate);
  // Nothing new is started on it before. InfinitePast: it goes on.
  void PauseFilesystem(const std::string& node, const std::string& filesystem, absl::Time until);

  // A task is in one place; its job must have been added. `not_before` also in the past.
  // It is to be started.
  void Queue(TaskKey task, const Place& place, absl::Time not_before);
  // It is open, and is to be attached to.
  void Attach(TaskKey task, const Place& place, absl::Time not_before);
  // It is open and runs. It was attached to before.
  void Run(TaskKey task);
  // Neither of these any more. Unknown ones are none.
  void Remove(TaskKey task);

  // At most `most` tasks to start or to attach to now, which run from now on.
  std::vector<Start> Next(absl::Time now, size_t most);
  // When Next has more to give, as far as that depends on the time.
  absl::Time wake() const;

 private:
  struct Node;
  struct Filesystem {
    Node* node = nullptr;
    std::string uuid;
    // By age.
    uint64_t id = 0;
    // Tasks that are here, and those of them that are open.
    size_t tasks = 0;
    size_t open = 0;
    absl::Time paused_until = absl::InfinitePast();
    // Jobs with tasks for it that found it, or its node, taken. They are told when that may have changed.
    std::set<uint64_t> parked;
  };
  struct Node {
    std::string name;
    Gate gate = Gate::kShut;
    size_t open = 0;
    std::map<std::string, Filesystem> filesystems;
    // Open and without a stream.
    std::set<TaskKey> away;
  };
  enum class Stage {
    kTimed,   // not open, waits for its time
    kQueued,  // not open, waits for its turn
    kAway,    // open, without a stream; `due` tells whether its time has come
    kRunning,
  };
  struct Entry {
    Filesystem* filesystem = nullptr;
    Stage stage = Stage::kTimed;
    bool due = false;
    absl::Time not_before = absl::InfinitePast();
    uint64_t bytes_per_second = 0;
  };
  // Priority, negated; running tasks; when it was served last; sequence.
  using Rank = std::tuple<int64_t, size_t, uint64_t, uint64_t>;
  struct JobQueue {
    int32_t priority = 0;
    bool held = false;
    size_t running = 0;
    uint64_t served = 0;
    // Queued tasks by their filesystem's id, and number.
    absl::btree_set<std::pair<uint64_t, uint32_t>> queued;
    // Those filesystems of `queued` that may have a place free; each is looked at when its turn comes.
    absl::btree_set<uint64_t> startable;
    std::set<uint32_t> away;
    // As it stands in order_.
    absl::optional<Rank> rank;
  };

  Node& NodeOf(const std::string& name);
  void Forget(Node& node);
  Filesystem& FilesystemOf(const Place& place);
  void Leave(Filesystem& filesystem);
  void Rerank(uint64_t id, JobQueue& job);
  void Enqueue(TaskKey task, Filesystem& filesystem);
  void Dequeue(TaskKey task, Filesystem& filesystem);
  // A place may have come free.
  void Wake(Filesystem& filesystem);
  void WakeAll(Node& node);
  bool Free(const Filesystem& filesystem, absl::Time now) const;
  void Due(TaskKey task, Entry& entry);
  void OfferAway(TaskKey task, const Entry& entry);
  void BeginRun(TaskKey task, Entry& entry, uint64_t bytes_per_second);
  size_t slots() const;

  const SchedulerLimits limits_;
  std::unordered_map<std::string, Node> nodes_;
  std::unordered_map<TaskKey, Entry, TaskKeyHash> entries_;
  std::map<uint64_t, JobQueue> jobs_;
  // Jobs that may have something to start, the next one first.
  std::set<Rank> order_;
  // Tasks whose time has not come, and filesystems whose pause has not ended.
  std::set<std::pair<absl::Time, TaskKey>> timed_;
  std::set<std::pair<absl::Time, Filesystem*>> paused_;
  // Open tasks to attach to now.
  std::set<TaskKey> attachable_;
  size_t running_ = 0;
  size_t open_nodes_ = 0;
  uint64_t given_bytes_per_second_ = 0;
  uint64_t turns_ = 0;
  uint64_t last_filesystem_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_SCHEDULER_H_
