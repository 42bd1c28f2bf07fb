#ifndef COWHERD_SERVER_CONTROLLER_TERM_GATE_H_
#define COWHERD_SERVER_CONTROLLER_TERM_GATE_H_

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/term.h"

namespace cowherd {

// Lets calls reach the term of this controller while it leads. Any thread.
class TermGate {
 public:
  // `leader` tells where the leader is, as far as known; any thread.
  explicit TermGate(std::function<std::string()> leader) : leader_(std::move(leader)) {}

  // From now on, that term is asked; it must live until Follow.
  void Lead(Term& term) {
    std::lock_guard<std::shared_mutex> lock(mutex_);
    term_ = &term;
  }
  // Once it returns, no term is asked any more.
  void Follow() {
    std::lock_guard<std::shared_mutex> lock(mutex_);
    term_ = nullptr;
  }

  // What `call`, which gets the term and must not block, returns: a pointer. Null: this controller does not
  // lead.
  template <typename Call>
  auto Ask(const Call& call) -> decltype(call(std::declval<Term&>())) {
    std::shared_lock<std::shared_mutex> lock(mutex_);
    return term_ != nullptr ? call(*term_) : nullptr;
  }

  absl::Status Refusal() const { return NotLeader(leader_()); }

  // A unary call, by the method of one of the term's services; refused where this controller does not lead.
  template <typename Service, typename Request, typename Response>
  grpc::ServerUnaryReactor* HandOn(Service& (Term::*service)(),
                                   grpc::ServerUnaryReactor* (Service::*method)(grpc::CallbackServerContext*,
                                                                                const Request*, Response*),
                                   grpc::CallbackServerContext* context, const Request* request,
                                   Response* response) {
    grpc::ServerUnaryReactor* reactor =
        Ask([&](Term& term) { return ((term.*service)().*method)(context, request, response); });
    if (reactor != nullptr) return reactor;
    reactor = context->DefaultReactor();
    reactor->Finish(ToGrpc(Refusal()));
    return reactor;
  }

 private:
  const std::function<std::string()> leader_;
  std::shared_mutex mutex_;
  Term* term_ = nullptr;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_TERM_GATE_H_
