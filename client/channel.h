#ifndef COWHERD_CLIENT_CHANNEL_H_
#define COWHERD_CLIENT_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/credentials.h"

namespace cowherd {

struct ChannelFlags {
  TlsFiles tls;
  bool allow_remote_plaintext = false;
};

// A channel to "host:port" or "unix:path". Connects at the first call, not here. No proxy is used, whatever
// the environment says; a peer that is silent for 15 s during a call counts as gone. An error names the flag
// at fault: a TLS file, or --allow_remote_plaintext where plain text would leave this machine.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ChannelFlags& flags);

// The same to a controller: of several addresses that its name has, those whose health service says SERVING
// are used in turn; one to which no connection comes about within 2 s is left for another.
// `tls_name`: the name that their certificate must carry, where it is not the address's host.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeControllerChannel(const std::string& address,
                                                                     const ChannelFlags& flags,
                                                                     const std::string& tls_name = "");

}  // namespace cowherd

#endif  // COWHERD_CLIENT_CHANNEL_H_
