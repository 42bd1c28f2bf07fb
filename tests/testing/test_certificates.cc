#include "tests/testing/test_certificates.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace cowherd::testing {
namespace {

void Run(const std::string& command) {
  if (std::system(command.c_str()) == 0) return;
  std::fprintf(stderr, "failed: %s\n", command.c_str());
  std::abort();
}

// A certificate signed by `ca` (a path without suffix), or by itself.
void Make(const std::string& path, const std::string& ca) {
  const std::string key = "openssl ecparam -name prime256v1 -genkey -noout -out " + path + ".key";
  const std::string subject =
      " -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 ";
  if (ca.empty()) {
    Run(key + " && openssl req -x509 -new -key " + path + ".key -out " + path + ".pem" + subject);
    return;
  }
  // A request's own extensions are left out by x509; the file gives them again.
  Run(key + " && echo subjectAltName=DNS:localhost,IP:127.0.0.1 >" + path +
      ".ext && openssl req -new -subj /CN=localhost -key " + path +
      ".key | openssl x509 -req -days 2 -CAcreateserial -CA " + ca + ".pem -CAkey " + ca + ".key -extfile " +
      path + ".ext -out " + path + ".pem 2>/dev/null");
}

}  // namespace

TestCertificates::TestCertificates() {
  const char* const made = std::getenv("TEST_TMPDIR");
  static std::atomic<int> sets = 0;
  const std::string directory =
      std::string(made != nullptr ? made : "/tmp") + "/certificates-" + std::to_string(++sets);
  Run("mkdir -p " + directory);
  const auto files = [&](const std::string& name, const std::string& ca) {
    return TlsFiles{directory + "/" + name + ".pem", directory + "/" + name + ".key",
                    directory + "/" + ca + ".pem"};
  };
  Make(directory + "/ca", "");
  Make(directory + "/server", directory + "/ca");
  Make(directory + "/client", directory + "/ca");
  Make(directory + "/other", "");
  Make(directory + "/stranger", directory + "/other");
  server = files("server", "ca");
  client = files("client", "ca");
  // Trusts our authority, but is not trusted by it.
  stranger = files("stranger", "ca");
}

}  // namespace cowherd::testing
