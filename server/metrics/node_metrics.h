#ifndef COWHERD_SERVER_METRICS_NODE_METRICS_H_
#define COWHERD_SERVER_METRICS_NODE_METRICS_H_

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/dedupe/totals_book.h"

namespace cowherd {

// Every metric of cowherd-node but grpc_server_*. A volume is a configured root by name, so labels are
// bounded by the configuration; error reasons by a fixed list.
class NodeMetrics {
 public:
  struct Volume {
    std::string name;
    bool present = false;
    std::string filesystem;
    std::string uuid;
    uint64_t size_bytes = 0;
    uint64_t free_bytes = 0;
    // Of the capabilities that matter, those that its work needs and the node has not.
    std::vector<std::string> missing_capabilities;
  };
  enum class TaskEnd { kSucceeded, kFailed, kCancelled };

  // `look` is called at each scrape, on the scraping thread: once per root. It and `book` must outlive the
  // scrapes.
  NodeMetrics(const std::shared_ptr<prometheus::Registry>& registry, const TotalsBook& book,
              std::function<std::vector<Volume>()> look);

  // Once: what the process holds of the capabilities that matter, by name.
  void SetRights(const std::string& profile, const std::vector<std::string>& capabilities);
  // Of each scan.
  void SetIndexBudget(size_t bytes);
  // A scan of a whole volume ended with `totals`, however.
  void ScanEnded(const std::string& volume, bool dry_run, const Totals& totals);
  void DedupeCall(double seconds);
  // An errno's name.
  void DedupeError(absl::string_view reason);
  // Whose orders are obeyed from now on.
  void SetEpoch(uint64_t epoch);
  // An order of a controller that was not carried out: the error's reason.
  void OrderRefused(absl::string_view reason);
  // A scan of the root ended well, now; dry runs do not count.
  void ScanSucceeded(const std::string& volume);
  void TaskStarted();
  void TaskEnded(TaskEnd end);

  // For the /metrics endpoint, beside the registry: values that are asked for at each scrape.
  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  class VolumeCollector;

  prometheus::Family<prometheus::Counter>& errors_;
  prometheus::Histogram& call_seconds_;
  prometheus::Gauge& running_;
  prometheus::Gauge& index_budget_;
  prometheus::Family<prometheus::Gauge>& capabilities_;
  prometheus::Gauge& epoch_;
  prometheus::Family<prometheus::Counter>& orders_refused_;
  prometheus::Family<prometheus::Gauge>& scan_successes_;
  prometheus::Counter& succeeded_;
  prometheus::Counter& failed_;
  prometheus::Counter& cancelled_;
  std::shared_ptr<VolumeCollector> volumes_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_METRICS_NODE_METRICS_H_
