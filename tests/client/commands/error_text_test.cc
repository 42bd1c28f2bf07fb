#include "client/commands/error_text.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "server/base/grpc_status.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

TEST(ErrorText, SaysWhatWhereWhyAndWhatNext) {
  const struct {
    absl::Status status;
    absl::string_view text;
  } kCases[] = {
      {WithField(ErrnoError(EISDIR, "open /d"), "source.path"),
       "error: dedupe: open /d: a directory; name a regular file (EISDIR)\n"
       "  address: here:1\n  field:   source.path\n  reason:  EISDIR\n  errno:   EISDIR (21)\n"
       "  next:    name a regular file\n"},
      {FieldError("length", "must be above 0"),
       "error: dedupe: length: must be above 0\n"
       "  address: here:1\n  field:   length\n  reason:  INVALID_ARGUMENT\n"
       "  next:    correct what the field names and repeat\n"},
      {MakeError(absl::StatusCode::kNotFound, "JOB_UNKNOWN", "no job 7"),
       "error: dedupe: no job 7\n  address: here:1\n  reason:  JOB_UNKNOWN\n"
       "  next:    look for its id: cowherd job list\n"},
      {absl::DeadlineExceededError("Deadline Exceeded"),
       "error: dedupe: Deadline Exceeded\n  address: here:1\n  reason:  DEADLINE_EXCEEDED\n"
       "  next:    check that the server runs, or repeat with a longer --timeout\n"},
      {absl::UnimplementedError(""),
       "error: dedupe: UNIMPLEMENTED\n  address: here:1\n  reason:  UNIMPLEMENTED\n"
       "  next:    check the address: this server does not have the call, or is older than this client\n"},
      {absl::UnknownError("a\x1b[2J\nb"),
       "error: dedupe: a\\x1b[2J\\nb\n  address: here:1\n  reason:  UNKNOWN\n"},
  };
  for (const auto& c : kCases) EXPECT_EQ(ErrorText("dedupe", "here:1", c.status), c.text);
}

TEST(ErrorText, EveryErrnoOfADedupeHasANextStep) {
  for (const int error : {EXDEV, EISDIR, EINVAL, EPERM, EACCES, ETXTBSY, EROFS, EOPNOTSUPP, ENOSPC, EIO,
                          EBADF, ESTALE, ENOENT, ENOTDIR, ELOOP, EDQUOT, ENOTTY}) {
    EXPECT_NE(NextStep(ErrnoName(error)), "") << ErrnoName(error);
  }
}

TEST(ErrorText, EveryReasonOfTheApiHasANextStep) {
  for (const absl::string_view reason :
       {"ROOT_ABSENT", "ROOT_UNKNOWN", "OUTSIDE_ROOTS", "NOT_REGULAR", "INVALID_ARGUMENT", "BUSY",
        "CANCELLED", "DEADLINE_EXCEEDED", "JOB_UNKNOWN", "JOB_ENDED", "JOB_ACTIVE", "REQUEST_ID_REUSED"}) {
    EXPECT_NE(NextStep(reason), "") << reason;
  }
}

TEST(IsUnreachable, OnlyWhatDidNotComeFromTheServer) {
  EXPECT_TRUE(IsUnreachable(absl::UnavailableError("connect")));
  EXPECT_TRUE(IsUnreachable(absl::DeadlineExceededError("late")));
  EXPECT_FALSE(IsUnreachable(ErrnoError(EAGAIN, "open")));
  EXPECT_FALSE(IsUnreachable(MakeError(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED", "late")));
  EXPECT_FALSE(IsUnreachable(absl::InternalError("x")));
}

TEST(ErrorLine, OneSafeLine) {
  EXPECT_EQ(
      ErrorLine(ToErrorDetail(WithField(ErrnoError(EXDEV, "compare"), "destinations[1].path"))).substr(0, 36),
      "destinations[1].path: EXDEV: compare");
  v1::ErrorDetail detail;
  detail.set_reason("NOT_REGULAR");
  detail.set_errno_number(EINVAL);
  detail.set_errno_name("EINVAL");
  detail.set_message("a\rb");
  EXPECT_EQ(ErrorLine(detail), "NOT_REGULAR (EINVAL): a\\x0db");
}

}  // namespace
}  // namespace cowherd
