#include "server/metrics/grpc_metrics.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace cowherd {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;
using Labels = std::map<std::string, std::string>;

const prometheus::Histogram::BucketBoundaries kSeconds = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3,
                                                          1,     3,     10,   60,   600};

constexpr std::array<const char*, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const char* TypeName(ServerRpcInfo::Type type) {
  switch (type) {
    case ServerRpcInfo::Type::UNARY:
      return "unary";
    case ServerRpcInfo::Type::CLIENT_STREAMING:
      return "client_stream";
    case ServerRpcInfo::Type::SERVER_STREAMING:
      return "server_stream";
    case ServerRpcInfo::Type::BIDI_STREAMING:
      return "bidi_stream";
  }
  return "unknown";
}

// Whether this program could serve it: what it links is in protobuf's pool, but for gRPC's own health
// service.
bool IsKnown(absl::string_view service, absl::string_view method) {
  if (service == "grpc.health.v1.Health") return method == "Check" || method == "Watch";
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  return pool->FindMethodByName(absl::StrCat(service, ".", method)) != nullptr;
}

// One call. gRPC owns it and deletes it when the call is over.
class Call final : public Interceptor {
 public:
  Call(Labels labels, prometheus::Family<prometheus::Counter>& handled, prometheus::Histogram& seconds)
      : labels_(std::move(labels)), handled_(handled), seconds_(seconds) {}

  // A call that ends without a status was given up by the client.
  ~Call() override {
    if (!done_) Done(grpc::StatusCode::CANCELLED);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Done(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  void Done(grpc::StatusCode code) {
    done_ = true;
    labels_["grpc_code"] = code >= 0 && static_cast<size_t>(code) < kCodes.size() ? kCodes[code] : "Unknown";
    handled_.Add(labels_).Increment();
    seconds_.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count());
  }

  Labels labels_;
  prometheus::Family<prometheus::Counter>& handled_;
  prometheus::Histogram& seconds_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool done_ = false;
};

}  // namespace

GrpcMetrics::GrpcMetrics(prometheus::Registry& registry)
    : started_(prometheus::BuildCounter()
                   .Name("grpc_server_started_total")
                   .Help("Calls begun.")
                   .Register(registry)),
      handled_(prometheus::BuildCounter()
                   .Name("grpc_server_handled_total")
                   .Help("Calls ended, by status code. Streams count once, at their end.")
                   .Register(registry)),
      seconds_(prometheus::BuildHistogram()
                   .Name("grpc_server_handling_seconds")
                   .Help("Time from a call's begin to its status.")
                   .Register(registry)) {}

Interceptor* GrpcMetrics::CreateServerInterceptor(ServerRpcInfo* info) {
  absl::string_view path = info->method();  // "/package.Service/Method"
  path.remove_prefix(path.empty() ? 0 : 1);
  const size_t slash = std::min(path.find('/'), path.size());
  const absl::string_view service = path.substr(0, slash);
  const absl::string_view method = absl::StripPrefix(path.substr(slash), "/");
  const bool known = IsKnown(service, method);
  Labels labels = {{"grpc_service", known ? std::string(service) : "other"},
                   {"grpc_method", known ? std::string(method) : "other"},
                   {"grpc_type", TypeName(info->type())}};
  started_.Add(labels).Increment();
  prometheus::Histogram& seconds = seconds_.Add(labels, kSeconds);
  return new Call(std::move(labels), handled_, seconds);
}

}  // namespace cowherd
