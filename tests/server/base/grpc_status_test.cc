#include "server/base/grpc_status.h"

#include <cerrno>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasErrno;
using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

absl::Status ThereAndBack(const absl::Status& status) { return FromGrpc(ToGrpc(status)); }

TEST(GrpcStatusTest, EveryErrnoOfADedupeSurvivesBothWays) {
  for (int error :
       {EXDEV, EISDIR, EINVAL, EPERM, EACCES, ETXTBSY, EROFS, EOPNOTSUPP, ENOSPC, EIO, EBADF, ESTALE}) {
    const absl::Status status = WithField(ErrnoError(error, "share"), "destinations[2].path");
    for (const absl::Status& arrived : {ThereAndBack(status), FromErrorDetail(ToErrorDetail(status))}) {
      EXPECT_THAT(arrived, StatusIs(status.code()));
      EXPECT_EQ(arrived.message(), status.message());
      EXPECT_THAT(arrived, HasErrno(error));
      EXPECT_THAT(arrived, HasReason(ErrnoName(error)));
      EXPECT_THAT(arrived, HasField("destinations[2].path"));
    }
    EXPECT_EQ(ToErrorDetail(status).errno_name(), ErrnoName(error));
  }
}

TEST(GrpcStatusTest, TheLeadersAddressArrives) {
  const absl::Status status = NotLeader("c2:7400");
  for (const absl::Status& arrived : {ThereAndBack(status), FromErrorDetail(ToErrorDetail(status))}) {
    EXPECT_THAT(arrived, StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(arrived, HasReason("NOT_LEADER"));
    EXPECT_EQ(LeaderOf(arrived), "c2:7400");
  }
  EXPECT_EQ(LeaderOf(ThereAndBack(NotLeader(""))), "");
}

TEST(GrpcStatusTest, OkIsOk) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_THAT(FromGrpc(grpc::Status::OK), IsOk());
}

TEST(GrpcStatusTest, CodeStandsInForAMissingReason) {
  EXPECT_EQ(ToErrorDetail(absl::NotFoundError("x")).reason(), "NOT_FOUND");
  EXPECT_EQ(ToErrorDetail(absl::NotFoundError("x")).code(), 5);
  EXPECT_EQ(ToErrorDetail(absl::NotFoundError("x")).errno_name(), "");
}

TEST(GrpcStatusTest, WithoutDetailsCodeAndMessageRemain) {
  for (const char* details : {"", "not a google.rpc.Status \xff"}) {
    const absl::Status arrived = FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone", details));
    EXPECT_THAT(arrived, StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_EQ(arrived.message(), "gone");
    EXPECT_THAT(arrived, HasReason(""));
  }
}

TEST(GrpcStatusTest, DetailWithoutACodeIsStillAnError) {
  v1::ErrorDetail detail;
  detail.set_reason("ODD");
  EXPECT_THAT(FromErrorDetail(detail), StatusIs(absl::StatusCode::kUnknown));
}

TEST(GrpcStatusTest, FileNamesInMessagesCannotBreakTheWireOrATerminal) {
  const std::string name = "/a/\xff\xfe\n\x1b[2J\xc3\xa9\x7f";
  const absl::Status status = ErrnoError(EIO, "open " + name);
  const grpc::Status sent = ToGrpc(status);
  for (const std::string& message : {sent.error_message(), ToErrorDetail(status).message()}) {
    EXPECT_NE(message.find("open /a/"), std::string::npos);
    for (char c : message) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << static_cast<int>(c);
  }
  EXPECT_THAT(FromGrpc(sent), HasErrno(EIO));
}

}  // namespace
}  // namespace cowherd
