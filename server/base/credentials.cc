#include "server/base/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
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

using Bio = std::unique_ptr<BIO, int (*)(BIO*)>;
using Certificate = std::unique_ptr<X509, void (*)(X509*)>;
using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;

Bio Text(const std::string& pem) {
  return Bio(::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &::BIO_free);
}

bool BelongTogether(const std::string& cert, const std::string& key) {
  const Certificate certificate(::PEM_read_bio_X509(Text(cert).get(), nullptr, nullptr, nullptr),
                                &::X509_free);
  const Key private_key(::PEM_read_bio_PrivateKey(Text(key).get(), nullptr, nullptr, nullptr),
                        &::EVP_PKEY_free);
  const bool together = certificate != nullptr && private_key != nullptr &&
                        ::X509_check_private_key(certificate.get(), private_key.get()) == 1;
  ::ERR_clear_error();
  return together;
}

absl::Status Check(const TlsFiles& files, absl::string_view flags) {
  const std::string key_flag = absl::StrCat(flags, "key");
  ASSIGN_OR_RETURN(const std::string cert, ReadPem(absl::StrCat(flags, "cert"), files.cert, "CERTIFICATE"));
  ASSIGN_OR_RETURN(const std::string key, ReadPem(key_flag, files.key, "PRIVATE KEY"));
  RETURN_IF_ERROR(ReadPem(absl::StrCat(flags, "ca"), files.ca, "CERTIFICATE").status());
  if (!BelongTogether(cert, key)) {
    return FieldError(key_flag, absl::StrCat(files.key, " is not the key of ", files.cert));
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::experimental::CertificateProviderInterface> Watch(const TlsFiles& files) {
  return std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(files.key, files.cert, files.ca,
                                                                              kReadAgainSeconds);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const TlsFiles& files) {
  if (!files.any()) return grpc::InsecureServerCredentials();
  RETURN_IF_ERROR(Check(files, "--tls_"));
  grpc::experimental::TlsServerCredentialsOptions options(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const TlsFiles& files,
                                                                                 absl::string_view flags) {
  if (!files.any()) return grpc::InsecureChannelCredentials();
  RETURN_IF_ERROR(Check(files, flags));
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

absl::StatusOr<absl::Time> FirstExpiry(const std::string& pem) {
  const Bio text = Text(pem);
  ::ERR_clear_error();
  absl::Time first = absl::InfiniteFuture();
  while (true) {
    const Certificate certificate(::PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr), &::X509_free);
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
