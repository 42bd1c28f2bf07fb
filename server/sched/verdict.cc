#include "server/sched/verdict.h"

#include <cerrno>
#include <string>

#include "server/base/status.h"

namespace cowherd {
namespace {

bool Passes(int error) {
  switch (error) {
    case EAGAIN:
    case EINTR:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EBUSY:
    case ETIMEDOUT:
    case ESTALE:
      return true;
    default:
      return false;
  }
}

bool IsOfFilesystem(int error) {
  return error == ENOSPC || error == EDQUOT || error == EROFS || error == EIO;
}

// The reason, or the code's name where it is the reason.
Verdict JudgeFailure(const absl::Status& status) {
  // A root that is absent comes with ENOENT, which would be final for a file.
  const std::string reason = ReasonOf(status);
  if (reason == "ROOT_ABSENT") return Verdict::kAbsent;
  if (reason == "BUSY") return Verdict::kRetry;
  if (IsOfFilesystem(ErrnoOf(status))) return Verdict::kFilesystem;
  if (ErrnoOf(status) != 0) return Passes(ErrnoOf(status)) ? Verdict::kRetry : Verdict::kFinal;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDeadlineExceeded:
      return Verdict::kRetry;
    default:
      return Verdict::kFinal;
  }
}

}  // namespace

Verdict JudgeStream(const absl::Status& status) {
  if (status.ok()) return Verdict::kLost;
  const std::string reason = ReasonOf(status);
  if (reason == "STALE_EPOCH") return Verdict::kFenced;
  if (reason == "BUSY") return Verdict::kBusy;
  if (reason.empty() || reason == absl::StatusCodeToString(status.code())) {
    switch (status.code()) {
      case absl::StatusCode::kUnavailable:
      case absl::StatusCode::kCancelled:
      case absl::StatusCode::kDeadlineExceeded:
        return Verdict::kLost;
      // Broken transport, or a node that fell over a request.
      case absl::StatusCode::kUnknown:
      case absl::StatusCode::kInternal:
        return Verdict::kRetry;
      default:
        break;
    }
  }
  if (status.code() == absl::StatusCode::kUnavailable && ErrnoOf(status) == 0 && reason != "ROOT_ABSENT") {
    return Verdict::kLost;
  }
  return JudgeFailure(status);
}

Verdict JudgeRun(const absl::Status& status) {
  // The latter is the end of RunOrder::work_for.
  const std::string reason = ReasonOf(status);
  if (reason == "CANCELLED" || reason == "DEADLINE_EXCEEDED") return Verdict::kStopped;
  return JudgeFailure(status);
}

absl::string_view RetryReason(Verdict verdict, const absl::Status& status) {
  switch (verdict) {
    case Verdict::kLost:
      return "node_unreachable";
    case Verdict::kBusy:
      return "node_busy";
    case Verdict::kStopped:
      return "stopped";
    default:
      break;
  }
  if (ReasonOf(status) == "ROOT_ABSENT") return "root_absent";
  switch (ErrnoOf(status)) {
    case ENOSPC:
    case EDQUOT:
      return "no_space";
    case EIO:
      return "disk";
    case EROFS:
      return "read_only";
    default:
      return "other";
  }
}

}  // namespace cowherd
