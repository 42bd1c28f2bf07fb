#include "server/metrics/certificate_metrics.h"

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cowherd {

std::vector<prometheus::MetricFamily> CertificateMetrics::Collect() const {
  prometheus::MetricFamily family;
  family.name = "cowherd_tls_certificate_expiry_timestamp_seconds";
  family.help = "When the first certificate of the file ends.";
  family.type = prometheus::MetricType::Gauge;
  for (const auto& [file, path] : {std::pair("cert", files_.cert), std::pair("ca", files_.ca)}) {
    const absl::StatusOr<absl::Time> end = FirstExpiryIn(path, file);
    if (!end.ok()) continue;
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label.push_back({"file", file});
    metric.gauge.value = static_cast<double>(absl::ToUnixSeconds(*end));
  }
  if (family.metric.empty()) return {};
  return {family};
}

}  // namespace cowherd
