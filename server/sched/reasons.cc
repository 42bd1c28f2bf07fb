#include "server/sched/reasons.h"

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

using absl::StatusCode;

absl::Status JobEnded() {
  return MakeError(StatusCode::kFailedPrecondition, "JOB_ENDED",
                   "the job has ended or is being cancelled; make a new one");
}

absl::Status JobActive() {
  return MakeError(StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                   "the job has not ended; cancel it first and wait for its end");
}

absl::Status NoNodes() {
  return MakeError(StatusCode::kFailedPrecondition, "NO_NODES",
                   "no node is known yet; check --node and --node_dns of the controller");
}

absl::Status NodesNotKnownYet() {
  return MakeError(StatusCode::kUnavailable, "NODES_NOT_KNOWN_YET",
                   "the controller began a moment ago and has not asked every address of --node_dns who is "
                   "there; repeat in some seconds");
}

absl::Status TooManyJobs(size_t jobs) {
  return MakeError(StatusCode::kResourceExhausted, "TOO_MANY_JOBS",
                   absl::StrCat(jobs, " jobs have not ended; wait for some or cancel them"));
}

absl::Status TooManyTasks(uint64_t job, uint64_t others, uint64_t limit) {
  return MakeError(
      StatusCode::kResourceExhausted, "TOO_MANY_TASKS",
      absl::StrCat("the job may come to ", job, " tasks, and jobs that have not ended to ", others,
                   "; together they may have ", limit,
                   ": wait for some jobs, cancel some, or ask for fewer nodes or roots at once"));
}

absl::Status TooManySpecBytes(uint64_t job, uint64_t others, uint64_t limit) {
  return MakeError(StatusCode::kResourceExhausted, "TOO_MANY_SPEC_BYTES",
                   absl::StrCat("the job's spec has ", job, " bytes, and those of jobs that have not ended ",
                                others, "; together they may have ", limit,
                                ": wait for some jobs, cancel some, or make the spec smaller"));
}

absl::Status TooManyWatches(size_t watches) {
  return MakeError(StatusCode::kResourceExhausted, "TOO_MANY_WATCHES",
                   absl::StrCat(watches, " watches are open; end some, or ask for the job now and then"));
}

absl::Status NodeUnknown(StatusCode code, const std::string& name) {
  return MakeError(code, "NODE_UNKNOWN",
                   absl::StrCat("no node is called \"", name, "\" now; list the nodes to see their names"));
}

absl::Status CanaryFirst() {
  return MakeError(StatusCode::kUnavailable, "CANARY_FIRST", "waits for the nodes that go first");
}

absl::Status CanaryFailed(uint32_t failures) {
  return MakeError(StatusCode::kAborted, "CANARY_FAILED",
                   absl::StrCat("not started: ", failures,
                                " tasks of the nodes that went first have failed; look at them"));
}

absl::Status WindowClosed(const WindowState& state) {
  std::string why = "waits for a maintenance window";
  if (state.until != absl::InfiniteFuture()) {
    absl::StrAppend(&why, ", which opens at ",
                    absl::FormatTime(absl::RFC3339_sec, state.until, absl::UTCTimeZone()));
  }
  if (!state.unknown_zone.empty()) {
    absl::StrAppend(&why, "; one stays closed, as the controller's machine does not know its time zone \"",
                    state.unknown_zone, "\" any more: install the time zones (tzdata) there and restart it");
  }
  return MakeError(StatusCode::kUnavailable, "WINDOW_CLOSED", why);
}

absl::Status FilesystemPaused(absl::Time until, const absl::Status& why) {
  return MakeError(StatusCode::kUnavailable, "FILESYSTEM_PAUSED",
                   absl::StrCat("the filesystem is left alone until ",
                                absl::FormatTime(until, absl::UTCTimeZone()), ": ", why.message()));
}

absl::Status StreamBroken() {
  return MakeError(StatusCode::kUnavailable, "STREAM_BROKEN", "the node ended the stream without a summary");
}

}  // namespace cowherd
