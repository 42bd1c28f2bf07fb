#include "server/controller/caller.h"

#include <grpcpp/security/auth_context.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace cowherd {

std::string CallerOf(const grpc::ServerContextBase& context, const std::string& claimed) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return claimed;
  std::string caller;
  for (const grpc::string_ref& name : peer->GetPeerIdentity()) {
    absl::StrAppend(&caller, caller.empty() ? "" : ",", std::string(name.data(), name.size()));
  }
  return caller;
}

}  // namespace cowherd
