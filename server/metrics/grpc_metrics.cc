#include "server/metrics/grpc_metrics.h"

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <utility>

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

}  // namespace

// The series of one method. To find one by its labels takes longer than to count.
class GrpcMetrics::Method {
 public:
  Method(Labels labels, const GrpcMetrics& metrics)
      : labels_(std::move(labels)),
        started_(metrics.started_.Add(labels_)),
        seconds_(metrics.seconds_.Add(labels_, kSeconds)),
        handled_family_(metrics.handled_) {}

  void Started() { started_.Increment(); }

  void Handled(grpc::StatusCode code, double seconds) {
    size_t index = static_cast<size_t>(code);
    if (index >= kCodes.size()) index = grpc::StatusCode::UNKNOWN;
    prometheus::Counter* handled = handled_[index].load();
    if (handled == nullptr) {
      Labels labels = labels_;
      labels["grpc_code"] = kCodes[index];
      // The same one for whoever asks first.
      handled = &handled_family_.Add(labels);
      handled_[index].store(handled);
    }
    handled->Increment();
    seconds_.Observe(seconds);
  }

 private:
  const Labels labels_;
  prometheus::Counter& started_;
  prometheus::Histogram& seconds_;
  prometheus::Family<prometheus::Counter>& handled_family_;
  std::array<std::atomic<prometheus::Counter*>, kCodes.size()> handled_ = {};
};

// One call. gRPC owns it and deletes it when the call is over.
class GrpcMetrics::Call final : public Interceptor {
 public:
  explicit Call(Method& method) : method_(method) { method_.Started(); }

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
    method_.Handled(code, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count());
  }

  Method& method_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool done_ = false;
};

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

GrpcMetrics::~GrpcMetrics() = default;

GrpcMetrics::Method& GrpcMetrics::Find(absl::string_view path, const char* type) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (const auto known = methods_.find(path); known != methods_.end()) return *known->second;
  absl::string_view name = absl::StripPrefix(path, "/");  // "/package.Service/Method"
  const size_t slash = std::min(name.find('/'), name.size());
  const absl::string_view service = name.substr(0, slash);
  const absl::string_view method = absl::StripPrefix(name.substr(slash), "/");
  const bool known = IsKnown(service, method);
  std::unique_ptr<Method>& found = methods_[known ? std::string(path) : std::string(type)];
  if (found == nullptr) {
    found = std::make_unique<Method>(Labels{{"grpc_service", known ? std::string(service) : "other"},
                                            {"grpc_method", known ? std::string(method) : "other"},
                                            {"grpc_type", type}},
                                     *this);
  }
  return *found;
}

Interceptor* GrpcMetrics::CreateServerInterceptor(ServerRpcInfo* info) {
  return new Call(Find(info->method(), TypeName(info->type())));
}

}  // namespace cowherd
