#ifndef COWHERD_SERVER_JOBS_ENDED_JOBS_H_
#define COWHERD_SERVER_JOBS_ENDED_JOBS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "server/jobs/job.h"

namespace cowherd {

// So many of the jobs that have ended a store keeps.
struct EndedLimits {
  // Of jobs that no schedule made.
  size_t jobs = 1'000;
  // Of jobs that schedules made. A schedule itself forgets its jobs, so that all of them together keep fewer;
  // but those of a deleted schedule are left.
  size_t scheduled_jobs = 100'000;
  // Of all: specs and results, and 512 for each task ever made.
  uint64_t bytes = uint64_t{256} << 20;
};

// Of its spec and results.
uint64_t BytesOf(const JobRecord& record);

// The jobs that have ended, in the order in which they did, and which of them a store forgets. The last one
// that ended always stays. Pure.
class EndedJobs {
 public:
  explicit EndedJobs(const EndedLimits& limits) : limits_(limits) {}

  // True: a job that has just ended. False: one that had before and changes; it keeps its place. `bytes`: as
  // BytesOf.
  bool Add(const Job& job, uint64_t bytes);
  void Remove(uint64_t sequence);

  // What is beyond a limit: of jobs that no schedule made first, in either case those that ended first. Some
  // at a time, as that many deletions fit in one write; and none of the last `just_ended`, so that no job
  // goes by the same write that ends it.
  std::vector<uint64_t> Surplus(size_t just_ended) const;

 private:
  struct Entry {
    bool scheduled = false;
    uint64_t place = 0;
    uint64_t weight = 0;
  };

  EndedLimits limits_;
  std::map<uint64_t, Entry> jobs_;
  // Sequences by place: of jobs that no schedule made, and of the others.
  std::array<std::map<uint64_t, uint64_t>, 2> order_;
  uint64_t next_place_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_ENDED_JOBS_H_
