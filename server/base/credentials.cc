#include "server/base/credentials.h"

#include <cerrno>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

struct Pem {
  std::string cert;
  std::string key;
  std::string ca;
};

// `holds`: the end of the PEM block's name.
absl::StatusOr<std::string> ReadPem(const std::string& flag, const std::string& path,
                                    const std::string& holds) {
  if (path.empty())
    return FieldError(flag, "missing: mutual TLS needs a certificate, its key and an authority");
  std::ifstream file(path, std::ios::binary);
  if (!file) return WithField(ErrnoError(errno, absl::StrCat(flag, ": open ", path)), flag);
  std::ostringstream text;
  text << file.rdbuf();
  if (!absl::StrContains(text.str(), absl::StrCat(holds, "-----"))) {
    return FieldError(flag, absl::StrCat(path, " holds no ", holds, " in PEM form"));
  }
  return text.str();
}

absl::StatusOr<Pem> ReadFiles(const TlsFiles& files, absl::string_view flags) {
  Pem pem;
  ASSIGN_OR_RETURN(pem.cert, ReadPem(absl::StrCat(flags, "cert"), files.cert, "CERTIFICATE"));
  ASSIGN_OR_RETURN(pem.key, ReadPem(absl::StrCat(flags, "key"), files.key, "PRIVATE KEY"));
  ASSIGN_OR_RETURN(pem.ca, ReadPem(absl::StrCat(flags, "ca"), files.ca, "CERTIFICATE"));
  return pem;
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const TlsFiles& files) {
  if (!files.any()) return grpc::InsecureServerCredentials();
  ASSIGN_OR_RETURN(Pem pem, ReadFiles(files, "--tls_"));
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = pem.ca;
  options.pem_key_cert_pairs.push_back({pem.key, pem.cert});
  return grpc::SslServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const TlsFiles& files,
                                                                                 absl::string_view flags) {
  if (!files.any()) return grpc::InsecureChannelCredentials();
  ASSIGN_OR_RETURN(Pem pem, ReadFiles(files, flags));
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = pem.ca;
  options.pem_private_key = pem.key;
  options.pem_cert_chain = pem.cert;
  return grpc::SslCredentials(options);
}

bool IsLocalAddress(const std::string& address) {
  // A name may begin with "127." too, and lie anywhere.
  const std::string host = address.substr(0, address.find(':'));
  const bool loopback = absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == host.npos;
  return loopback || absl::StartsWith(address, "[::1]:") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "unix:");
}

}  // namespace cowherd
