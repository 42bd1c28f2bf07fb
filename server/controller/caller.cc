#include "server/controller/caller.h"

#include <grpcpp/security/auth_context.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/controller/request.h"

namespace cowherd {
std::string JoinNames(absl::Span<const absl::string_view> names) {
  std::string joined;
  for (const absl::string_view name : names) {
    const absl::string_view next = name.substr(0, kMaxBy);
    if (!joined.empty() && joined.size() + 1 + next.size() > kMaxBy) break;
    absl::StrAppend(&joined, joined.empty() ? "" : ",", next);
  }
  return joined;
}

std::string CallerOf(const grpc::ServerContextBase& context, const std::string& claimed) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return claimed;
  std::vector<absl::string_view> names;
  for (const grpc::string_ref& name : peer->GetPeerIdentity()) names.emplace_back(name.data(), name.size());
  return JoinNames(names);
}

}  // namespace cowherd
