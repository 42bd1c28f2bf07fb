#ifndef COWHERD_SERVER_JOBS_SQLITE_STORE_H_
#define COWHERD_SERVER_JOBS_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/jobs/ended_jobs.h"
#include "server/jobs/job_store.h"

namespace cowherd {

// Opens the store in the SQLite file `path`, or makes it, and brings its schema up to date. The file must lie
// on a local filesystem; beside it lie "<path>-wal" and "<path>.lock". One process at a time:
// FAILED_PRECONDITION "STORE_LOCKED" where another has it. FAILED_PRECONDITION "STORE_NEWER": a later version
// wrote it. DATA_LOSS "STORE_CORRUPT": damaged, or no store of cowherd. Calls fail with RESOURCE_EXHAUSTED
// "STORE_FULL" while the disk is full and work again afterwards.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(const std::string& path,
                                                          const EndedLimits& limits = EndedLimits());

// Opens a store that is there, to be read only: the file stays as it is, whichever schema it has. NOT_FOUND
// "STORE_NOT_FOUND": there is none. Otherwise as above.
absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStoreToRead(const std::string& path);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_SQLITE_STORE_H_
