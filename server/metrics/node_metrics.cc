#include "server/metrics/node_metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <utility>

#include "server/base/version.h"

namespace cowherd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr std::array<absl::string_view, 14> kReasons = {"EXDEV",   "EISDIR", "EINVAL",     "EPERM",  "EACCES",
                                                        "ETXTBSY", "EROFS",  "EOPNOTSUPP", "ENOSPC", "EIO",
                                                        "EBADF",   "ESTALE", "ENOMEM",     "EDQUOT"};
constexpr char kOtherReason[] = "other";

const prometheus::Histogram::BucketBoundaries kCallSeconds = {0.0001, 0.001, 0.003, 0.01, 0.03, 0.1,
                                                              0.3,    1,     3,     10,   30,   60};

prometheus::Family<prometheus::Counter>& TasksEnded(prometheus::Registry& registry) {
  return prometheus::BuildCounter()
      .Name("cowherd_node_tasks_ended_total")
      .Help("Task runs that ended, by outcome.")
      .Register(registry);
}

// Families made at each scrape.
class Scrape {
 public:
  void Counter(const char* name, const char* help, ClientMetric::Label label, double value) {
    Sample(name, help, MetricType::Counter, {std::move(label)}, value);
  }
  void Counter(const char* name, const char* help, ClientMetric::Label one, ClientMetric::Label two,
               double value) {
    Sample(name, help, MetricType::Counter, {std::move(one), std::move(two)}, value);
  }
  void Gauge(const char* name, const char* help, std::vector<ClientMetric::Label> labels, double value) {
    Sample(name, help, MetricType::Gauge, std::move(labels), value);
  }
  std::vector<MetricFamily> Take() {
    std::vector<MetricFamily> families;
    for (auto& [name, family] : families_) families.push_back(std::move(family));
    return families;
  }

 private:
  void Sample(const char* name, const char* help, MetricType type, std::vector<ClientMetric::Label> labels,
              double value) {
    MetricFamily& family = families_[name];
    family.name = name;
    family.help = help;
    family.type = type;
    ClientMetric metric;
    metric.label = std::move(labels);
    if (type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family.metric.push_back(std::move(metric));
  }

  std::map<std::string, MetricFamily> families_;
};

void SampleTotals(Scrape& scrape, const std::string& name, const Totals& t) {
  const ClientMetric::Label volume{"volume", name};
  const auto bytes = [&](const char* metric, const char* help, uint64_t value) {
    scrape.Counter(metric, help, volume, static_cast<double>(value));
  };
  bytes("cowherd_node_dedupe_requested_bytes_total", "Bytes asked of the kernel, counted per destination.",
        t.bytes_requested);
  bytes("cowherd_node_dedupe_accepted_bytes_total",
        "Bytes the kernel answered \"same\" for. Not yet a saving.", t.bytes_accepted);
  bytes("cowherd_node_duplicate_bytes_total",
        "Bytes found to be duplicate and not shared yet, dry runs included.", t.duplicate_bytes);
  bytes("cowherd_node_scan_bytes_total", "Bytes of data looked at to find duplicates.", t.bytes_scanned);
  bytes("cowherd_node_freeable_bytes_total",
        "Space that scans plan to free, what is moved taken off, dry runs included.", t.bytes_freeable);
  bytes("cowherd_node_moved_bytes_total",
        "Unique data that scans plan to copy so that the storage around it goes free, dry runs included.",
        t.bytes_moved);
  bytes("cowherd_node_share_read_bytes_total",
        "Bytes that scans plan to read to compare and to copy, dry runs included.", t.bytes_read);
  bytes("cowherd_node_unchanged_bytes_total",
        "Data that scans did not look at again, since an earlier one did (--state_dir).", t.bytes_unchanged);
  const auto left = [&](const char* reason, uint64_t value) {
    scrape.Counter(
        "cowherd_node_left_bytes_total",
        "Duplicate data that is left as it is, by reason: its storage is held by files outside the "
        "scan or immutable ones, too much would have to be moved, or a file would get too many extents.",
        volume, {"reason", reason}, static_cast<double>(value));
  };
  left("held", t.bytes_held);
  left("unprofitable", t.bytes_unprofitable);
  left("fragmenting", t.bytes_fragmenting);
  const auto throttled = [&](const char* cause, uint64_t nanoseconds) {
    scrape.Counter("cowherd_node_throttled_seconds_total",
                   "Time that threads of scans were held back, by cause.", volume, {"cause", cause},
                   static_cast<double>(nanoseconds) * 1e-9);
  };
  throttled("rate", t.rate_wait_ns);
  throttled("io_pressure", t.pressure_wait_ns);
  scrape.Gauge("cowherd_node_dedupe_won_bytes",
               "Free space after minus before the scans since start, measured after a commit. Other writers "
               "move it too.",
               {volume}, static_cast<double>(t.bytes_won));
  const auto ranges = [&](const char* outcome, uint64_t value) {
    scrape.Counter("cowherd_node_dedupe_ranges_total", "Destination ranges, by outcome.", volume,
                   {"outcome", outcome}, static_cast<double>(value));
  };
  ranges("deduped", t.ranges_deduped);
  ranges("differs", t.ranges_differ);
  ranges("failed", t.ranges_failed);
  const auto files = [&](const char* outcome, uint64_t value) {
    scrape.Counter(
        "cowherd_node_scan_files_total",
        "Files that scans read or, where btrfs keeps checksums, that hold possible duplicates; those "
        "passed over; those that failed.",
        volume, {"outcome", outcome}, static_cast<double>(value));
  };
  files("scanned", t.files_scanned);
  files("skipped", t.files_skipped);
  files("failed", t.files_failed);
  files("unchanged", t.files_unchanged);
  const auto looked_at = [&](const char* source, uint64_t value) {
    scrape.Counter("cowherd_node_scan_source_files_total",
                   "Files that scans looked at, by what told their duplicates; by checksums only those with "
                   "possible ones.",
                   volume, {"source", source}, static_cast<double>(value));
  };
  looked_at("checksums", t.files_scanned - std::min(t.files_scanned, t.files_read));
  looked_at("reading", t.files_read);
}

// What a scan could have freed and did not. A dry run is told nothing of the kernel; another stops short
// where it is cancelled, refused or finds data changed.
uint64_t Reclaimable(bool dry_run, const Totals& t) {
  if (dry_run) return t.bytes_freeable;
  return std::min(t.bytes_freeable, t.duplicate_bytes - std::min(t.duplicate_bytes, t.bytes_accepted));
}

}  // namespace

class NodeMetrics::VolumeCollector final : public prometheus::Collectable {
 public:
  VolumeCollector(const TotalsBook& book, std::function<std::vector<NodeMetrics::Volume>()> look)
      : book_(book), look_(std::move(look)) {}

  void ScanEnded(const std::string& volume, uint64_t reclaimable, absl::Time at) {
    std::lock_guard<std::mutex> lock(mutex_);
    last_scans_[volume] = {reclaimable, at};
  }

  std::vector<MetricFamily> Collect() const override {
    Scrape scrape;
    std::map<std::string, Totals> sums = book_.Sums();
    for (const NodeMetrics::Volume& volume : look_()) {
      const ClientMetric::Label name{"volume", volume.name};
      scrape.Gauge("cowherd_node_volume_present", "1 if the root can be used now.", {name},
                   volume.present ? 1 : 0);
      SampleTotals(scrape, volume.name, sums[volume.name]);
      const LastScan last = last_scan(volume.name);
      scrape.Gauge(
          "cowherd_node_reclaimable_bytes",
          "Space that the last scan of the whole volume found it could free and left: all of it after "
          "a dry run. 0 before the first.",
          {name}, static_cast<double>(last.reclaimable));
      scrape.Gauge(
          "cowherd_node_last_scan_timestamp_seconds",
          "When the last scan of the whole volume ended, since 1970. 0: none has since the node began.",
          {name}, absl::ToDoubleSeconds(last.at - absl::UnixEpoch()));
      if (!volume.present) continue;
      scrape.Gauge("cowherd_node_volume_info", "1; which filesystem the volume is.",
                   {name, {"fs_type", volume.filesystem}, {"fs_uuid", volume.uuid}}, 1);
      scrape.Gauge("cowherd_node_volume_size_bytes", "Size of the filesystem.", {name},
                   static_cast<double>(volume.size_bytes));
      scrape.Gauge("cowherd_node_volume_free_bytes", "Free space of the filesystem.", {name},
                   static_cast<double>(volume.free_bytes));
    }
    return scrape.Take();
  }

 private:
  struct LastScan {
    uint64_t reclaimable = 0;
    absl::Time at = absl::UnixEpoch();
  };

  LastScan last_scan(const std::string& volume) const {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = last_scans_.find(volume);
    return found == last_scans_.end() ? LastScan() : found->second;
  }

  const TotalsBook& book_;
  const std::function<std::vector<NodeMetrics::Volume>()> look_;
  mutable std::mutex mutex_;
  std::map<std::string, LastScan> last_scans_;
};

NodeMetrics::NodeMetrics(const std::shared_ptr<prometheus::Registry>& registry, const TotalsBook& book,
                         std::function<std::vector<Volume>()> look)
    : errors_(prometheus::BuildCounter()
                  .Name("cowherd_node_dedupe_errors_total")
                  .Help("Refusals by the kernel, by errno; one per destination, or one for a whole call.")
                  .Register(*registry)),
      call_seconds_(prometheus::BuildHistogram()
                        .Name("cowherd_node_dedupe_call_duration_seconds")
                        .Help("Time in the kernel for one call that compares and shares.")
                        .Register(*registry)
                        .Add({}, kCallSeconds)),
      running_(prometheus::BuildGauge()
                   .Name("cowherd_node_tasks_running")
                   .Help("Tasks that run now.")
                   .Register(*registry)
                   .Add({})),
      index_budget_(prometheus::BuildGauge()
                        .Name("cowherd_node_index_budget_bytes")
                        .Help("Memory that the index of one scan may take.")
                        .Register(*registry)
                        .Add({})),
      succeeded_(TasksEnded(*registry).Add({{"outcome", "succeeded"}})),
      failed_(TasksEnded(*registry).Add({{"outcome", "failed"}})),
      cancelled_(TasksEnded(*registry).Add({{"outcome", "cancelled"}})),
      volumes_(std::make_shared<VolumeCollector>(book, std::move(look))) {
  prometheus::BuildGauge()
      .Name("cowherd_build_info")
      .Help("1; what runs here.")
      .Register(*registry)
      .Add({{"version", kVersion}, {"component", "node"}})
      .Set(1);
  for (absl::string_view reason : kReasons) errors_.Add({{"reason", std::string(reason)}});
  errors_.Add({{"reason", kOtherReason}});
}

void NodeMetrics::SetIndexBudget(size_t bytes) { index_budget_.Set(static_cast<double>(bytes)); }

void NodeMetrics::ScanEnded(const std::string& volume, bool dry_run, const Totals& totals, absl::Time at) {
  volumes_->ScanEnded(volume, Reclaimable(dry_run, totals), at);
}

std::shared_ptr<prometheus::Collectable> NodeMetrics::collectable() const { return volumes_; }

void NodeMetrics::DedupeCall(double seconds) { call_seconds_.Observe(seconds); }

void NodeMetrics::DedupeError(absl::string_view reason) {
  const bool listed = std::find(kReasons.begin(), kReasons.end(), reason) != kReasons.end();
  errors_.Add({{"reason", listed ? std::string(reason) : kOtherReason}}).Increment();
}

void NodeMetrics::TaskStarted() { running_.Increment(); }

void NodeMetrics::TaskEnded(TaskEnd end) {
  running_.Decrement();
  switch (end) {
    case TaskEnd::kSucceeded:
      succeeded_.Increment();
      break;
    case TaskEnd::kFailed:
      failed_.Increment();
      break;
    case TaskEnd::kCancelled:
      cancelled_.Increment();
      break;
  }
}

}  // namespace cowherd
