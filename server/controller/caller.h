#ifndef COWHERD_SERVER_CONTROLLER_CALLER_H_
#define COWHERD_SERVER_CONTROLLER_CALLER_H_

#include <grpcpp/server_context.h>

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace cowherd {

// Joined by commas: as many as fit into kMaxBy bytes, or the beginning of the first. Pure.
std::string JoinNames(absl::Span<const absl::string_view> names);

// Who calls: the identity in the certificate that the caller has shown (its URI or DNS names, see JoinNames);
// without one, `claimed`, which is what it says of itself.
std::string CallerOf(const grpc::ServerContextBase& context, const std::string& claimed);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CALLER_H_
