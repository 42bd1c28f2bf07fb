#ifndef COWHERD_SERVER_CONTROLLER_CALLER_H_
#define COWHERD_SERVER_CONTROLLER_CALLER_H_

#include <grpcpp/server_context.h>

#include <string>

namespace cowherd {

// Who calls: the identity in the certificate that the caller has shown (its URI or DNS names, joined by
// commas); without one, `claimed`, which is what it says of itself.
std::string CallerOf(const grpc::ServerContextBase& context, const std::string& claimed);

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CALLER_H_
