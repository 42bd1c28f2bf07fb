#include "server/base/grpc_status.h"

#include <grpcpp/support/error_details.h>

#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "google/rpc/status.pb.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// Messages must be UTF-8 on the wire; file names in them need not be, and must not move a terminal's cursor.
std::string Printable(absl::string_view text) {
  std::string printable(text);
  for (char& c : printable) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_isascii(byte) || absl::ascii_iscntrl(byte)) c = '?';
  }
  return printable;
}

absl::Status WithDetailOf(absl::Status status, const v1::ErrorDetail& detail) {
  status = WithDetail(std::move(status), detail.reason(), detail.field(), detail.errno_number());
  return WithLeader(std::move(status), detail.leader());
}

}  // namespace

v1::ErrorDetail ToErrorDetail(const absl::Status& status) {
  v1::ErrorDetail detail;
  std::string reason = ReasonOf(status);
  if (reason.empty()) reason = absl::StatusCodeToString(status.code());
  detail.set_reason(reason);
  detail.set_field(FieldOf(status));
  detail.set_errno_number(ErrnoOf(status));
  detail.set_errno_name(ErrnoName(ErrnoOf(status)));
  detail.set_message(Printable(status.message()));
  detail.set_code(static_cast<int>(status.code()));
  detail.set_leader(LeaderOf(status));
  return detail;
}

absl::Status FromErrorDetail(const v1::ErrorDetail& detail) {
  const absl::StatusCode code =
      detail.code() == 0 ? absl::StatusCode::kUnknown : static_cast<absl::StatusCode>(detail.code());
  return WithDetailOf(absl::Status(code, detail.message()), detail);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const v1::ErrorDetail detail = ToErrorDetail(status);
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(detail.message());
  wire.add_details()->PackFrom(detail);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), detail.message(),
                      wire.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status plain(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status wire;
  if (!wire.ParseFromString(status.error_details())) return plain;
  for (const google::protobuf::Any& any : wire.details()) {
    v1::ErrorDetail detail;
    if (any.UnpackTo(&detail)) {
      return WithDetailOf(std::move(plain), detail);
    }
  }
  return plain;
}

}  // namespace cowherd
