#ifndef COWHERD_SERVER_METRICS_PROCESS_METRICS_H_
#define COWHERD_SERVER_METRICS_PROCESS_METRICS_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// What /proc tells of a process (proc(5)).
struct ProcessFacts {
  double cpu_seconds = 0;
  // After the machine began.
  double start_seconds = 0;
  uint64_t threads = 0;
  uint64_t virtual_bytes = 0;
  uint64_t resident_bytes = 0;
};

// Reads the one line of /proc/PID/stat. Pure.
absl::StatusOr<ProcessFacts> ParseProcessStat(absl::string_view stat, double ticks_per_second,
                                              uint64_t page_bytes);

// This process under the names that every Prometheus client uses: process_cpu_seconds_total,
// process_resident_memory_bytes and so on. Looks at each scrape; what cannot be read is left out. Any thread.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_METRICS_PROCESS_METRICS_H_
