#ifndef COWHERD_SERVER_SCHED_REASONS_H_
#define COWHERD_SERVER_SCHED_REASONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/sched/window.h"

namespace cowherd {

// Why a call was refused.

// FAILED_PRECONDITION "JOB_ENDED", "JOB_ACTIVE".
absl::Status JobEnded();
absl::Status JobActive();
// FAILED_PRECONDITION "NO_NODES".
absl::Status NoNodes();
// UNAVAILABLE "NODES_NOT_KNOWN_YET".
absl::Status NodesNotKnownYet();
// RESOURCE_EXHAUSTED "TOO_MANY_JOBS", "TOO_MANY_TASKS", "TOO_MANY_SPEC_BYTES", "TOO_MANY_WATCHES". `job`: of
// the one that was to be made; `others`: of those that have not ended.
absl::Status TooManyJobs(size_t jobs);
absl::Status TooManyTasks(uint64_t job, uint64_t others, uint64_t limit);
absl::Status TooManySpecBytes(uint64_t job, uint64_t others, uint64_t limit);
absl::Status TooManyWatches(size_t watches);

// Why a task waits, or was not done. The code says which: NOT_FOUND to a caller, UNAVAILABLE while it waits.

// "NODE_UNKNOWN".
absl::Status NodeUnknown(absl::StatusCode code, const std::string& name);
// UNAVAILABLE "CANARY_FIRST"; ABORTED "CANARY_FAILED".
absl::Status CanaryFirst();
absl::Status CanaryFailed(uint32_t failures);
// UNAVAILABLE "WINDOW_CLOSED".
absl::Status WindowClosed(const WindowState& state);
// UNAVAILABLE "FILESYSTEM_PAUSED".
absl::Status FilesystemPaused(absl::Time until, const absl::Status& why);
// UNAVAILABLE "STREAM_BROKEN".
absl::Status StreamBroken();

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_REASONS_H_
