#ifndef COWHERD_TESTS_TESTING_TEST_CERTIFICATES_H_
#define COWHERD_TESTS_TESTING_TEST_CERTIFICATES_H_

#include <string>

#include "server/base/credentials.h"

namespace cowherd::testing {

// Certificates made anew in the test's own directory: an authority, and a server and a client that it signed.
// All are for "localhost" and 127.0.0.1. A stranger has an authority of its own. Aborts if openssl(1) fails.
struct TestCertificates {
  TestCertificates();

  TlsFiles server;
  TlsFiles client;
  TlsFiles stranger;
};

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_TESTING_TEST_CERTIFICATES_H_
