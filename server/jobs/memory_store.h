#ifndef COWHERD_SERVER_JOBS_MEMORY_STORE_H_
#define COWHERD_SERVER_JOBS_MEMORY_STORE_H_

#include <map>
#include <string>
#include <vector>

#include "server/jobs/ended_jobs.h"
#include "server/jobs/job_store.h"

namespace cowherd {

// Keeps jobs for as long as it lives. For tests.
class MemoryStore final : public JobStore {
 public:
  explicit MemoryStore(const EndedLimits& limits = EndedLimits()) : ended_(limits) {}

  absl::StatusOr<uint64_t> RaiseEpoch(uint64_t at_least) override;
  absl::StatusOr<Created> Create(JobRecord record) override;
  absl::StatusOr<JobRecord> FindRequest(absl::string_view request_id, absl::string_view spec) override;
  absl::StatusOr<JobRecord> Get(absl::string_view id) override;
  absl::StatusOr<std::vector<JobRecord>> List(const std::vector<JobState>& states, uint64_t before,
                                              size_t limit) override;
  absl::StatusOr<std::vector<JobRecord>> LoadActive() override;
  absl::StatusOr<std::map<JobState, uint64_t>> CountByState() override;
  absl::StatusOr<std::map<uint32_t, std::string>> Results(absl::string_view id) override;
  absl::Status Write(const std::vector<JobChange>& changes) override;
  absl::Status Delete(absl::string_view id) override;
  absl::Status PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) override;
  absl::Status DeleteRecord(absl::string_view kind, absl::string_view name) override;
  absl::StatusOr<std::map<std::string, std::string>> LoadRecords(absl::string_view kind) override;
  absl::StatusOr<std::vector<std::string>> RecordKinds() override;
  absl::StatusOr<Counters> ReadCounters() override;
  absl::Status RestoreCounters(const Counters& counters) override;
  absl::Status Restore(const JobRecord& record) override;

  // Every call from now on fails with this; OK: none does.
  void FailWith(absl::Status status) { failure_ = std::move(status); }
  // Successful calls of Write.
  int writes() const { return writes_; }

 private:
  absl::Status failure_;
  int writes_ = 0;
  uint64_t epoch_ = 0;
  uint64_t sequence_ = 0;
  bool incomplete_ = false;
  std::map<std::string, JobRecord> jobs_;
  EndedJobs ended_;
  // By kind, then name.
  std::map<std::string, std::map<std::string, std::string>> records_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_MEMORY_STORE_H_
