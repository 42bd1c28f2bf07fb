// How many changes of tasks a second a store takes, in batches as the scheduler's loop makes them: each
// brings some tasks of several jobs one step on, with the jobs' own state. SQLite with FULL synchronisation
// in `directory`, and etcd with three members on this machine.
//   store_speed DIRECTORY [BATCH...]
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/jobs/sqlite_store.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

constexpr uint32_t kJobs = 20;
constexpr uint32_t kTasksPerJob = 500;
constexpr double kSqliteBar = 10'000;
constexpr double kEtcdBar = 5'000;

absl::StatusOr<std::vector<JobRecord>> MakeJobs(JobStore& store, const std::string& name) {
  std::vector<JobRecord> records;
  for (uint32_t n = 0; n < kJobs; ++n) {
    JobRecord record;
    record.job.id = absl::StrCat(name, "-", n);
    record.spec = std::string(200, 's');
    record.job.tasks_made = kTasksPerJob;
    for (uint32_t number = 0; number < kTasksPerJob; ++number) {
      Task task;
      task.number = number;
      task.node = absl::StrCat("node-", number, ".storage.example.org");
      task.root = "data";
      task.expanded = true;
      record.tasks.push_back(std::move(task));
    }
    ASSIGN_OR_RETURN(const JobStore::Created created, store.Create(std::move(record)));
    records.push_back(created.record);
  }
  return records;
}

// Each task starts, and succeeds. Transitions a second.
absl::StatusOr<double> Measure(JobStore& store, uint32_t batch) {
  ASSIGN_OR_RETURN(std::vector<JobRecord> records, MakeJobs(store, absl::StrCat("b", batch)));
  const auto begin = std::chrono::steady_clock::now();
  uint32_t done = 0;
  for (const TaskState state : {TaskState::kRunning, TaskState::kSucceeded}) {
    for (uint32_t first = 0; first < kJobs * kTasksPerJob; first += batch) {
      std::vector<JobChange> changes(kJobs);
      // Task i of all jobs before task i + 1 of any.
      for (uint32_t i = first; i < std::min(first + batch, kJobs * kTasksPerJob); ++i) {
        JobRecord& record = records[i % kJobs];
        Task& task = record.tasks[i / kJobs];
        task.state = state;
        task.open = state == TaskState::kRunning;
        task.attempt = 1;
        task.run_id = "0123456789abcdef";
        task.current.bytes_scanned += 1'000'000 + i;
        task.current.bytes_accepted += 4'096;
        changes[i % kJobs].put.push_back(task);
        ++done;
      }
      std::vector<JobChange> made;
      for (uint32_t n = 0; n < kJobs; ++n) {
        if (changes[n].put.empty()) continue;
        Job& job = records[n].job;
        job.state = JobState::kRunning;
        ++job.revision;
        changes[n].job = job;
        made.push_back(std::move(changes[n]));
      }
      RETURN_IF_ERROR(store.Write(made));
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return done / took.count();
}

absl::Status Rows(const char* name, JobStore& store, double bar, const std::vector<uint32_t>& batches) {
  for (uint32_t batch : batches) {
    ASSIGN_OR_RETURN(const double speed, Measure(store, batch));
    std::printf("| %-6s | %5u | %9.0f | %5.2f |\n", name, batch, speed, speed / bar);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

absl::Status Run(const std::string& directory, const std::vector<uint32_t>& batches) {
  std::printf("| store  | batch | changes/s | / bar |\n|---|---|---|---|\n");
  const std::string file = absl::StrCat(directory, "/store_speed-", ::getpid());
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<JobStore> sqlite, OpenSqliteStore(file));
    RETURN_IF_ERROR(Rows("SQLite", *sqlite, kSqliteBar, batches));
  }
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) ::unlink((file + suffix).c_str());
  ASSIGN_OR_RETURN(const std::unique_ptr<EtcdCluster> cluster, EtcdCluster::Start(3));
  EtcdStoreOptions options;
  options.prefix = "/bench/";
  ASSIGN_OR_RETURN(const LeadingStore leading, LeadingStore::Make(cluster->addresses(), options));
  return Rows("etcd", *leading.store, kEtcdBar, batches);
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: store_speed DIRECTORY [BATCH...]\n");
    return 2;
  }
  cowherd::StartLog("bench", cowherd::LogLevel::kWarning);
  std::vector<uint32_t> batches;
  for (int i = 2; i < argc; ++i) batches.push_back(static_cast<uint32_t>(std::max(1, std::atoi(argv[i]))));
  if (batches.empty()) batches = {100, 1'000};
  const absl::Status status = cowherd::Run(argv[1], batches);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
