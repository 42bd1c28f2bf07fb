#ifndef COWHERD_SERVER_NODE_TASK_TABLE_H_
#define COWHERD_SERVER_NODE_TASK_TABLE_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cowherd/v1/node.pb.h"
#include "server/base/stop.h"
#include "server/dedupe/shared_totals.h"
#include "server/node/epoch_gate.h"

namespace cowherd {

// One real start of a task. Any thread.
class TaskRun {
 public:
  TaskRun(std::string run_id, uint32_t attempt, std::shared_ptr<SharedTotals> totals,
          Stop::SteadyTime deadline)
      : run_id_(std::move(run_id)), attempt_(attempt), stop_(deadline), totals_(std::move(totals)) {}

  // Where it stands: progress, or the summary once it has ended.
  v1::RunTaskResponse Report() const;
  bool ended() const;

  // Tells `told` of the end, on the run's thread, or at once if it has ended, until this object goes. `told`
  // must not call the run, nor block.
  class EndWatch {
   public:
    EndWatch(std::shared_ptr<TaskRun> run, absl::AnyInvocable<void()> told);
    ~EndWatch();
    EndWatch(const EndWatch&) = delete;
    EndWatch& operator=(const EndWatch&) = delete;

   private:
    friend class TaskTable;
    const std::shared_ptr<TaskRun> run_;
    absl::AnyInvocable<void()> told_;
  };

 private:
  friend class TaskTable;
  absl::Duration Elapsed() const;

  const std::string run_id_;
  const uint32_t attempt_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  Stop stop_;
  mutable std::mutex mutex_;
  std::shared_ptr<SharedTotals> totals_;  // let go of at the end
  bool ended_ = false;
  std::set<EndWatch*> watches_;
  v1::TaskSummary summary_;
};

// The tasks that run here and the last that ended, so that a controller that lost the connection, or was
// restarted, is given the run that goes on, or its summary. In memory: a restarted node knows none. Any
// thread.
class TaskTable {
 public:
  // Does a task's work: adds to the totals, ends early when told to, leaves results of ranges in the summary.
  using Work = absl::AnyInvocable<absl::Status(SharedTotals&, const Stop&, v1::TaskSummary&)>;
  // Told, on the run's thread, how each run ended.
  using OnEnd = absl::AnyInvocable<void(const std::string& task_id, const TaskRun&, const absl::Status&)>;

  // `max_running` tasks at once; the newest `max_kept` summaries are kept. `epochs` must outlive it.
  TaskTable(size_t max_running, size_t max_kept, EpochGate& epochs, OnEnd on_end);
  // Stops all runs and waits for them.
  ~TaskTable();

  // The run of this task: the one that goes on, whatever epoch it was begun in; or the one that ended, unless
  // `attempt` is above its; or a new one that `make` makes. Errors of EpochGate::Enter: nothing was begun,
  // nor is anything of that epoch after an order of a higher one. RESOURCE_EXHAUSTED "BUSY": too many run
  // already. Errors of `make` are passed on. May block on the disk, once for each epoch.
  struct New {
    std::shared_ptr<SharedTotals> totals;
    Work work;
    // When it is told to end.
    Stop::SteadyTime deadline = Stop::SteadyTime::max();
  };
  absl::StatusOr<std::shared_ptr<TaskRun>> RunOrAttach(const std::string& task_id, uint32_t attempt,
                                                       uint64_t epoch,
                                                       absl::AnyInvocable<absl::StatusOr<New>()> make);

  // NOT_FOUND "TASK_UNKNOWN", and errors as above. OK if it has ended.
  absl::Status Cancel(const std::string& task_id, uint64_t epoch);

  // Ends all runs as UNAVAILABLE "NODE_STOPPING" and takes no more.
  void StopAll();

  size_t running() const;
  // Those of them that were begun by an order with an epoch, by task_id.
  std::vector<std::string> Controlled() const;

 private:
  struct Entry {
    std::shared_ptr<TaskRun> run;
    // Of the order that began it.
    uint64_t epoch = 0;
    std::thread thread;
  };
  void End(const std::string& task_id, TaskRun& run, absl::Status status, v1::TaskSummary summary);

  const size_t max_running_;
  const size_t max_kept_;
  EpochGate& epochs_;
  OnEnd on_end_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::map<std::string, Entry> tasks_;
  std::deque<std::string> ended_order_;
  size_t running_ = 0;
  bool stopping_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_TASK_TABLE_H_
