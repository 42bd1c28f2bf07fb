#ifndef COWHERD_CLIENT_CALL_H_
#define COWHERD_CLIENT_CALL_H_

#include <grpcpp/client_context.h>

#include <chrono>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/controllers.h"
#include "client/stream.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"

// What all calls of the clients have in common. For the clients only.
namespace cowherd {

inline void SetTimeout(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout != absl::InfiniteDuration()) context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

// `method` is the stub's: grpc::Status(grpc::ClientContext*, const Request&, Response*).
template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                              const Request& request, absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  return response;
}

// The same at whichever controller answers.
template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> CallAny(Controllers& controllers, Controllers::Repeat repeat,
                                 grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*),
                                 const Request& request, absl::Duration timeout) {
  absl::StatusOr<Response> answer;
  RETURN_IF_ERROR(
      controllers.Run(repeat, timeout, [&](const Controllers::Channel& channel, absl::Duration left) {
        Stub stub(channel);
        answer = Call(stub, method, request, left);
        return answer.status();
      }));
  return answer;
}

// `start(context, reader)` starts the call; `on_message` returns false to stop. OK: the stream ended well, or
// on_message stopped it.
template <typename Response, typename Start, typename OnMessage>
absl::Status ReadAll(Start start, OnMessage on_message, absl::Duration timeout) {
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  StreamReader<Response> reader;
  start(&context, &reader);
  reader.Begin();
  Response message;
  bool stopped = false;
  while (!stopped && reader.Next(&message)) stopped = !on_message(message);
  if (stopped) context.TryCancel();
  const grpc::Status status = reader.Finish();
  return stopped ? absl::OkStatus() : FromGrpc(status);
}

}  // namespace cowherd

#endif  // COWHERD_CLIENT_CALL_H_
