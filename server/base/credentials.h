#ifndef COWHERD_SERVER_BASE_CREDENTIALS_H_
#define COWHERD_SERVER_BASE_CREDENTIALS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Mutual TLS, or plain text. Files are PEM. They are looked at again every kReadAgainSeconds: what was
// renewed serves the connections made from then on. While one of them is absent the last ones serve; while
// key and certificate do not belong together no new connection comes about.
namespace cowherd {

constexpr unsigned kReadAgainSeconds = 5;

struct TlsFiles {
  std::string cert;  // this side's certificate chain
  std::string key;   // its private key
  std::string ca;    // who may have signed the other side's

  bool any() const { return !cert.empty() || !key.empty() || !ca.empty(); }
};

// With no files: plain text. With some but not all three: an error that names the flag (`flags` and "cert",
// "key" or "ca") missing, as for a file that cannot be read or is not PEM, and for a key that is not the
// certificate's. The server asks for a certificate and refuses peers that show none signed by `ca`.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const TlsFiles& files);
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsFiles& files, absl::string_view flags = "--tls_");

// When the first of the certificates in `pem` ends. INVALID_ARGUMENT: there is none, or one cannot be read.
absl::StatusOr<absl::Time> FirstExpiry(const std::string& pem);

// The same of a file; errors name `flag`.
absl::StatusOr<absl::Time> FirstExpiryIn(const std::string& path, const std::string& flag);

// True for "127.x:port", "[::1]:port", "localhost:port" and "unix:path": what stays on this machine.
bool IsLocalAddress(const std::string& address);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_CREDENTIALS_H_
