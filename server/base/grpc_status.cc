#include "server/base/grpc_status.h"

#include <grpcpp/support/error_details.h>

#include <string>

#include "absl/strings/ascii.h"
#include "google/rpc/status.pb.h"
#include "server/base/status.h"

namespace cowherd {

v1::ErrorDetail ToErrorDetail(const absl::Status& status) {
  v1::ErrorDetail detail;
  std::string reason = ReasonOf(status);
  if (reason.empty()) reason = absl::StatusCodeToString(status.code());
  detail.set_reason(reason);
  detail.set_field(FieldOf(status));
  detail.set_errno_number(ErrnoOf(status));
  detail.set_errno_name(ErrnoName(ErrnoOf(status)));
  detail.set_message(std::string(status.message()));
  return detail;
}

absl::Status FromErrorDetail(const v1::ErrorDetail& detail) {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  if (detail.errno_number() != 0) {
    code = ErrnoError(detail.errno_number(), "").code();
  } else {
    for (int c = 1; c <= 16; ++c) {
      if (absl::StatusCodeToString(static_cast<absl::StatusCode>(c)) == detail.reason()) {
        code = static_cast<absl::StatusCode>(c);
      }
    }
  }
  return WithDetail(absl::Status(code, detail.message()), detail.reason(), detail.field(),
                    detail.errno_number());
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // Messages must be UTF-8 on the wire; file names need not be.
  v1::ErrorDetail detail = ToErrorDetail(status);
  for (char& c : *detail.mutable_message()) {
    if (!absl::ascii_isascii(static_cast<unsigned char>(c)) ||
        absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      c = '?';
    }
  }
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(detail.message());
  wire.add_details()->PackFrom(detail);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), detail.message(),
                      wire.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const absl::Status plain(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status wire;
  if (!wire.ParseFromString(status.error_details())) return plain;
  for (const google::protobuf::Any& any : wire.details()) {
    v1::ErrorDetail detail;
    if (any.UnpackTo(&detail)) {
      return WithDetail(plain, detail.reason(), detail.field(), detail.errno_number());
    }
  }
  return plain;
}

}  // namespace cowherd
