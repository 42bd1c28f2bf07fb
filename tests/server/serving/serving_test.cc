#include "server/serving/serving.h"

#include <arpa/inet.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cowherd/v1/node.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/base/fd.h"
#include "server/base/grpc_status.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/test_certificates.h"

namespace cowherd {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::HasField;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::StatusIs;
using testing::TestCertificates;

const TestCertificates& Certificates() {
  static const auto* const made = new TestCertificates;
  return *made;
}

ServingFlags Loopback() {
  ServingFlags flags;
  flags.listen = "127.0.0.1:0";
  flags.metrics_listen = "none";
  flags.grace_seconds = 5;
  return flags;
}

absl::StatusOr<std::unique_ptr<Serving>> Start(const ServingFlags& flags) {
  static auto* const service = new v1::NodeService::CallbackService;  // refuses every call
  return Serving::Start(flags, {service}, std::make_shared<prometheus::Registry>());
}

std::shared_ptr<grpc::Channel> Channel(
    int port,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = grpc::InsecureChannelCredentials()) {
  return grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), credentials);
}

// What the health service says of the server as a whole.
absl::StatusOr<HealthCheckResponse::ServingStatus> Check(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  HealthCheckResponse response;
  RETURN_IF_ERROR(FromGrpc(Health::NewStub(channel)->Check(&context, HealthCheckRequest(), &response)));
  return response.status();
}

// The body and head of GET `path`.
std::string Get(int port, const std::string& path) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return "";
  const std::string request = absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n");
  EXPECT_EQ(::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(socket.get(), buffer, sizeof(buffer), 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(n));
  }
  return answer;
}

TEST(ServingTest, PlainTextOnLoopback) {
  const auto serving = Start(Loopback());
  ASSERT_THAT(serving, IsOk());
  EXPECT_GT((*serving)->port(), 0);
  EXPECT_EQ((*serving)->metrics_port(), 0);
  EXPECT_EQ((*serving)->health_port(), 0);
  EXPECT_EQ(*Check(Channel((*serving)->port())), HealthCheckResponse::SERVING);
}

TEST(ServingTest, UnixSocket) {
  ServingFlags flags = Loopback();
  flags.listen = absl::StrCat("unix:/tmp/serving_test.", ::getpid());
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  EXPECT_EQ(*Check(grpc::CreateChannel(flags.listen, grpc::InsecureChannelCredentials())),
            HealthCheckResponse::SERVING);
}

TEST(ServingTest, PlainTextForOtherMachinesMustBeAskedFor) {
  ServingFlags flags = Loopback();
  flags.listen = "0.0.0.0:0";
  const auto refused = Start(flags);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(refused, HasField("--listen"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--allow_remote_plaintext"));
  flags.allow_remote_plaintext = true;
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  EXPECT_EQ(*Check(Channel((*serving)->port())), HealthCheckResponse::SERVING);
}

TEST(ServingTest, MutualTls) {
  ServingFlags flags = Loopback();
  flags.listen = "0.0.0.0:0";  // fine with TLS
  flags.tls = Certificates().server;
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  const int port = (*serving)->port();
  EXPECT_EQ(*Check(Channel(port, *MakeChannelCredentials(Certificates().client))),
            HealthCheckResponse::SERVING);

  EXPECT_THAT(Check(Channel(port)), StatusIs(absl::StatusCode::kUnavailable)) << "plain text";
  EXPECT_THAT(Check(Channel(port, *MakeChannelCredentials(Certificates().stranger))),
              StatusIs(absl::StatusCode::kUnavailable))
      << "a certificate of another authority";
  std::ostringstream ca;
  ca << std::ifstream(Certificates().server.ca).rdbuf();
  grpc::SslCredentialsOptions nameless;
  nameless.pem_root_certs = ca.str();
  EXPECT_THAT(Check(Channel(port, grpc::SslCredentials(nameless))), StatusIs(absl::StatusCode::kUnavailable))
      << "no certificate";
}

TEST(ServingTest, HealthPortAnswersInPlainTextWhileTlsIsOn) {
  ServingFlags flags = Loopback();
  flags.tls = Certificates().server;
  flags.health_listen = "127.0.0.1:0";
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  EXPECT_EQ(*Check(Channel((*serving)->health_port())), HealthCheckResponse::SERVING);
  EXPECT_THAT(Check(Channel((*serving)->port())), Not(IsOk()));
}

TEST(ServingTest, MetricsCountCalls) {
  ServingFlags flags = Loopback();
  flags.metrics_listen = "127.0.0.1:0";
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  for (int i = 0; i < 3; ++i) ASSERT_THAT(Check(Channel((*serving)->port())), IsOk());
  grpc::ClientContext context;
  HealthCheckRequest unknown;
  unknown.set_service("none");
  HealthCheckResponse response;
  EXPECT_EQ(Health::NewStub(Channel((*serving)->port()))->Check(&context, unknown, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
  const std::string text = Get((*serving)->metrics_port(), "/metrics");
  EXPECT_THAT(text, HasSubstr("200 OK"));
  const std::string labels = R"(grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unary")";
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{grpc_code=\"OK\"," + labels + "} 3\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{grpc_code=\"NotFound\"," + labels + "} 1\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_started_total{" + labels + "} 4\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handling_seconds_count{" + labels + "} 4\n"));
}

TEST(ServingTest, MetricsOfMethodsThatThereAreNot) {
  ServingFlags flags = Loopback();
  flags.metrics_listen = "127.0.0.1:0";
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  grpc::GenericStub stub(Channel((*serving)->port()));
  for (const char* method :
       {"/evil.v1.Service/Do", "/grpc.health.v1.Health/Evil", "/cowherd.v1.NodeService/Evil"}) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
  }
  EXPECT_THAT(Get((*serving)->metrics_port(), "/metrics"), Not(HasSubstr("vil")));
}

struct PortCase {
  const char* flag;
  std::string ServingFlags::*address;
};

class TakenPortTest : public ::testing::TestWithParam<PortCase> {};

TEST_P(TakenPortTest, NamesTheFlag) {
  const auto first = Start(Loopback());
  ASSERT_THAT(first, IsOk());
  ServingFlags flags = Loopback();
  flags.*GetParam().address = absl::StrCat("127.0.0.1:", (*first)->port());
  const auto second = Start(flags);
  EXPECT_THAT(second, HasField(GetParam().flag));
  EXPECT_THAT(second, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(flags.*GetParam().address));
}

INSTANTIATE_TEST_SUITE_P(Flags, TakenPortTest,
                         ::testing::Values(PortCase{"--listen", &ServingFlags::listen},
                                           PortCase{"--metrics_listen", &ServingFlags::metrics_listen},
                                           PortCase{"--health_listen", &ServingFlags::health_listen}),
                         [](const auto& info) { return std::string(info.param.flag + 2); });

// What a renewal does: every file is another, of another authority even.
void CopyAll(const TlsFiles& from, const TlsFiles& to) {
  for (const auto file : {&TlsFiles::ca, &TlsFiles::cert, &TlsFiles::key}) {
    std::ofstream(to.*file + ".new") << std::ifstream(from.*file).rdbuf();
    ASSERT_EQ(::rename((to.*file + ".new").c_str(), (to.*file).c_str()), 0);
  }
}

TEST(ServingTest, RenewedCertificatesServeNewConnections) {
  const std::string folder = ::testing::TempDir();
  const TlsFiles server_files = {folder + "/renewed.pem", folder + "/renewed.key",
                                 folder + "/renewed-ca.pem"};
  const TlsFiles client_files = {folder + "/client.pem", folder + "/client.key", folder + "/client-ca.pem"};
  CopyAll(Certificates().server, server_files);
  CopyAll(Certificates().client, client_files);
  ServingFlags flags = Loopback();
  flags.tls = server_files;
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  const int port = (*serving)->port();
  const auto client = *MakeChannelCredentials(client_files);
  EXPECT_EQ(*Check(Channel(port, client)), HealthCheckResponse::SERVING);

  const TestCertificates renewed;
  CopyAll(renewed.server, server_files);
  CopyAll(renewed.client, client_files);
  const absl::Time end = absl::Now() + absl::Seconds(6 * kReadAgainSeconds);
  const auto fresh = *MakeChannelCredentials(renewed.client);
  while (!Check(Channel(port, fresh)).ok() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(*Check(Channel(port, fresh)), HealthCheckResponse::SERVING);
  // Credentials that were made before read their files again too.
  while (!Check(Channel(port, client)).ok() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(*Check(Channel(port, client)), HealthCheckResponse::SERVING);
  EXPECT_THAT(Check(Channel(port, *MakeChannelCredentials(Certificates().client))), Not(IsOk()))
      << "of the authority that is gone";
}

TEST(ServingTest, KeyOfAnotherCertificateIsNamed) {
  ServingFlags flags = Loopback();
  flags.tls = Certificates().server;
  flags.tls.key = Certificates().client.key;
  const auto refused = Start(flags);
  EXPECT_THAT(refused, Not(IsOk()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--tls_key"));
}

TEST(ServingTest, ShuttingDownIsNotServing) {
  ServingFlags flags = Loopback();
  flags.health_listen = "127.0.0.1:0";
  flags.grace_seconds = 60;
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  const auto health_channel = Channel((*serving)->health_port());
  EXPECT_EQ(*Check(health_channel), HealthCheckResponse::SERVING);
  // A call that goes on keeps the server from ending.
  grpc::ClientContext context;
  const auto watch = Health::NewStub(Channel((*serving)->port()))->Watch(&context, HealthCheckRequest());
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  std::thread shutdown([&] { (*serving)->Shutdown(); });
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  absl::StatusOr<HealthCheckResponse::ServingStatus> probed;
  do {
    probed = Check(health_channel);
  } while (probed.ok() && *probed == HealthCheckResponse::SERVING);  // its turn comes next
  ASSERT_THAT(probed, IsOk());
  EXPECT_EQ(*probed, HealthCheckResponse::NOT_SERVING);
  context.TryCancel();
  shutdown.join();
  EXPECT_THAT(Check(Channel((*serving)->port())), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(ServingTest, GraceEndsCallsThatGoOn) {
  ServingFlags flags = Loopback();
  flags.grace_seconds = 0.1;
  const auto serving = Start(flags);
  ASSERT_THAT(serving, IsOk());
  grpc::ClientContext context;
  const auto watch = Health::NewStub(Channel((*serving)->port()))->Watch(&context, HealthCheckRequest());
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  (*serving)->Shutdown();
  (*serving)->Shutdown();  // once is enough
  while (watch->Read(&response)) {
  }
  EXPECT_FALSE(watch->Finish().ok());
}

}  // namespace
}  // namespace cowherd
