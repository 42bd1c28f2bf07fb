#ifndef COWHERD_SERVER_CONTROLLER_CALL_ON_LOOP_H_
#define COWHERD_SERVER_CONTROLLER_CALL_ON_LOOP_H_

#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/status.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/sched/mailbox.h"

namespace cowherd {

// Lets the mailbox's thread make the call, an absl::Status(); the RPC ends with what it returns. UNAVAILABLE
// "NOT_LEADER": by then another may lead, and know better.
template <typename Call>
grpc::ServerUnaryReactor* CallOnLoop(Mailbox& mailbox, grpc::CallbackServerContext* context, Call call) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status posted = mailbox.PostCall([&mailbox, reactor, call = std::move(call)]() mutable {
    reactor->Finish(ToGrpc(mailbox.Holds() ? call() : NotLeader("")));
  });
  if (!posted.ok()) reactor->Finish(ToGrpc(posted));
  return reactor;
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CALL_ON_LOOP_H_
