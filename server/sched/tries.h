#ifndef COWHERD_SERVER_SCHED_TRIES_H_
#define COWHERD_SERVER_SCHED_TRIES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/jobs/job.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/filesystem_pauses.h"
#include "server/sched/job_table.h"
#include "server/sched/ledger.h"
#include "server/sched/mailbox.h"
#include "server/sched/news.h"
#include "server/sched/node_link.h"
#include "server/sched/node_watch.h"
#include "server/sched/rests.h"
#include "server/sched/runs.h"
#include "server/sched/scheduler.h"
#include "server/sched/stops.h"
#include "server/sched/task_key.h"
#include "server/sched/try_end.h"

namespace cowherd {

// Tries of tasks on nodes: orders them as the scheduler says, takes what comes of them, stops those that are
// not to go on. One thread; news reach it by the mailbox. Each step changes some hundred tasks at most, with
// one write of the store; what is left, or could not be stored, stays for the next one.
class Tries {
 public:
  struct Options {
    SchedulerLimits limits;
    // A task that failed so often has failed for good.
    uint32_t max_failures = 10;
  };

  // All must outlive it; `mailbox` is also held by callbacks of `link`.
  Tries(Ledger& ledger, NodeWatch& nodes, const Rests& rests, NodeLink& link,
        std::shared_ptr<Mailbox> mailbox, ControllerMetrics& metrics, absl::BitGenRef random,
        Options options);
  Tries(const Tries&) = delete;
  Tries& operator=(const Tries&) = delete;

  // The term of office in which orders are given. Once, first.
  void Begin(uint64_t epoch) { epoch_ = epoch; }

  void AddJob(const ActiveJob& active);
  // All of its tasks have ended.
  void RemoveJob(uint64_t job) { scheduler_.RemoveJob(job); }
  // What is wanted of the job, or its windows, has changed.
  void JobChanged(const ActiveJob& active);
  // What the scheduler knows of the task may have changed.
  void Schedule(TaskKey key);

  // How the node is, or what holds for it, has changed.
  void NodeChanged(const std::string& node);
  // The node has told when it began, and what runs there.
  void NodeAnswered(const std::string& node);
  // Looks at once which tasks that run must stop: on the node; of the job.
  void HurryStops(const std::string& node);
  void HurryStops(const ActiveJob& active);
  // The task's node may be lost, and its job does not wait for that.
  void MayBeLost(TaskKey key) { perhaps_lost_.insert(key); }

  // The steps, in this order. Each stores what has come about.
  void StoreNews();
  void CountCrashes();
  void GiveUpLost();
  void SendStops();
  void CloseGone();
  void Dispatch();
  // When to take steps again, at the latest; since it was asked last.
  absl::Time TakeWake();

  // Stores all news that there are. The streams stay open.
  void Stop();

  // Nothing of the job is to run now.
  bool Held(const ActiveJob& active) const;
  Place PlaceOf(const TaskRow& row) const;
  const FilesystemPauses& pauses() const { return pauses_; }
  // Tasks with a stream, by node.
  const std::map<std::string, size_t>& running() const { return runs_.by_node(); }

 private:
  void WakeBy(absl::Time when);
  // The store failed a moment ago; wakes when it is to be tried again.
  bool StoreRests();
  // Orders may be given to nodes. To be asked before such as no write of the store goes before, which would
  // fail: a step may have waited for the store until another leads.
  bool MayOrder() const { return mailbox_->Holds(); }
  bool MustStop(const ActiveJob& active, const TaskRow& row) const;
  TryContext ContextOf(const ActiveJob& active, TaskKey key) const;
  RestartVerdict RestartOf(const TaskRow& row, TaskKey key) const;
  // No run of the task exists any more.
  void ForgetRun(TaskKey key);

  // Looks at the first of `keys`, of tasks that are not ended, have no stream and have told nothing that is
  // not stored. `change` tells whether it changed the task; that is stored, and `stored` told of it.
  void WorkOff(std::set<TaskKey>& keys, absl::FunctionRef<bool(TaskKey, const ActiveJob&, Task&)> change,
               absl::FunctionRef<void(const ActiveJob&, const TaskRow&)> stored);
  void Store(const std::vector<TaskKey>& keys);
  void EndTry(TaskKey key, const Ending& ending);
  void StartStream(TaskKey key, uint64_t bytes_per_second, bool first);
  void SendStop(TaskKey key, const NodeEntry& node);
  void StopAnswered(TaskKey key, const absl::Status& status);
  // The task, by its id, is over for this controller, or is not to run now and has been closed.
  bool IsStray(const std::string& task_id);
  // The job is in the store, and ended.
  bool HasEnded(const std::string& job);
  // Stops what runs on the node and should not. Each answer of the node that names it does so again.
  void StopStrays(const NodeEntry& node);
  // The node refused an order, as it has had one of a higher epoch.
  void SetAside(const std::string& node, const absl::Status& why);

  Ledger& ledger_;
  const JobTable& table_;
  NodeWatch& nodes_;
  const Rests& rests_;
  NodeLink& link_;
  const std::shared_ptr<Mailbox> mailbox_;
  ControllerMetrics& metrics_;
  absl::BitGenRef random_;
  const Options options_;

  uint64_t epoch_ = 0;
  // That nodes work for: whether it has ended, or the store does not have it. Neither changes any more, and
  // to read a job takes all of its tasks.
  absl::flat_hash_map<std::string, bool> not_active_;
  absl::Time wake_ = absl::InfiniteFuture();

  Scheduler scheduler_;
  FilesystemPauses pauses_;
  Runs runs_;
  Stops stops_;
  // By node: known to the scheduler without their filesystems, as the node has not said which it has.
  std::unordered_map<std::string, std::set<TaskKey>> unplaced_;

  // What is still to be looked at; it stays here until that is stored.
  // Perhaps to give up, since their nodes are lost.
  std::set<TaskKey> perhaps_lost_;
  // Open, but their nodes know no run.
  std::set<TaskKey> gone_;
  // Open, and their nodes have begun anew.
  std::set<TaskKey> crashed_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_TRIES_H_
