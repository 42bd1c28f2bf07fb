#ifndef COWHERD_SERVER_SCHED_LOOP_H_
#define COWHERD_SERVER_SCHED_LOOP_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/filesystem_pauses.h"
#include "server/sched/holds.h"
#include "server/sched/job_view.h"
#include "server/sched/ledger.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_link.h"
#include "server/sched/node_registry.h"
#include "server/sched/node_watch.h"
#include "server/sched/plan.h"
#include "server/sched/rests.h"
#include "server/sched/scheduler.h"
#include "server/sched/tries.h"
#include "server/sched/watches.h"
#include "server/sched/window.h"

namespace cowherd {

// Rules the jobs and the nodes: makes tasks of jobs, has them tried on nodes, holds them up and ends them as
// it is told. It connects the parts: the ledger keeps the jobs, the node watch the nodes, the rests what is
// not to be done now, and the tries do it. Every method is for one thread, which others reach by the mailbox.
// What a method returns and a watcher sees is in the store already. Changes of many tasks are stored
// together, some hundred at a time, so that calls do not wait long for their turn.
class Loop {
 public:
  struct Options {
    SchedulerLimits limits;
    absl::Duration probe_interval = absl::Seconds(10);
    // A node that was not up for so long is lost.
    absl::Duration lost_after = absl::Minutes(10);
    size_t max_active_jobs = 10'000;
    // Of all jobs that have not ended, since all are held in memory. A task takes some hundred bytes there:
    // ten times as many as have been measured. Specs may be of some MiB each, and are what makes jobs large.
    uint64_t max_active_tasks = 1'000'000;
    uint64_t max_active_spec_bytes = uint64_t{256} << 20;
    size_t max_watches = 1'000;
    // A task that failed so often has failed for good.
    uint32_t max_failures = 10;
  };
  using Watcher = cowherd::Watcher;
  // Reads the plan out of a job's spec.
  using PlanReader = std::function<absl::StatusOr<JobPlan>(absl::string_view spec)>;

  // All must outlive the loop; `mailbox` is also held by callbacks of `link`.
  Loop(JobStore& store, NodeLink& link, const Clock& clock, std::shared_ptr<Mailbox> mailbox,
       ControllerMetrics& metrics, PlanReader read_plan, absl::BitGenRef random, Options options);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Begins a term of office and takes up the jobs that have not ended. Once, first.
  absl::Status Recover();

  // Does what was posted and what is due, without waiting. Returns when to call it again at the latest.
  absl::Time Step();

  // Does what was posted and stores what is not stored yet. Tasks go on on their nodes; the streams from them
  // go with the loop. Last.
  void Stop();

  // `listener` is called whenever a job has ended, from within the call that ended it: it must not call the
  // loop. One at most; once, first.
  void OnJobEnded(std::function<void(const Job&)> listener) { job_ended_ = std::move(listener); }

  // As NodeRegistry's.
  absl::Status SetTargets(const std::string& source, const std::vector<Target>& targets);
  // As NodeWatch::Await. Before the first step.
  void AwaitTargets(const std::string& source) { nodes_.Await(source, ledger_.Now()); }

  // From now on tasks work on the node only while one of these is open; none: at any time. The node need not
  // be known.
  void SetNodeWindows(const std::string& node, const std::vector<Window>& windows);

  // The term has just begun, and a job by that plan may be about nodes that are not known yet.
  bool MayMissNodes(const JobPlan& plan) const;
  // INVALID_ARGUMENT: a node named is not known. FAILED_PRECONDITION "NO_NODES". UNAVAILABLE
  // "NODES_NOT_KNOWN_YET": MayMissNodes.
  // RESOURCE_EXHAUSTED "TOO_MANY_JOBS", "TOO_MANY_TASKS", "TOO_MANY_SPEC_BYTES". And as JobStore::Create.
  absl::StatusOr<JobView> CreateJob(std::string spec, JobPlan plan, std::string request_id);
  absl::StatusOr<JobView> GetJob(const std::string& id);
  absl::StatusOr<std::vector<JobRecord>> ListJobs(const std::vector<JobState>& states, uint64_t before,
                                                  size_t limit);
  // The job may still be running when this returns: it ends when its nodes have said that its runs are over.
  absl::StatusOr<JobView> CancelJob(const std::string& id);
  absl::StatusOr<JobView> PauseJob(const std::string& id, Hold hold = {});
  absl::StatusOr<JobView> ResumeJob(const std::string& id);
  absl::Status DeleteJob(const std::string& id);

  // Pauses or drains a node or the cluster; `since` is set here. One that rests already gets the new hold.
  // NOT_FOUND "NODE_UNKNOWN", also if nodes of that name are only heard of later.
  absl::Status HoldNode(const std::string& name, Hold hold);
  // OK also if it does not rest, or is not known any more.
  absl::Status ResumeNode(const std::string& name);
  absl::Status HoldCluster(Hold hold);
  absl::Status ResumeCluster();

  // Tells the watcher the job now, before it returns, and on each change, at most 5 times a second, and less
  // often if it has very many tasks. The number is for Unwatch; after an ended job came, nothing more does.
  absl::StatusOr<uint64_t> WatchJob(const std::string& id, Watcher watcher);
  void Unwatch(uint64_t watch) { ledger_.Unwatch(watch); }

  // As the clock's.
  absl::Time Now() const { return ledger_.Now(); }
  // Added to a time by that clock it is, within seconds, the time by the wall.
  absl::Duration ahead() const { return ahead_; }
  const NodeRegistry& nodes() const { return nodes_.nodes(); }
  // Of all active jobs.
  std::map<TaskState, uint64_t> CountTasks() const { return ledger_.table().CountTasks(); }
  const Holds& holds() const { return rests_.holds(); }
  const FilesystemPauses& paused_filesystems() const { return tries_.pauses(); }
  // Tasks with a stream, by node.
  const std::map<std::string, size_t>& running() const { return tries_.running(); }

 private:
  void WakeBy(absl::Time when);
  // The store failed a moment ago; wakes when it is to be tried again.
  bool StoreRests();
  void RunPosted();

  // The job is as in the store; the parts get to know it.
  void TakeUp(const ActiveJob& active);
  void Saved(const ActiveJob& active);
  void Explain(const ActiveJob& active, JobView& view) const;
  absl::Status WhyWaiting(const ActiveJob& active, const TaskRow& row) const;

  void NodeChanged(const std::string& name);
  void ExpireNodes();
  void FollowWindows();
  // Tells where the machine's clock was set.
  void LookAtTheClock();
  // What holds for a node, or for all, has changed.
  void RestChanged(const std::string& node);
  void RestsChanged();

  // There is room for the job. `most_tasks`: what it may come to.
  absl::Status CheckRoom(uint64_t most_tasks, uint64_t spec_bytes) const;
  void ExpandJobs();
  void Sweep(uint64_t job);
  void Notify();
  void Publish();

  absl::StatusOr<JobView> SetWanted(const std::string& id, Wanted wanted);
  void LiftJobHold(const std::string& id);

  JobStore& store_;
  const std::shared_ptr<Mailbox> mailbox_;
  ControllerMetrics& metrics_;
  const PlanReader read_plan_;
  absl::BitGenRef random_;
  const Options options_;
  std::function<void(const Job&)> job_ended_ = [](const Job&) {};

  absl::Time wake_;
  absl::Time next_publish_ = absl::InfinitePast();
  absl::Duration ahead_;

  Ledger ledger_;
  const JobTable& table_;
  Rests rests_;
  NodeWatch nodes_;
  Tries tries_;

  // To make tasks of, by job; they stay here until that is stored.
  std::map<uint64_t, std::set<uint32_t>> to_expand_;
  // What jobs with such tasks may come to in all, as their nodes were when they were made.
  std::map<uint64_t, uint64_t> most_tasks_;
  // Jobs whose tasks that are not open are to end, and from which number on.
  std::map<uint64_t, uint32_t> sweeps_;
  // Jobs whose canary nodes have not said yet whether the others follow.
  std::set<uint64_t> canaries_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_LOOP_H_
