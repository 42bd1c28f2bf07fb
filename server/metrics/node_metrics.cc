#include "server/metrics/node_metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/base/version.h"
#include "server/metrics/scrape.h"

namespace cowherd {
namespace {

using prometheus::MetricFamily;

constexpr std::array<absl::string_view, 14> kReasons = {"EXDEV",   "EISDIR", "EINVAL",     "EPERM",  "EACCES",
                                                        "ETXTBSY", "EROFS",  "EOPNOTSUPP", "ENOSPC", "EIO",
                                                        "EBADF",   "ESTALE", "ENOMEM",     "EDQUOT"};
constexpr std::array<absl::string_view, 5> kRefusals = {"STALE_EPOCH", "EPOCH_NOT_KEPT", "BUSY",
                                                        "TASK_UNKNOWN", "INVALID_ARGUMENT"};
constexpr char kOtherReason[] = "other";

const prometheus::Histogram::BucketBoundaries kCallSeconds = {0.0001, 0.001, 0.003, 0.01, 0.03, 0.1,
                                                              0.3,    1,     3,     10,   30,   60};

std::string Lower(absl::string_view reason) { return absl::AsciiStrToLower(reason); }

prometheus::Family<prometheus::Counter>& TasksEnded(prometheus::Registry& registry) {
  return prometheus::BuildCounter()
      .Name("cowherd_node_tasks_ended_total")
      .Help("Task runs that ended, by outcome.")
      .Register(registry);
}

void SampleTotals(Scrape& scrape, const std::string& name, const Totals& t) {
  const Scrape::Label volume{"volume", name};
  const auto bytes = [&](const char* metric, const char* help, uint64_t value) {
    scrape.Counter(metric, help, {volume}, static_cast<double>(value));
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
        "scan, immutable ones or too many, too much would have to be moved, or a file would get too many "
        "extents.",
        {volume, {"reason", reason}}, static_cast<double>(value));
  };
  left("held", t.bytes_held);
  left("unprofitable", t.bytes_unprofitable);
  left("fragmenting", t.bytes_fragmenting);
  const auto throttled = [&](const char* cause, uint64_t nanoseconds) {
    scrape.Counter("cowherd_node_throttled_seconds_total",
                   "Time that threads of scans were held back, by cause.", {volume, {"cause", cause}},
                   static_cast<double>(nanoseconds) * 1e-9);
  };
  throttled("rate", t.rate_wait_ns);
  throttled("io_pressure", t.pressure_wait_ns);
  scrape.Gauge("cowherd_node_dedupe_won_bytes",
               "Free space after minus before the scans since start, measured after a commit. Other writers "
               "move it too.",
               {volume}, static_cast<double>(t.bytes_won));
  const auto ranges = [&](const char* outcome, uint64_t value) {
    scrape.Counter("cowherd_node_dedupe_ranges_total", "Destination ranges, by outcome.",
                   {volume, {"outcome", outcome}}, static_cast<double>(value));
  };
  ranges("deduped", t.ranges_deduped);
  ranges("differs", t.ranges_differ);
  ranges("failed", t.ranges_failed);
  const auto files = [&](const char* outcome, uint64_t value) {
    scrape.Counter(
        "cowherd_node_scan_files_total",
        "Files that scans read or, where btrfs keeps checksums, that hold possible duplicates; those "
        "passed over; those that failed.",
        {volume, {"outcome", outcome}}, static_cast<double>(value));
  };
  files("scanned", t.files_scanned);
  files("skipped", t.files_skipped);
  files("failed", t.files_failed);
  files("unchanged", t.files_unchanged);
  const auto looked_at = [&](const char* source, uint64_t value) {
    scrape.Counter("cowherd_node_scan_source_files_total",
                   "Files that scans looked at, by what told their duplicates; by checksums only those with "
                   "possible ones.",
                   {volume, {"source", source}}, static_cast<double>(value));
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

  void ScanEnded(const std::string& volume, uint64_t reclaimable) {
    std::lock_guard<std::mutex> lock(mutex_);
    reclaimable_[volume] = reclaimable;
  }

  std::vector<MetricFamily> Collect() const override {
    Scrape scrape;
    std::map<std::string, Totals> sums = book_.Sums();
    for (const NodeMetrics::Volume& volume : look_()) {
      const Scrape::Label name{"volume", volume.name};
      scrape.Gauge("cowherd_node_volume_present", "1 if the root can be used now.", {name},
                   volume.present ? 1 : 0);
      SampleTotals(scrape, volume.name, sums[volume.name]);
      scrape.Gauge(
          "cowherd_node_reclaimable_bytes",
          "Space that the last scan of the whole volume found it could free and left: all of it after "
          "a dry run. 0 before the first.",
          {name}, static_cast<double>(reclaimable(volume.name)));
      if (!volume.present) continue;
      scrape.Gauge("cowherd_node_volume_info", "1; which filesystem the volume is.",
                   {name, {"fs_type", volume.filesystem}, {"fs_uuid", volume.uuid}}, 1);
      scrape.Gauge("cowherd_node_volume_size_bytes", "Size of the filesystem.", {name},
                   static_cast<double>(volume.size_bytes));
      scrape.Gauge("cowherd_node_volume_free_bytes", "Free space of the filesystem.", {name},
                   static_cast<double>(volume.free_bytes));
      for (const char* capability : {"CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"}) {
        const auto& missing = volume.missing_capabilities;
        const bool is_missing = std::find(missing.begin(), missing.end(), capability) != missing.end();
        scrape.Gauge(
            "cowherd_node_capability_missing",
            "1 if work on the volume needs the capability and the node has not got it; the node's log and "
            "GetNode say what is lost.",
            {name, {"capability", capability}}, is_missing ? 1 : 0);
      }
    }
    return scrape.Take();
  }

 private:
  uint64_t reclaimable(const std::string& volume) const {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = reclaimable_.find(volume);
    return found == reclaimable_.end() ? 0 : found->second;
  }

  const TotalsBook& book_;
  const std::function<std::vector<NodeMetrics::Volume>()> look_;
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> reclaimable_;
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
      capabilities_(
          prometheus::BuildGauge()
              .Name("cowherd_node_capability_info")
              .Help("1 for each capability that the process holds of those that matter, with the profile "
                    "that they come to; \"none\" if it holds none.")
              .Register(*registry)),
      epoch_(
          prometheus::BuildGauge()
              .Name("cowherd_node_epoch")
              .Help("The controller's term of office whose orders are obeyed: the highest seen. 0: none yet.")
              .Register(*registry)
              .Add({})),
      orders_refused_(
          prometheus::BuildCounter()
              .Name("cowherd_node_orders_refused_total")
              .Help("Orders of controllers to run or to cancel a task that were refused, by reason.")
              .Register(*registry)),
      scan_successes_(prometheus::BuildGauge()
                          .Name("cowherd_node_scan_last_success_timestamp_seconds")
                          .Help("When a task that scanned the volume last ended well, since this process "
                                "began. Dry runs do not count.")
                          .Register(*registry)),
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
  for (absl::string_view reason : kRefusals) orders_refused_.Add({{"reason", Lower(reason)}});
  orders_refused_.Add({{"reason", kOtherReason}});
}

void NodeMetrics::SetRights(const std::string& profile, const std::vector<std::string>& capabilities) {
  for (const std::string& capability : capabilities) {
    capabilities_.Add({{"profile", profile}, {"capability", capability}}).Set(1);
  }
  if (capabilities.empty()) capabilities_.Add({{"profile", profile}, {"capability", "none"}}).Set(1);
}

void NodeMetrics::SetIndexBudget(size_t bytes) { index_budget_.Set(static_cast<double>(bytes)); }

void NodeMetrics::ScanEnded(const std::string& volume, bool dry_run, const Totals& totals) {
  volumes_->ScanEnded(volume, Reclaimable(dry_run, totals));
}

std::shared_ptr<prometheus::Collectable> NodeMetrics::collectable() const { return volumes_; }

void NodeMetrics::DedupeCall(double seconds) { call_seconds_.Observe(seconds); }

void NodeMetrics::DedupeError(absl::string_view reason) {
  const bool listed = std::find(kReasons.begin(), kReasons.end(), reason) != kReasons.end();
  errors_.Add({{"reason", listed ? std::string(reason) : kOtherReason}}).Increment();
}

void NodeMetrics::SetEpoch(uint64_t epoch) { epoch_.Set(static_cast<double>(epoch)); }

void NodeMetrics::OrderRefused(absl::string_view reason) {
  const bool listed = std::find(kRefusals.begin(), kRefusals.end(), reason) != kRefusals.end();
  orders_refused_.Add({{"reason", listed ? Lower(reason) : kOtherReason}}).Increment();
}

void NodeMetrics::ScanSucceeded(const std::string& volume) {
  scan_successes_.Add({{"volume", volume}}).SetToCurrentTime();
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
