#include "server/metrics/certificate_metrics.h"

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/metrics/scrape.h"

namespace cowherd {

std::vector<prometheus::MetricFamily> CertificateMetrics::Collect() const {
  Scrape scrape;
  for (const auto& [file, path] : {std::pair("cert", files_.cert), std::pair("ca", files_.ca)}) {
    const absl::StatusOr<absl::Time> end = FirstExpiryIn(path, file);
    if (!end.ok()) continue;
    scrape.Gauge("cowherd_tls_certificate_expiry_timestamp_seconds",
                 "When the first certificate of the file ends.", {{"file", file}},
                 static_cast<double>(absl::ToUnixSeconds(*end)));
  }
  return scrape.Take();
}

}  // namespace cowherd
