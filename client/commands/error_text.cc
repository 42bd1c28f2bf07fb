#include "client/commands/error_text.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/format.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Step {
  absl::string_view reason;
  absl::string_view next;
};

constexpr Step kSteps[] = {
    // Reasons of the servers.
    {"ROOT_ABSENT",
     "mount the filesystem on the node's host and repeat; cowherd node show tells how roots are"},
    {"ROOT_UNKNOWN", "take a root that the node has: cowherd node show lists them"},
    {"OUTSIDE_ROOTS",
     "name files under one of the node's roots (cowherd node show), or start the node with one more --root"},
    {"NOT_REGULAR", "name a regular file"},
    {"INVALID_ARGUMENT", "correct what the field names and repeat"},
    {"BUSY", "the server has as much work as it takes; repeat in a moment"},
    {"CANCELLED", "repeat it to do the rest; what is shared stays shared"},
    {"DEADLINE_EXCEEDED", "repeat it, with a longer --timeout, to do the rest; what is shared stays shared"},
    {"JOB_UNKNOWN", "look for its id: cowherd job list"},
    {"JOB_ENDED", "make a new job: cowherd job create"},
    {"JOB_ACTIVE", "end it first: cowherd job cancel"},
    {"NODE_UNKNOWN", "look for its name: cowherd node list"},
    {"NODES_NOT_KNOWN_YET", "repeat in half a minute, or with a longer --timeout"},
    {"NODE_NAME_TAKEN", "give each node a name of its own (--name of cowherd-node), or take one out"},
    {"STALE_EPOCH",
     "two controllers have the node: take it out of one (--node, --node_dns), then restart the other one"},
    {"NODE_LOST", "bring the node back, then make the job again"},
    {"SCHEDULE_UNKNOWN", "look for its name: cowherd schedule list"},
    {"SCHEDULE_EXISTS", "take another name, or change that one: cowherd schedule update"},
    {"SCHEDULE_CHANGED", "somebody else changed it: look at it (cowherd schedule get) and repeat"},
    {"SCHEDULE_BUSY", "wait for its job or end it (cowherd job cancel), or use --overlap replace or allow"},
    {"WINDOW_CLOSED", "wait for the window, or change it: cowherd node window, cowherd schedule update"},
    {"REQUEST_ID_REUSED", "leave out --request_id, or repeat the job exactly as it was"},
    {"NOT_LEADER",
     "no controller leads just now: repeat in a moment, or look at the controllers' logs and etcd"},
    {"JOB_WENT_BACK", "look at it again: cowherd job get"},
    {"INCOMPLETE", "look at the node's log and repeat"},
    {"BAD_ANSWER", "install the same version of client and server"},
    // The kernel's answers.
    {"EPERM", "make the file mutable (chattr -i), or give the node CAP_SYS_ADMIN"},
    {"ENOENT", "check the path; it is the path on the node's host"},
    {"EIO", "check the kernel log of the node's host, and the device"},
    {"EBADF", "give the node the right to write the file"},
    {"EACCES", "give the node CAP_DAC_READ_SEARCH, or open the file's permissions"},
    {"EXDEV", "name files of one filesystem, by paths without symbolic links"},
    {"ENOTDIR", "check the path"},
    {"EISDIR", "name a regular file"},
    {"EINVAL",
     "align offsets and length to the filesystem's block (4k on most), keep ranges within the files, and "
     "do not let them overlap"},
    {"ENOTTY", "use a filesystem that can share ranges: btrfs, or XFS made with reflink=1"},
    {"ETXTBSY", "leave swap files out"},
    {"ENOSPC", "free some space on the filesystem and repeat"},
    {"EROFS", "mount it read-write, or leave read-only subvolumes and snapshots out"},
    {"ELOOP", "name the file itself, not a symbolic link"},
    {"EOPNOTSUPP", "use a filesystem that can share ranges: btrfs, or XFS made with reflink=1"},
    {"ESTALE", "look again and repeat: the file went away or was replaced"},
    {"EDQUOT", "raise the quota, or free some space"},
    // Codes without a reason of their own.
    {"UNAVAILABLE",
     "check that the server runs and that the address is right; a server with TLS needs --tls_cert, "
     "--tls_key and --tls_ca"},
    {"NO_ANSWER", "check that the server runs, or repeat with a longer --timeout"},
    {"UNAUTHENTICATED", "give a certificate that the server trusts: --tls_cert, --tls_key, --tls_ca"},
    {"PERMISSION_DENIED", "use a certificate whose role allows this call"},
    {"UNIMPLEMENTED", "check the address: this server does not have the call, or is older than this client"},
    {"RESOURCE_EXHAUSTED", "repeat in a moment, or ask for less at once"},
};

}  // namespace

bool IsUnreachable(const absl::Status& status) {
  if (ReasonOf(status) == "NOT_LEADER") return true;
  return ReasonOf(status).empty() && (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status));
}

std::string NextStep(absl::string_view reason) {
  for (const Step& step : kSteps) {
    if (step.reason == reason) return std::string(step.next);
  }
  return "";
}

std::string ErrorText(absl::string_view doing, absl::string_view address, const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(status.code());
  std::string text = absl::StrCat("error: ", doing, ": ",
                                  EscapeName(status.message().empty() ? code : status.message()), "\n");
  const auto add = [&text](absl::string_view name, absl::string_view value) {
    if (!value.empty()) absl::StrAppend(&text, "  ", name, EscapeName(value), "\n");
  };
  std::string reason = ReasonOf(status);
  std::string next = NextStep(reason);
  if (next.empty() && ErrnoOf(status) != 0) next = NextStep(ErrnoName(ErrnoOf(status)));
  if (reason.empty()) {
    reason = code;
    next = NextStep(absl::IsDeadlineExceeded(status) ? "NO_ANSWER" : code);
  }
  if (next.empty()) next = NextStep(code);
  add("address: ", address);
  add("field:   ", FieldOf(status));
  add("reason:  ", reason);
  if (ErrnoOf(status) != 0)
    add("errno:   ", absl::StrCat(ErrnoName(ErrnoOf(status)), " (", ErrnoOf(status), ")"));
  add("next:    ", next);
  return text;
}

std::string ErrorLine(const v1::ErrorDetail& error) {
  std::string line;
  if (!error.field().empty()) absl::StrAppend(&line, error.field(), ": ");
  absl::StrAppend(&line, error.reason());
  if (!error.errno_name().empty() && error.errno_name() != error.reason()) {
    absl::StrAppend(&line, " (", error.errno_name(), ")");
  }
  if (!error.message().empty()) absl::StrAppend(&line, ": ", error.message());
  return EscapeName(line);
}

}  // namespace cowherd
