#ifndef COWHERD_SERVER_METRICS_GRPC_METRICS_H_
#define COWHERD_SERVER_METRICS_GRPC_METRICS_H_

#include <grpcpp/support/server_interceptor.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// Counts the calls of a gRPC server under the names that go-grpc-middleware gives them, so that existing
// dashboards fit. Labels are bounded: callers may ask for methods that nobody has heard of, which count as
// "other". The registry must outlive it. Any thread.
class GrpcMetrics final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit GrpcMetrics(prometheus::Registry& registry);
  ~GrpcMetrics() override;
  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* info) override;

 private:
  class Method;
  class Call;

  Method& Find(absl::string_view path, const char* type);

  prometheus::Family<prometheus::Counter>& started_;
  prometheus::Family<prometheus::Counter>& handled_;
  prometheus::Family<prometheus::Histogram>& seconds_;
  std::mutex mutex_;
  // By path; those that are not known, by type.
  absl::flat_hash_map<std::string, std::unique_ptr<Method>> methods_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_METRICS_GRPC_METRICS_H_
