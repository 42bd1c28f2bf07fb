#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ChannelFlags& flags) {
  if (address.empty()) return FieldError("address", "empty; give host:port or unix:path");
  if (!flags.tls.any() && !flags.allow_remote_plaintext && !IsLocalAddress(address)) {
    return FieldError(
        "--allow_remote_plaintext",
        absl::StrCat(address,
                     " is not on this machine, and without TLS anyone on the way could read and change the "
                     "call; give --tls_cert, --tls_key and --tls_ca, or --allow_remote_plaintext if the "
                     "network is trusted"));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials, MakeChannelCredentials(flags.tls));
  grpc::ChannelArguments arguments;
  // The servers refuse pings that come more often than every 10 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // The answer to 1024 destinations with the longest paths, and a job with all its results, pass 4 MiB.
  arguments.SetMaxReceiveMessageSize(256 << 20);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace cowherd
