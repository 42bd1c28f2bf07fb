#ifndef COWHERD_SERVER_SCHED_LOOP_H_
#define COWHERD_SERVER_SCHED_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/base/clock.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_link.h"
#include "server/sched/node_registry.h"
#include "server/sched/picker.h"
#include "server/sched/plan.h"
#include "server/sched/verdict.h"

namespace cowherd {

// Owns the jobs and the nodes: makes tasks of jobs, runs them on nodes, keeps what they say, tries again,
// stops them. Every method is for one thread, which others reach by the mailbox. What a method returns and a
// watcher sees is in the store already.
class Loop {
 public:
  struct Options {
    PickLimits limits;
    absl::Duration probe_interval = absl::Seconds(10);
    // A node that was not up for so long is lost.
    absl::Duration lost_after = absl::Minutes(10);
    size_t max_active_jobs = 10'000;
    size_t max_watches = 1'000;
    // A task that failed so often has failed for good.
    uint32_t max_failures = 10;
  };
  // Null once nothing more will come without the job having ended.
  using Watcher = std::function<void(std::shared_ptr<const JobRecord>)>;
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

  // As NodeRegistry's.
  absl::Status SetTargets(const std::string& source, const std::vector<Target>& targets);

  // INVALID_ARGUMENT: a node named is not known. FAILED_PRECONDITION "NO_NODES", "STALE_EPOCH".
  // RESOURCE_EXHAUSTED "TOO_MANY_JOBS". And as JobStore::Create.
  absl::StatusOr<JobRecord> CreateJob(std::string spec, JobPlan plan, std::string request_id);
  absl::StatusOr<JobRecord> GetJob(const std::string& id);
  absl::StatusOr<std::vector<JobRecord>> ListJobs(const std::vector<JobState>& states, uint64_t before,
                                                  size_t limit);
  // The job may still be running when this returns: it ends when its nodes have said that its runs are over.
  absl::StatusOr<JobRecord> CancelJob(const std::string& id);
  absl::StatusOr<JobRecord> PauseJob(const std::string& id);
  absl::StatusOr<JobRecord> ResumeJob(const std::string& id);
  absl::Status DeleteJob(const std::string& id);

  // Tells the watcher the job now, before it returns, and on each change, at most 5 times a second. The
  // number is for Unwatch; after an ended job came, nothing more does.
  absl::StatusOr<uint64_t> WatchJob(const std::string& id, Watcher watcher);
  void Unwatch(uint64_t watch);

  const NodeRegistry& nodes() const { return nodes_; }
  // Tasks with a stream, by node.
  const std::map<std::string, size_t>& running() const { return running_; }

 private:
  // What is known of a task beyond the store.
  struct Live {
    uint64_t stream = 0;
    std::unique_ptr<NodeLink::Run> run;
    // Came, not stored yet.
    absl::optional<RunEvent> pending;
    absl::Time stored = absl::InfinitePast();
    absl::Time not_before = absl::InfinitePast();
    // The node came back: next_attempt need not be waited for.
    bool at_once = false;
    // Losses of the way to the node in a row.
    uint32_t lost = 0;
    bool cancel_in_flight = false;
    // This controller asked for the stop, and the node took it.
    bool cancel_taken = false;
    absl::Time next_cancel = absl::InfinitePast();
  };

  struct Watch {
    Watcher watcher;
    // The revision it was told last.
    uint64_t told = 0;
  };

  struct Active {
    JobRecord record;
    JobPlan plan;
    std::map<uint32_t, Live> live;
    std::map<uint64_t, Watch> watchers;
    bool changed = false;
    absl::Time next_notice = absl::InfinitePast();
  };

  struct ProbeState {
    bool in_flight = false;
    absl::Time next = absl::InfinitePast();
  };

  struct Place {
    uint64_t sequence;
    uint32_t number;
  };

  absl::Time Now() const;
  void WakeBy(absl::Time when);
  void RunPosted();

  Active* FindActive(const std::string& id);
  static Task* FindTask(Active& active, uint32_t number);
  // With results, and with why tasks wait.
  absl::StatusOr<JobRecord> View(const Active& active);

  // Works out each job's state and totals, writes all changes at once and takes them over; on an error
  // nothing has changed.
  absl::Status Save(std::vector<JobChange> changes);

  void Probe();
  void ProbeDone(const std::string& address, const absl::StatusOr<NodeFacts>& answer);
  void ProbeSoon(const std::string& node);
  void NodeChanged(const std::string& name);
  void ExpireNodes();
  void GiveUpLost();

  void ExpandJobs();
  void Dispatch();
  void StartStream(Active& active, const Task& task);
  void OnEvent(uint64_t stream, RunEvent event);
  void OnEnd(uint64_t stream, const absl::Status& status);
  void EndTry(Active& active, uint32_t number, const RunEvent* last, const absl::Status& stream_status);
  void ReleaseStream(const Task& task, Live& live);
  void StoreProgress(bool all);
  void SendCancels();
  void CancelDone(Place place, const absl::Status& status);
  void CloseTask(Active& active, uint32_t number, const absl::Status& why);
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

  uint64_t epoch_ = 0;
  // Another controller rules.
  bool fenced_ = false;
  absl::Time wake_;
  // After a failed write.
  absl::Time store_retry_ = absl::InfinitePast();
  absl::Time next_publish_ = absl::InfinitePast();
  NodeRegistry nodes_;
  // By address.
  std::map<std::string, ProbeState> probes_;
  // A task may belong to a lost node without that having been looked at.
  bool look_for_lost_ = false;
  // By sequence: oldest first.
  std::map<uint64_t, Active> active_;
  std::map<std::string, uint64_t> sequence_of_;
  std::map<uint64_t, Place> streams_;
  // Runs that are over whose streams have not ended.
  std::map<uint64_t, std::unique_ptr<NodeLink::Run>> closing_;
  uint64_t last_stream_ = 0;
  std::map<std::string, size_t> running_;
  std::map<JobState, uint64_t> counts_;
  // To the job's sequence.
  std::map<uint64_t, uint64_t> watches_;
  uint64_t last_watch_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_LOOP_H_
