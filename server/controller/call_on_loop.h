#ifndef COWHERD_SERVER_CONTROLLER_CALL_ON_LOOP_H_
#define COWHERD_SERVER_CONTROLLER_CALL_ON_LOOP_H_

#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/status/status.h"
#include "server/base/grpc_status.h"
#include "server/sched/mailbox.h"

namespace cowherd {

// Lets the mailbox's thread make the call, an absl::Status(); the RPC ends with what it returns.
template <typename Call>
grpc::ServerUnaryReactor* CallOnLoop(Mailbox& mailbox, grpc::CallbackServerContext* context, Call call) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status posted =
      mailbox.PostCall([reactor, call = std::move(call)]() mutable { reactor->Finish(ToGrpc(call())); });
  if (!posted.ok()) reactor->Finish(ToGrpc(posted));
  return reactor;
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CALL_ON_LOOP_H_
