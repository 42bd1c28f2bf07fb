#ifndef COWHERD_SERVER_JOBS_JOB_STORE_H_
#define COWHERD_SERVER_JOBS_JOB_STORE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/jobs/job.h"

namespace cowherd {

// What to change of one job.
struct JobChange {
  // Replaces the stored one but for id, request_id, sequence and created.
  Job job;
  // Added, or put in place of the one with the same number.
  std::vector<Task> put;
  // Numbers of tasks to forget, with their results.
  std::vector<uint32_t> removed;
  // By task number.
  std::map<uint32_t, std::string> results;
};

// Keeps jobs. What a call answered OK to survives kill -9 and power loss; a call that failed changed nothing,
// but see NOT_LEADER. One thread at a time. Calls may block on the disk or the network.
//
// UNAVAILABLE "NOT_LEADER": another process may write now, and this store object never will again. Whether
// the call was carried out before that only the next leader can tell.
class JobStore {
 public:
  struct Created {
    JobRecord record;
    // The request_id had made this job before; nothing was added.
    bool existed = false;
  };

  virtual ~JobStore() = default;

  // Begins a term of office: its epoch is above the last one and at least `at_least`. A caller that gives the
  // time keeps epochs growing even where a store was lost or put back from a copy. FAILED_PRECONDITION
  // "STORE_INCOMPLETE": see Counters.
  virtual absl::StatusOr<uint64_t> RaiseEpoch(uint64_t at_least) = 0;

  // Adds a job with its tasks and gives it a sequence. ALREADY_EXISTS "REQUEST_ID_REUSED": that request_id
  // came with another spec. ALREADY_EXISTS "JOB_EXISTS": that id is taken.
  virtual absl::StatusOr<Created> Create(JobRecord record) = 0;

  // The job that this request_id made. NOT_FOUND "REQUEST_UNKNOWN": none; also for "". Otherwise as Create.
  virtual absl::StatusOr<JobRecord> FindRequest(absl::string_view request_id, absl::string_view spec) = 0;

  // With tasks and results. NOT_FOUND "JOB_UNKNOWN".
  virtual absl::StatusOr<JobRecord> Get(absl::string_view id) = 0;

  // Newest first, without tasks and results: those with a sequence below `before` (0: all) and a state in
  // `states` (empty: all). At most `limit`; fewer but at least one also where specs exceed 2 MiB together.
  virtual absl::StatusOr<std::vector<JobRecord>> List(const std::vector<JobState>& states, uint64_t before,
                                                      size_t limit) = 0;

  // Every job that has not ended, oldest first, with tasks, without results.
  virtual absl::StatusOr<std::vector<JobRecord>> LoadActive() = 0;

  // How many jobs are in each state; states without any are left out.
  virtual absl::StatusOr<std::map<JobState, uint64_t>> CountByState() = 0;

  // Results of one job's tasks, by task number. Empty for an unknown job.
  virtual absl::StatusOr<std::map<uint32_t, std::string>> Results(absl::string_view id) = 0;

  // All changes or none. NOT_FOUND "JOB_UNKNOWN".
  virtual absl::Status Write(const std::vector<JobChange>& changes) = 0;

  // Forgets a job and its request_id. NOT_FOUND "JOB_UNKNOWN".
  virtual absl::Status Delete(absl::string_view id) = 0;

  // Small values that belong to no job, by kind and name: schedules, say. Replaces what was kept under that
  // name. INVALID_ARGUMENT: see CheckRecord.
  virtual absl::Status PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) = 0;

  // OK also if there is none.
  virtual absl::Status DeleteRecord(absl::string_view kind, absl::string_view name) = 0;

  // All of one kind, by name.
  virtual absl::StatusOr<std::map<std::string, std::string>> LoadRecords(absl::string_view kind) = 0;

  // What follows is for copies of a whole store.

  // Kinds of which there is a record.
  virtual absl::StatusOr<std::vector<std::string>> RecordKinds() = 0;

  struct Counters {
    // The last epoch.
    uint64_t epoch = 0;
    // The last sequence given.
    uint64_t sequence = 0;
    // It is being filled from a copy; or was, and that broke off.
    bool incomplete = false;
  };
  virtual absl::StatusOr<Counters> ReadCounters() = 0;
  virtual absl::Status RestoreCounters(const Counters& counters) = 0;

  // Adds a job as a store had it: with its sequence, which must be free, and as far as it had come.
  // ALREADY_EXISTS "JOB_EXISTS".
  virtual absl::Status Restore(const JobRecord& record) = 0;
};

// The most bytes of specs in one answer of List.
inline constexpr size_t kListBytes = size_t{2} << 20;

inline constexpr size_t kMaxRecordName = 256;
inline constexpr size_t kMaxRecordBytes = size_t{64} << 10;

// A kind is 1 to 32 of a-z and _, a name 1 to kMaxRecordName bytes of UTF-8 without NUL, a value at most
// kMaxRecordBytes of anything.
absl::Status CheckRecord(absl::string_view kind, absl::string_view name, absl::string_view value);

// The errors promised above, the same from every store.
absl::Status JobUnknown(absl::string_view id);
absl::Status RequestReused(absl::string_view request_id);
absl::Status RequestUnknown();
absl::Status JobExists(absl::string_view id);

absl::Status StoreIncomplete();

// DATA_LOSS "STORE_CORRUPT".
absl::Status StoreCorrupt(absl::string_view what);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_JOB_STORE_H_
