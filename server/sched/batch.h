#ifndef COWHERD_SERVER_SCHED_BATCH_H_
#define COWHERD_SERVER_SCHED_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "server/jobs/job_store.h"

namespace cowherd {

// Tasks that one write of the store changes at most: with SQLite some 10 ms.
inline constexpr size_t kMaxBatch = 256;

// Changes of many tasks, to be stored at once: one change for each job. A task may be in it once.
class Batch {
 public:
  JobChange& Of(const Job& job) {
    JobChange& change = changes_[job.sequence];
    if (change.job.id.empty()) change.job = job;
    return change;
  }
  bool empty() const { return changes_.empty(); }
  std::vector<JobChange> Take() {
    std::vector<JobChange> list;
    list.reserve(changes_.size());
    for (auto& [sequence, change] : changes_) list.push_back(std::move(change));
    changes_.clear();
    return list;
  }

 private:
  std::map<uint64_t, JobChange> changes_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_BATCH_H_
