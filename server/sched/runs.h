#ifndef COWHERD_SERVER_SCHED_RUNS_H_
#define COWHERD_SERVER_SCHED_RUNS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/sched/mailbox.h"
#include "server/sched/news.h"
#include "server/sched/node_link.h"
#include "server/sched/task_key.h"

namespace cowherd {

// The streams of the open tasks, and what came by them until it is stored. News are conflated, so that their
// number is bounded. One thread.
class Runs {
 public:
  // `mailbox` brings what comes to this thread; it is also held by callbacks of `link`. `new_run` is told
  // that a task has a run that was not known.
  Runs(NodeLink& link, std::shared_ptr<Mailbox> mailbox, std::function<void(TaskKey)> new_run)
      : link_(link), mailbox_(std::move(mailbox)), new_run_(std::move(new_run)) {}
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  // Opens a stream for a task that has none. `run_id`: the run known of it. `first`: the attempt was not sent
  // before; of one that was, the store has the progress that it had: more is stored a while after `now`.
  void Start(TaskKey task, const Endpoint& endpoint, const RunOrder& order, const std::string& run_id,
             bool first, absl::Time now);
  // The task is not open any more, or is not this controller's to hear of: forgets it.
  void Close(TaskKey task);

  bool HasStream(TaskKey task) const;
  // Its end came, and is not stored.
  bool HasEnd(TaskKey task) const;
  // Losses of the way to the node in a row.
  uint32_t Losses(TaskKey task) const;
  void CountLoss(TaskKey task);
  // When the node of the run last heard of had begun. InfinitePast: not known.
  absl::Time NodeStarted(TaskKey task) const;
  // The attempt was begun here, and no run of it has told of itself: the order may not have arrived.
  bool Unheard(TaskKey task) const;
  // The node began anew, which was not held against the task.
  void Excuse(TaskKey task);
  bool Excused(TaskKey task) const;

  // Tasks whose end is to be stored, at most `most`, oldest first.
  std::vector<TaskKey> Ended(size_t most) const;
  // Tasks whose progress is to be stored by now: each once a second, less often where many run.
  std::vector<TaskKey> Due(absl::Time now, size_t most) const;
  // All with news.
  std::vector<TaskKey> WithNews() const;
  absl::Time wake() const;
  // Of a task without any: empty.
  const News& NewsOf(TaskKey task) const;
  // Its news are stored.
  void Stored(TaskKey task, absl::Time now);

  // Tasks with a stream, by node.
  const std::map<std::string, size_t>& by_node() const { return by_node_; }

 private:
  struct Open {
    std::string node;
    uint64_t stream = 0;
    std::unique_ptr<NodeLink::Run> run;
    // The run last heard of.
    std::string run_id;
    absl::Time node_started = absl::InfinitePast();
    bool unheard = false;
    bool excused = false;
    News news;
    absl::Time stored = absl::InfinitePast();
    // As it stands in due_.
    absl::Time due = absl::InfiniteFuture();
    // As it stands in ended_. 0: it does not.
    uint64_t ended = 0;
    uint32_t lost = 0;
  };

  void OnEvent(uint64_t stream, RunEvent event);
  void OnEnd(uint64_t stream, const absl::Status& status);
  void End(TaskKey task, Open& open, TryEnd end);
  // The stream is done with; it may still carry its end.
  void DropStream(Open& open);
  void SetDue(TaskKey task, Open& open, absl::Time due);
  absl::Duration StoreEvery() const;

  NodeLink& link_;
  const std::shared_ptr<Mailbox> mailbox_;
  const std::function<void(TaskKey)> new_run_;
  std::map<TaskKey, Open> tasks_;
  std::unordered_map<uint64_t, TaskKey> streams_;
  // Runs that are over whose streams have not ended.
  std::unordered_map<uint64_t, std::unique_ptr<NodeLink::Run>> closing_;
  // In the order in which they ended.
  std::map<uint64_t, TaskKey> ended_;
  uint64_t ends_ = 0;
  std::set<std::pair<absl::Time, TaskKey>> due_;
  uint64_t last_stream_ = 0;
  std::map<std::string, size_t> by_node_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_RUNS_H_
