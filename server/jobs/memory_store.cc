#include "server/jobs/memory_store.h"

#include <algorithm>
#include <utility>

#include "server/base/status.h"

namespace cowherd {

absl::StatusOr<uint64_t> MemoryStore::RaiseEpoch(uint64_t at_least) {
  RETURN_IF_ERROR(failure_);
  if (incomplete_) return StoreIncomplete();
  epoch_ = std::max(epoch_ + 1, at_least);
  return epoch_;
}

absl::StatusOr<JobStore::Created> MemoryStore::Create(JobRecord record) {
  absl::StatusOr<JobRecord> before = FindRequest(record.job.request_id, record.spec);
  if (before.ok()) return Created{*std::move(before), true};
  if (!absl::IsNotFound(before.status())) return before.status();
  if (jobs_.count(record.job.id) > 0) return JobExists(record.job.id);
  record.job.sequence = ++sequence_;
  jobs_[record.job.id] = record;
  return Created{std::move(record), false};
}

absl::StatusOr<JobRecord> MemoryStore::FindRequest(absl::string_view request_id, absl::string_view spec) {
  RETURN_IF_ERROR(failure_);
  if (request_id.empty()) return RequestUnknown();
  for (const auto& [id, record] : jobs_) {
    if (record.job.request_id != request_id) continue;
    if (record.spec != spec) return RequestReused(request_id);
    return record;
  }
  return RequestUnknown();
}

absl::StatusOr<JobRecord> MemoryStore::Get(absl::string_view id) {
  RETURN_IF_ERROR(failure_);
  const auto found = jobs_.find(std::string(id));
  if (found == jobs_.end()) return JobUnknown(id);
  return found->second;
}

absl::StatusOr<std::vector<JobRecord>> MemoryStore::List(const std::vector<JobState>& states, uint64_t before,
                                                         size_t limit) {
  RETURN_IF_ERROR(failure_);
  std::vector<JobRecord> records;
  for (const auto& [id, record] : jobs_) {
    if (before != 0 && record.job.sequence >= before) continue;
    if (!states.empty() && std::find(states.begin(), states.end(), record.job.state) == states.end())
      continue;
    records.push_back({record.job, record.spec, {}, {}});
  }
  std::sort(records.begin(), records.end(),
            [](const JobRecord& a, const JobRecord& b) { return a.job.sequence > b.job.sequence; });
  size_t bytes = 0;
  size_t kept = 0;
  while (kept < records.size() && kept < limit) {
    bytes += records[kept].spec.size();
    if (kept > 0 && bytes > kListBytes) break;
    ++kept;
  }
  records.resize(kept);
  return records;
}

absl::StatusOr<std::vector<JobRecord>> MemoryStore::LoadActive() {
  RETURN_IF_ERROR(failure_);
  std::vector<JobRecord> records;
  for (const auto& [id, record] : jobs_) {
    if (!Ended(record.job.state)) records.push_back({record.job, record.spec, record.tasks, {}});
  }
  std::sort(records.begin(), records.end(),
            [](const JobRecord& a, const JobRecord& b) { return a.job.sequence < b.job.sequence; });
  return records;
}

absl::StatusOr<std::map<JobState, uint64_t>> MemoryStore::CountByState() {
  RETURN_IF_ERROR(failure_);
  std::map<JobState, uint64_t> counts;
  for (const auto& [id, record] : jobs_) ++counts[record.job.state];
  return counts;
}

absl::StatusOr<std::map<uint32_t, std::string>> MemoryStore::Results(absl::string_view id) {
  RETURN_IF_ERROR(failure_);
  const auto found = jobs_.find(std::string(id));
  if (found == jobs_.end()) return std::map<uint32_t, std::string>();
  return found->second.results;
}

absl::Status MemoryStore::Write(const std::vector<JobChange>& changes) {
  RETURN_IF_ERROR(failure_);
  for (const JobChange& change : changes) {
    if (jobs_.count(change.job.id) == 0) return JobUnknown(change.job.id);
  }
  size_t just_ended = 0;
  for (const JobChange& change : changes) {
    JobRecord& record = jobs_[change.job.id];
    Job job = change.job;
    job.request_id = record.job.request_id;
    job.sequence = record.job.sequence;
    job.created = record.job.created;
    record.job = std::move(job);
    std::map<uint32_t, Task> tasks;
    for (Task& task : record.tasks) tasks[task.number] = std::move(task);
    for (const Task& task : change.put) tasks[task.number] = task;
    for (const auto& [number, result] : change.results) record.results[number] = result;
    for (uint32_t number : change.removed) {
      tasks.erase(number);
      record.results.erase(number);
    }
    record.tasks.clear();
    for (auto& [number, task] : tasks) record.tasks.push_back(std::move(task));
    if (Ended(record.job.state) && ended_.Add(record.job, BytesOf(record))) ++just_ended;
  }
  for (uint64_t sequence : ended_.Surplus(just_ended)) {
    const auto found = std::find_if(jobs_.begin(), jobs_.end(), [sequence](const auto& job) {
      return job.second.job.sequence == sequence;
    });
    ended_.Remove(sequence);
    jobs_.erase(found);
  }
  ++writes_;
  return absl::OkStatus();
}

absl::Status MemoryStore::Delete(absl::string_view id) {
  RETURN_IF_ERROR(failure_);
  const auto found = jobs_.find(std::string(id));
  if (found == jobs_.end()) return JobUnknown(id);
  ended_.Remove(found->second.job.sequence);
  jobs_.erase(found);
  return absl::OkStatus();
}

absl::Status MemoryStore::PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) {
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(CheckRecord(kind, name, value));
  records_[std::string(kind)][std::string(name)] = std::string(value);
  return absl::OkStatus();
}

absl::Status MemoryStore::DeleteRecord(absl::string_view kind, absl::string_view name) {
  RETURN_IF_ERROR(failure_);
  records_[std::string(kind)].erase(std::string(name));
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> MemoryStore::LoadRecords(absl::string_view kind) {
  RETURN_IF_ERROR(failure_);
  return records_[std::string(kind)];
}

absl::StatusOr<std::vector<std::string>> MemoryStore::RecordKinds() {
  RETURN_IF_ERROR(failure_);
  std::vector<std::string> kinds;
  for (const auto& [kind, records] : records_) {
    if (!records.empty()) kinds.push_back(kind);
  }
  return kinds;
}

absl::StatusOr<JobStore::Counters> MemoryStore::ReadCounters() {
  RETURN_IF_ERROR(failure_);
  return Counters{epoch_, sequence_, incomplete_};
}

absl::Status MemoryStore::RestoreCounters(const Counters& counters) {
  RETURN_IF_ERROR(failure_);
  epoch_ = counters.epoch;
  sequence_ = counters.sequence;
  incomplete_ = counters.incomplete;
  return absl::OkStatus();
}

absl::Status MemoryStore::Restore(const JobRecord& record) {
  RETURN_IF_ERROR(failure_);
  for (const auto& [id, kept] : jobs_) {
    if (id == record.job.id || kept.job.sequence == record.job.sequence) return JobExists(record.job.id);
  }
  jobs_[record.job.id] = record;
  if (Ended(record.job.state)) ended_.Add(record.job, BytesOf(record));
  return absl::OkStatus();
}

}  // namespace cowherd
