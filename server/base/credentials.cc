#include "server/base/credentials.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <memory>
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

absl::StatusOr<absl::Time> FirstExpiry(const std::string& pem) {
  const std::unique_ptr<BIO, int (*)(BIO*)> text(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                 &::BIO_free);
  ::ERR_clear_error();
  absl::Time first = absl::InfiniteFuture();
  while (true) {
    const std::unique_ptr<X509, void (*)(X509*)> certificate(
        ::PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr), &::X509_free);
    if (certificate == nullptr) break;
    std::tm end = {};
    if (::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate.get()), &end) != 1) {
      return absl::InvalidArgumentError("a certificate does not say when it ends");
    }
    first = std::min(first, absl::FromTM(end, absl::UTCTimeZone()));
  }
  // No further one is the only good reason to stop.
  const bool all_read = ERR_GET_REASON(::ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ::ERR_clear_error();
  if (!all_read) return absl::InvalidArgumentError("a certificate cannot be read");
  if (first == absl::InfiniteFuture()) return absl::InvalidArgumentError("there is no certificate");
  return first;
}

absl::StatusOr<absl::Time> FirstExpiryIn(const std::string& path, const std::string& flag) {
  ASSIGN_OR_RETURN(const std::string pem, ReadPem(flag, path, "CERTIFICATE"));
  absl::StatusOr<absl::Time> first = FirstExpiry(pem);
  if (!first.ok()) return FieldError(flag, absl::StrCat(path, ": ", first.status().message()));
  return first;
}

bool IsLocalAddress(const std::string& address) {
  // A name may begin with "127." too, and lie anywhere.
  const std::string host = address.substr(0, address.find(':'));
  const bool loopback = absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == host.npos;
  return loopback || absl::StartsWith(address, "[::1]:") || absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "unix:");
}

}  // namespace cowherd
