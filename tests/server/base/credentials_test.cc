#include "server/base/credentials.h"

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/time/clock.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_certificates.h"

namespace cowherd {
namespace {

using testing::HasErrno;
using testing::HasField;
using testing::IsOk;

const TlsFiles& Good() {
  static const auto* const made = new testing::TestCertificates;
  return made->server;
}

// What both sides say; they must say the same.
absl::Status Make(const TlsFiles& files) {
  absl::Status server = MakeServerCredentials(files).status();
  const absl::Status channel = MakeChannelCredentials(files).status();
  EXPECT_EQ(server, channel);
  return server;
}

TEST(CredentialsTest, AllThreeOrNone) {
  EXPECT_THAT(Make({}), IsOk());
  EXPECT_THAT(Make(Good()), IsOk());
}

struct FlagCase {
  const char* flag;
  std::string TlsFiles::*file;
};

class CredentialsFlagTest : public ::testing::TestWithParam<FlagCase> {
 protected:
  // Good files but for one.
  absl::Status MakeWith(const std::string& path) {
    TlsFiles files = Good();
    files.*GetParam().file = path;
    return Make(files);
  }
};

TEST_P(CredentialsFlagTest, NamesTheFlag) {
  const char* const flag = GetParam().flag;
  EXPECT_THAT(MakeWith(""), HasField(flag));
  const absl::Status absent = MakeWith(::testing::TempDir() + "/absent.pem");
  EXPECT_THAT(absent, HasField(flag));
  EXPECT_THAT(absent, HasErrno(ENOENT));
  EXPECT_THAT(MakeWith(::testing::TempDir()), HasField(flag));
  const std::string other = ::testing::TempDir() + "/other.txt";
  std::ofstream(other) << "hello";
  EXPECT_THAT(MakeWith(other), HasField(flag));
}

TEST_P(CredentialsFlagTest, TellsCertificatesFromKeys) {
  const TlsFiles& good = Good();
  const bool is_key = GetParam().file == &TlsFiles::key;
  EXPECT_THAT(MakeWith(is_key ? good.cert : good.key), HasField(GetParam().flag));
}

INSTANTIATE_TEST_SUITE_P(Flags, CredentialsFlagTest,
                         ::testing::Values(FlagCase{"--tls_cert", &TlsFiles::cert},
                                           FlagCase{"--tls_key", &TlsFiles::key},
                                           FlagCase{"--tls_ca", &TlsFiles::ca}),
                         [](const auto& info) { return std::string(info.param.flag + 2); });

std::string TextOf(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(FirstExpiryTest, OfSeveralCertificatesTheFirst) {
  // Both end two days after they were made.
  const std::string both = TextOf(Good().cert) + TextOf(Good().ca);
  const absl::Time now = absl::Now();
  for (const std::string& pem : {TextOf(Good().cert), both, TextOf(Good().key) + both}) {
    const absl::StatusOr<absl::Time> end = FirstExpiry(pem);
    ASSERT_THAT(end, IsOk());
    EXPECT_GT(*end, now + absl::Hours(47));
    EXPECT_LE(*end, now + absl::Hours(48));
  }
  const std::string short_lived = ::testing::TempDir() + "/short.pem";
  ASSERT_EQ(
      std::system(
          ("openssl req -x509 -key " + Good().key + " -subj /CN=x -days 1 -out " + short_lived).c_str()),
      0);
  for (const std::string& pem : {TextOf(short_lived) + both, both + TextOf(short_lived)}) {
    const absl::StatusOr<absl::Time> end = FirstExpiry(pem);
    ASSERT_THAT(end, IsOk());
    EXPECT_LE(*end, now + absl::Hours(24) + absl::Seconds(60));
  }
}

TEST(FirstExpiryTest, WhatCannotBeReadIsAnErrorOfTheFlag) {
  EXPECT_FALSE(FirstExpiry("").ok());
  EXPECT_FALSE(FirstExpiry(TextOf(Good().key)).ok());
  std::string broken = TextOf(Good().cert);
  broken[broken.size() / 2] = '!';
  EXPECT_FALSE(FirstExpiry(broken).ok());
  EXPECT_FALSE(FirstExpiry(TextOf(Good().cert) + broken).ok());
  const std::string path = ::testing::TempDir() + "/broken.pem";
  std::ofstream(path) << broken;
  EXPECT_THAT(FirstExpiryIn(path, "--tls_cert"), HasField("--tls_cert"));
  EXPECT_THAT(FirstExpiryIn(Good().ca, "--tls_ca"), IsOk());
}

TEST(IsLocalAddressTest, Table) {
  for (const char* address :
       {"127.0.0.1:7300", "127.8.9.10:0", "[::1]:7300", "localhost:7300", "unix:/run/x"}) {
    EXPECT_TRUE(IsLocalAddress(address)) << address;
  }
  for (const char* address : {"0.0.0.0:7300", "[::]:7300", "10.0.0.1:7300", "localhost.example.org:7300",
                              ":7300", "", "127.example.org:7300", "127.0.0.1.example.org:7300",
                              "[::1%eth0]:1", "1270:1", "example.org:127", "[::ffff:127.0.0.1]:1"}) {
    EXPECT_FALSE(IsLocalAddress(address)) << address;
  }
}

}  // namespace
}  // namespace cowherd
