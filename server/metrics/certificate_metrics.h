#ifndef COWHERD_SERVER_METRICS_CERTIFICATE_METRICS_H_
#define COWHERD_SERVER_METRICS_CERTIFICATE_METRICS_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <utility>
#include <vector>

#include "server/base/credentials.h"

namespace cowherd {

// When the certificates of these files end, as they stand at each scrape; what cannot be read then is left
// out. Any thread.
class CertificateMetrics final : public prometheus::Collectable {
 public:
  explicit CertificateMetrics(TlsFiles files) : files_(std::move(files)) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const TlsFiles files_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_METRICS_CERTIFICATE_METRICS_H_
