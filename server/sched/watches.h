#ifndef COWHERD_SERVER_SCHED_WATCHES_H_
#define COWHERD_SERVER_SCHED_WATCHES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/sched/job_view.h"

namespace cowherd {

// Null once nothing more will come without the job having ended.
using Watcher = std::function<void(std::shared_ptr<const JobView>)>;

// Who is told of which job's changes, and when. Jobs by sequence. One thread.
class Watches {
 public:
  // `told`: the revision that the watcher knows.
  uint64_t Add(uint64_t job, Watcher watcher, uint64_t told);
  void Remove(uint64_t watch);
  size_t size() const { return job_of_.size(); }
  bool Watched(uint64_t job) const { return watchers_.count(job) > 0; }

  // The job changed. Its watchers are due at once, or `every` after the last time.
  void Changed(uint64_t job, absl::Duration every);
  // It has ended: its watchers are due at once.
  void Ended(uint64_t job);
  // Jobs whose changes are due.
  std::vector<uint64_t> Due(absl::Time now) const;
  absl::Time wake() const;

  // Tells the job's watchers, but those that know this revision.
  void Tell(uint64_t job, const std::shared_ptr<const JobView>& record, absl::Time now);
  // The job is not due any more.
  void Done(uint64_t job);
  // The job is over: nothing more comes.
  void Drop(uint64_t job);
  // Tells all that nothing more will come, and drops them.
  void Close();

 private:
  struct Watch {
    Watcher watcher;
    uint64_t told = 0;
  };
  void SetDue(uint64_t job, absl::Time due);

  std::map<uint64_t, std::map<uint64_t, Watch>> watchers_;
  std::map<uint64_t, uint64_t> job_of_;
  std::map<uint64_t, absl::Time> due_of_;
  std::set<std::pair<absl::Time, uint64_t>> due_;
  // When a job's watchers were last told.
  std::map<uint64_t, absl::Time> told_;
  uint64_t last_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_WATCHES_H_
