#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

absl::StatusOr<std::shared_ptr<grpc::Channel>> Make(const std::string& address, const ChannelFlags& flags,
                                                    grpc::ChannelArguments arguments) {
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
  // The servers refuse pings that come more often than every 5 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  // Also while nothing is said: a watch may be silent for hours.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // The answer to 1024 destinations with the longest paths, and a job with all its results, pass 4 MiB.
  arguments.SetMaxReceiveMessageSize(256 << 20);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ChannelFlags& flags) {
  return Make(address, flags, grpc::ChannelArguments());
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeControllerChannel(const std::string& address,
                                                                     const ChannelFlags& flags,
                                                                     const std::string& tls_name) {
  grpc::ChannelArguments arguments;
  if (!tls_name.empty()) arguments.SetSslTargetNameOverride(tls_name);
  // Only this policy heeds health.
  arguments.SetServiceConfigJSON(
      R"({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}})");
  // Also how long a connection may take to come about.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  // A name is looked up again when nobody answers: by default half a minute after the last time.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 2'000);
  return Make(address, flags, arguments);
}

}  // namespace cowherd
