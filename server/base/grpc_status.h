#ifndef COWHERD_SERVER_BASE_GRPC_STATUS_H_
#define COWHERD_SERVER_BASE_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "cowherd/v1/errors.pb.h"

// The only place where a status crosses the wire. Reason, field and errno survive the way there and back.
namespace cowherd {

// With a google.rpc.Status that holds an ErrorDetail in its details.
grpc::Status ToGrpc(const absl::Status& status);

// The other way. Without details (a proxy, a dead peer) the code and message remain.
absl::Status FromGrpc(const grpc::Status& status);

// For a failed part of a reply. `status` must not be OK.
v1::ErrorDetail ToErrorDetail(const absl::Status& status);

// The other way.
absl::Status FromErrorDetail(const v1::ErrorDetail& detail);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_GRPC_STATUS_H_
