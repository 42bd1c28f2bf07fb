#include "server/base/status.h"

#include <cerrno>
#include <set>

#include "absl/strings/match.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasErrno;
using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

struct ErrnoCase {
  int error;
  const char* name;
  absl::StatusCode code;
};

class ErrnoTest : public ::testing::TestWithParam<ErrnoCase> {};

TEST_P(ErrnoTest, KeepsNumberNameAndSentence) {
  const ErrnoCase& expected = GetParam();
  const absl::Status status = ErrnoError(expected.error, "share \"/a\"");
  EXPECT_THAT(status, StatusIs(expected.code));
  EXPECT_THAT(status, HasErrno(expected.error));
  EXPECT_THAT(status, HasReason(expected.name));
  EXPECT_EQ(ErrnoName(expected.error), expected.name);
  EXPECT_EQ(status.message(),
            "share \"/a\": " + ErrnoSentence(expected.error) + " (" + std::string(expected.name) + ")");
  EXPECT_GT(ErrnoSentence(expected.error).size(), 10U);
}

INSTANTIATE_TEST_SUITE_P(
    Kernel, ErrnoTest,
    ::testing::Values(ErrnoCase{EXDEV, "EXDEV", absl::StatusCode::kInvalidArgument},
                      ErrnoCase{EISDIR, "EISDIR", absl::StatusCode::kInvalidArgument},
                      ErrnoCase{EINVAL, "EINVAL", absl::StatusCode::kInvalidArgument},
                      ErrnoCase{EPERM, "EPERM", absl::StatusCode::kPermissionDenied},
                      ErrnoCase{EACCES, "EACCES", absl::StatusCode::kPermissionDenied},
                      ErrnoCase{ETXTBSY, "ETXTBSY", absl::StatusCode::kFailedPrecondition},
                      ErrnoCase{EROFS, "EROFS", absl::StatusCode::kFailedPrecondition},
                      ErrnoCase{EOPNOTSUPP, "EOPNOTSUPP", absl::StatusCode::kUnimplemented},
                      ErrnoCase{ENOSPC, "ENOSPC", absl::StatusCode::kResourceExhausted},
                      ErrnoCase{EIO, "EIO", absl::StatusCode::kDataLoss},
                      ErrnoCase{EBADF, "EBADF", absl::StatusCode::kInternal},
                      ErrnoCase{ESTALE, "ESTALE", absl::StatusCode::kAborted}),
    [](const auto& info) { return info.param.name; });

TEST(ErrnoTest, SentencesTellErrnosApart) {
  std::set<std::string> sentences;
  for (int error :
       {EXDEV, EISDIR, EINVAL, EPERM, EACCES, ETXTBSY, EROFS, EOPNOTSUPP, ENOSPC, EIO, EBADF, ESTALE}) {
    EXPECT_TRUE(sentences.insert(ErrnoSentence(error)).second) << ErrnoName(error);
  }
}

TEST(ErrnoTest, UnlistedAndUnknownKeepTheirNumber) {
  EXPECT_THAT(ErrnoError(EPROTO, "x"), StatusIs(absl::StatusCode::kUnknown));
  EXPECT_THAT(ErrnoError(EPROTO, "x"), HasErrno(EPROTO));
  EXPECT_THAT(ErrnoError(EPROTO, "x"), HasReason("EPROTO"));
  EXPECT_THAT(ErrnoError(523, "x"), HasErrno(523));
  EXPECT_THAT(ErrnoError(523, "x"), HasReason("E523"));
  EXPECT_EQ(ErrnoName(0), "");
}

TEST(StatusTest, FieldsNest) {
  absl::Status status = FieldError("offset", "is too large");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(status, HasReason("INVALID_ARGUMENT"));
  EXPECT_THAT(status, HasField("offset"));
  EXPECT_EQ(status.message(), "offset: is too large");
  EXPECT_THAT(WithField(status, "destinations[3]"), HasField("destinations[3].offset"));
  EXPECT_THAT(WithField(ErrnoError(EIO, "x"), "source"), HasField("source"));
  EXPECT_THAT(WithField(ErrnoError(EIO, "x"), "source"), HasErrno(EIO));
}

TEST(StatusTest, OkStaysOkAndHasNothing) {
  EXPECT_THAT(WithField(absl::OkStatus(), "a"), IsOk());
  EXPECT_THAT(WithDetail(absl::OkStatus(), "R", "f", EIO), IsOk());
  EXPECT_EQ(ErrnoOf(absl::OkStatus()), 0);
  EXPECT_EQ(ReasonOf(absl::InternalError("x")), "");
  EXPECT_EQ(FieldOf(absl::InternalError("x")), "");
  EXPECT_EQ(ErrnoOf(absl::InternalError("x")), 0);
}

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return MakeError(absl::StatusCode::kOutOfRange, "ODD", "odd");
  return n / 2;
}

absl::StatusOr<int> Quarter(int n) {
  ASSIGN_OR_RETURN(const int half, Half(n));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

TEST(StatusTest, MacrosPassErrorsOn) {
  EXPECT_EQ(Quarter(12).value(), 3);
  EXPECT_THAT(Quarter(6), HasReason("ODD"));
}

}  // namespace
}  // namespace cowherd
