#include "server/base/status.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

constexpr char kReason[] = "cowherd/reason";
constexpr char kField[] = "cowherd/field";
constexpr char kErrno[] = "cowherd/errno";
constexpr char kLeader[] = "cowherd/leader";

struct ErrnoRow {
  int error;
  absl::StatusCode code;
  absl::string_view sentence;
};

// The one table from errno to meaning. Meanings of FIDEDUPERANGE's answers: ioctl_fideduperange(2), and the
// cases in tests/kernel.
constexpr ErrnoRow kErrnoTable[] = {
    {EPERM, absl::StatusCode::kPermissionDenied,
     "the kernel does not let this process share into the file: it is immutable, or the node lacks "
     "CAP_SYS_ADMIN "
     "or CAP_DAC_OVERRIDE and does not own it"},
    {ENOENT, absl::StatusCode::kNotFound, "no such file"},
    {EINTR, absl::StatusCode::kUnavailable, "interrupted; try again"},
    {EIO, absl::StatusCode::kDataLoss,
     "the disk failed to read or write; check the kernel log and the device"},
    {EBADF, absl::StatusCode::kInternal, "the file was opened in a way that does not allow sharing"},
    {EAGAIN, absl::StatusCode::kUnavailable, "busy; try again"},
    {ENOMEM, absl::StatusCode::kResourceExhausted, "the kernel is out of memory; try again"},
    {EACCES, absl::StatusCode::kPermissionDenied,
     "the file's permissions do not let the node open it; give the node CAP_DAC_READ_SEARCH"},
    {EBUSY, absl::StatusCode::kUnavailable, "busy; try again"},
    {EEXIST, absl::StatusCode::kAlreadyExists, "exists already"},
    {EXDEV, absl::StatusCode::kInvalidArgument,
     "not on the same filesystem, or the path leads out of its root; only files of one filesystem can share "
     "storage"},
    {ENODEV, absl::StatusCode::kFailedPrecondition, "no such device"},
    {ENOTDIR, absl::StatusCode::kInvalidArgument, "a part of the path is not a directory"},
    {EISDIR, absl::StatusCode::kInvalidArgument, "a directory; name a regular file"},
    {EINVAL, absl::StatusCode::kInvalidArgument,
     "the range is not aligned to blocks, passes the end of a file, overlaps itself, or one file is NOCOW "
     "and the "
     "other is not"},
    {ENFILE, absl::StatusCode::kResourceExhausted, "the system has too many open files"},
    {EMFILE, absl::StatusCode::kResourceExhausted, "the node has too many open files; raise its limit"},
    {ENOTTY, absl::StatusCode::kUnimplemented, "the filesystem does not know this operation"},
    {ETXTBSY, absl::StatusCode::kFailedPrecondition, "the file is an active swap file"},
    {EFBIG, absl::StatusCode::kOutOfRange, "the offset is too large"},
    {ENOSPC, absl::StatusCode::kResourceExhausted,
     "the filesystem is full: sharing needs a little room for metadata; free some space and repeat"},
    {EROFS, absl::StatusCode::kFailedPrecondition, "the filesystem, mount or subvolume is read-only"},
    {ENAMETOOLONG, absl::StatusCode::kInvalidArgument, "the path or one of its parts is too long"},
    {ELOOP, absl::StatusCode::kInvalidArgument,
     "a part of the path is a symbolic link; name the file itself"},
    {EOVERFLOW, absl::StatusCode::kOutOfRange, "the range is too large"},
    {EOPNOTSUPP, absl::StatusCode::kUnimplemented,
     "the filesystem cannot share ranges; btrfs and XFS (reflink=1) can"},
    {ETIMEDOUT, absl::StatusCode::kUnavailable, "timed out; try again"},
    {ESTALE, absl::StatusCode::kAborted,
     "the file went away or was replaced meanwhile; look again and repeat"},
    {EDQUOT, absl::StatusCode::kResourceExhausted, "the disk quota is used up"},
    {ECANCELED, absl::StatusCode::kCancelled, "cancelled"},
};

const ErrnoRow* FindRow(int error) {
  for (const ErrnoRow& row : kErrnoTable) {
    if (row.error == error) return &row;
  }
  return nullptr;
}

std::string Payload(const absl::Status& status, absl::string_view key) {
  absl::optional<absl::Cord> payload = status.GetPayload(key);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace

std::string ErrnoName(int error) {
  if (error == 0) return "";
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? std::string(name) : absl::StrCat("E", error);
}

std::string ErrnoSentence(int error) {
  if (const ErrnoRow* row = FindRow(error)) return std::string(row->sentence);
  const char* text = ::strerrordesc_np(error);
  return text != nullptr ? std::string(text) : "unknown error";
}

absl::Status WithDetail(absl::Status status, absl::string_view reason, absl::string_view field, int error) {
  if (status.ok()) return status;
  if (!reason.empty()) status.SetPayload(kReason, absl::Cord(reason));
  if (!field.empty()) status.SetPayload(kField, absl::Cord(field));
  if (error != 0) status.SetPayload(kErrno, absl::Cord(absl::StrCat(error)));
  return status;
}

absl::Status MakeError(absl::StatusCode code, absl::string_view reason, absl::string_view message) {
  return WithDetail(absl::Status(code, message), reason, "", 0);
}

absl::Status FieldError(absl::string_view field, absl::string_view message) {
  return WithDetail(absl::InvalidArgumentError(absl::StrCat(field, ": ", message)), "INVALID_ARGUMENT", field,
                    0);
}

absl::Status ErrnoError(int error, absl::string_view doing) {
  const ErrnoRow* row = FindRow(error);
  const absl::StatusCode code = row != nullptr ? row->code : absl::StatusCode::kUnknown;
  const std::string name = ErrnoName(error);
  return WithDetail(absl::Status(code, absl::StrCat(doing, ": ", ErrnoSentence(error), " (", name, ")")),
                    name, "", error);
}

absl::Status WithField(absl::Status status, absl::string_view field) {
  if (status.ok()) return status;
  const std::string inner = FieldOf(status);
  status.SetPayload(kField, absl::Cord(inner.empty() ? std::string(field) : absl::StrCat(field, ".", inner)));
  return status;
}

int ErrnoOf(const absl::Status& status) {
  int error = 0;
  return absl::SimpleAtoi(Payload(status, kErrno), &error) ? error : 0;
}

std::string ReasonOf(const absl::Status& status) { return Payload(status, kReason); }
std::string FieldOf(const absl::Status& status) { return Payload(status, kField); }

absl::Status NotLeader(absl::string_view leader) {
  const std::string message =
      leader.empty() ? std::string("this controller does not lead, and none is known to; repeat in a second")
                     : absl::StrCat("this controller does not lead; call the one at ", leader);
  return WithLeader(MakeError(absl::StatusCode::kUnavailable, "NOT_LEADER", message), leader);
}

absl::Status WithLeader(absl::Status status, absl::string_view leader) {
  if (!status.ok() && !leader.empty()) status.SetPayload(kLeader, absl::Cord(leader));
  return status;
}

std::string LeaderOf(const absl::Status& status) { return Payload(status, kLeader); }

}  // namespace cowherd
