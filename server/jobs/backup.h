#ifndef COWHERD_SERVER_JOBS_BACKUP_H_
#define COWHERD_SERVER_JOBS_BACKUP_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/jobs/job_store.h"

// Copies of a whole store in a file, whatever the store: what was one kind of store can be put back into
// another. values.proto tells the format.
namespace cowherd {

struct BackupCounts {
  uint64_t jobs = 0;
  uint64_t records = 0;
};

// Writes all of the store to `path`, which appears once it is complete and on the disk; a file of that name
// is replaced. Each job is as it was at some time during the backup; jobs that come or go meanwhile may be
// missing. NOT_FOUND "STORE_NOT_FOUND": no controller ever used the store. FAILED_PRECONDITION
// "STORE_INCOMPLETE".
absl::StatusOr<BackupCounts> WriteBackup(JobStore& store, const std::string& path);

// Checks the whole file, then puts everything into the store. FAILED_PRECONDITION "STORE_NOT_EMPTY": it has
// something; nothing was changed. DATA_LOSS "BACKUP_CORRUPT", FAILED_PRECONDITION "BACKUP_NEWER": likewise.
// After any other error the store may be filled in part, and is STORE_INCOMPLETE: begin with a new one.
absl::StatusOr<BackupCounts> RestoreBackup(const std::string& path, JobStore& store);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_BACKUP_H_
