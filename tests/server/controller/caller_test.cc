// Who calls, by the certificate shown.
#include "server/controller/caller.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "server/base/credentials.h"
#include "tests/testing/test_certificates.h"

namespace cowherd {
namespace {

// Answers with its caller in place of the node.
class Echo final : public v1::HoldService::CallbackService {
 public:
  grpc::ServerUnaryReactor* PauseNode(grpc::CallbackServerContext* context,
                                      const v1::PauseNodeRequest* request, v1::NodeHold* response) override {
    response->set_node(CallerOf(*context, request->by()));
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// Who that is to a server, for a client that says it is "claimed".
std::string Caller(const TlsFiles& server_files, const TlsFiles& client_files) {
  Echo echo;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", MakeServerCredentials(server_files).value(), &port);
  builder.RegisterService(&echo);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const auto stub = v1::HoldService::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), MakeChannelCredentials(client_files).value()));
  grpc::ClientContext context;
  v1::PauseNodeRequest request;
  request.set_by("claimed");
  v1::NodeHold response;
  const grpc::Status status = stub->PauseNode(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.node();
}

TEST(CallerOf, TheCertificateCountsMoreThanWhatIsClaimed) {
  const testing::TestCertificates certificates;
  EXPECT_EQ(Caller(certificates.server, certificates.client), "localhost,127.0.0.1");
}

TEST(CallerOf, OfManyNamesThoseThatFitAreTold) {
  const std::string name(90, 'x');
  EXPECT_EQ(JoinNames({name, "y", name, name, "z"}), name + ",y," + name);
  EXPECT_EQ(JoinNames({std::string(300, 'x'), "y"}), std::string(200, 'x'));
}

TEST(CallerOf, WithoutOneTheClaimIsAllThereIs) { EXPECT_EQ(Caller({}, {}), "claimed"); }

}  // namespace
}  // namespace cowherd
