#ifndef COWHERD_SERVER_SCHED_LOOP_H_
#define COWHERD_SERVER_SCHED_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
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
#include "server/sched/batch.h"
#include "server/sched/filesystem_pauses.h"
#include "server/sched/holds.h"
#include "server/sched/job_table.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_link.h"
#include "server/sched/node_registry.h"
#include "server/sched/openings.h"
#include "server/sched/plan.h"
#include "server/sched/probes.h"
#include "server/sched/runs.h"
#include "server/sched/scheduler.h"
#include "server/sched/stops.h"
#include "server/sched/try_end.h"
#include "server/sched/watches.h"
#include "server/sched/window.h"

namespace cowherd {

// Rules the jobs and the nodes: makes tasks of jobs, runs them on nodes, keeps what they say, tries again,
// stops them. What to do is decided by the parts; this is what connects them to the store and the nodes.
// Every method is for one thread, which others reach by the mailbox. What a method returns and a watcher sees
// is in the store already. Changes of many tasks are stored together, some hundred at a time, so that calls
// do not wait long for their turn.
class Loop {
 public:
  struct Options {
    SchedulerLimits limits;
    absl::Duration probe_interval = absl::Seconds(10);
    // A node that was not up for so long is lost.
    absl::Duration lost_after = absl::Minutes(10);
    size_t max_active_jobs = 10'000;
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

  // Does what was posted, stores what is not stored yet and drops all streams. Tasks go on on their nodes.
  // Last.
  void Stop();

  // `listener` is called whenever a job has ended, from within the call that ended it: it must not call the
  // loop. One at most; once, first.
  void OnJobEnded(std::function<void(const Job&)> listener) { job_ended_ = std::move(listener); }

  // As NodeRegistry's.
  absl::Status SetTargets(const std::string& source, const std::vector<Target>& targets);

  // From now on tasks work on the node only while one of these is open; none: at any time. The node need not
  // be known.
  void SetNodeWindows(const std::string& node, std::vector<Window> windows);

  // INVALID_ARGUMENT: a node named is not known. FAILED_PRECONDITION "NO_NODES", "STALE_EPOCH".
  // RESOURCE_EXHAUSTED "TOO_MANY_JOBS". And as JobStore::Create.
  absl::StatusOr<JobRecord> CreateJob(std::string spec, JobPlan plan, std::string request_id);
  absl::StatusOr<JobRecord> GetJob(const std::string& id);
  absl::StatusOr<std::vector<JobRecord>> ListJobs(const std::vector<JobState>& states, uint64_t before,
                                                  size_t limit);
  // The job may still be running when this returns: it ends when its nodes have said that its runs are over.
  absl::StatusOr<JobRecord> CancelJob(const std::string& id);
  absl::StatusOr<JobRecord> PauseJob(const std::string& id, Hold hold = {});
  absl::StatusOr<JobRecord> ResumeJob(const std::string& id);
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
  void Unwatch(uint64_t watch) { watches_.Remove(watch); }

  const NodeRegistry& nodes() const { return nodes_; }
  // Of all active jobs.
  std::map<TaskState, uint64_t> CountTasks() const { return table_.CountTasks(); }
  const Holds& holds() const { return holds_; }
  const FilesystemPauses& paused_filesystems() const { return pauses_; }
  // Tasks with a stream, by node.
  const std::map<std::string, size_t>& running() const { return runs_.by_node(); }

 private:
  absl::Time Now() const;
  void WakeBy(absl::Time when);
  // The store failed a moment ago; wakes when it is to be tried again.
  bool StoreRests(absl::Time now);
  void RunPosted();

  // With results if it has ended, and with why tasks wait.
  absl::StatusOr<JobRecord> View(const ActiveJob& active);
  absl::Status WhyWaiting(const ActiveJob& active, const TaskRow& row) const;

  // Stores all changes at once and takes them over; on an error nothing has changed.
  absl::Status Save(std::vector<JobChange> changes);
  // The job is as in the store; its parts get to know it.
  void TakeUp(JobRecord record, JobPlan plan);
  // Tells the scheduler how the task stands.
  void Schedule(TaskKey key);
  void FollowCanary(const ActiveJob& active);
  Place PlaceOf(const ActiveJob& active, const TaskRow& row) const;
  TryContext ContextOf(const ActiveJob& active, TaskKey key) const;
  // No run of the task exists any more.
  void ForgetRun(TaskKey key);

  void Probe();
  void ProbeDone(const std::string& address, const absl::StatusOr<NodeFacts>& answer);
  void ProbeSoon(const std::string& node);
  void NodeChanged(const std::string& name);
  void ExpireNodes();

  void ExpandJobs();
  void Sweep(uint64_t job);
  void GiveUpLost();
  void CloseGone();
  void StoreNews(bool all);
  void EndTry(TaskKey key, absl::optional<Verdict> verdict, const absl::Status& why, bool asked);
  void CountCrashes();
  void Dispatch();
  // Until the first of its windows closes.
  absl::Duration WorkFor(const ActiveJob& active, const TaskRow& row) const;
  void StartStream(TaskKey key, uint64_t bytes_per_second);
  void SendCancels();
  void SendCancel(TaskKey key, const NodeEntry& node);
  void CancelDone(TaskKey key, const absl::Status& status);
  bool MustStop(const ActiveJob& active, const TaskRow& row) const;
  // Looks at once which of its tasks must stop.
  void HurryStops(const ActiveJob& active);
  // Nothing of the job is to run now.
  bool Held(const ActiveJob& active) const;
  // Neither its windows nor a pause keep tasks from running on the node.
  bool MayRun(const std::string& node) const;
  // SetGate, and looks at once which of the tasks that run there must stop.
  void GateChanged(const std::string& name);
  void FollowWindows();
  absl::Status SetHold(const std::string& name, Hold hold);
  absl::Status LiftHold(const std::string& name);
  void LiftJobHold(const std::string& id);
  // A node's state or what holds for it has changed.
  void SetGate(const std::string& node);
  void SetGates();
  // Whether the run that is known of the task was on a node that has begun anew.
  bool Crashed(const TaskRow& row, TaskKey key) const;
  void Fence(const std::string& node);
  void Notify();
  void Publish();

  absl::StatusOr<std::vector<std::string>> SelectNodes(const JobPlan& plan) const;
  absl::StatusOr<JobRecord> SetWanted(const std::string& id, Wanted wanted);

  JobStore& store_;
  NodeLink& link_;
  const Clock& clock_;
  const std::shared_ptr<Mailbox> mailbox_;
  ControllerMetrics& metrics_;
  const PlanReader read_plan_;
  absl::BitGenRef random_;
  const Options options_;
  std::function<void(const Job&)> job_ended_ = [](const Job&) {};

  uint64_t epoch_ = 0;
  // Another controller rules.
  bool fenced_ = false;
  absl::Time wake_;
  // After a failed write.
  absl::Time store_retry_ = absl::InfinitePast();
  absl::Time next_publish_ = absl::InfinitePast();
  std::map<JobState, uint64_t> counts_;
  // Since it was last published how many are in which state.
  bool nodes_changed_ = true;

  NodeRegistry nodes_;
  Probes probes_;
  JobTable table_;
  Scheduler scheduler_;
  FilesystemPauses pauses_;
  Holds holds_;
  Runs runs_;
  Stops stops_;
  Watches watches_;
  // By their windows: jobs, by sequence, and nodes.
  Openings<uint64_t> job_openings_;
  Openings<std::string> node_openings_;

  // What is still to be looked at; it stays here until that is stored.
  // To make tasks of, by job.
  std::map<uint64_t, std::set<uint32_t>> to_expand_;
  // Perhaps to give up, since their nodes are lost.
  std::set<TaskKey> perhaps_lost_;
  // Open, but their nodes know no run.
  std::set<TaskKey> gone_;
  // Open, and their nodes have begun anew.
  std::set<TaskKey> crashed_;
  // By node: known to the scheduler without their filesystems, as the node has not said which it has.
  std::unordered_map<std::string, std::set<TaskKey>> unplaced_;
  // Jobs whose tasks that are not open are to end, and from which number on.
  std::map<uint64_t, uint32_t> sweeps_;
  // Jobs whose canary nodes have not said yet whether the others follow.
  std::set<uint64_t> canaries_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_LOOP_H_
