#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/metrics/node_metrics.h"

namespace cowherd {
namespace {

using Samples = std::map<std::string, double>;

class NodeSeriesTest : public ::testing::Test {
 protected:
  // Values by "name{label value,...}".
  Samples Scrape() {
    Samples samples;
    for (const auto& families : {registry_->Collect(), metrics_.collectable()->Collect()}) {
      for (const prometheus::MetricFamily& family : families) {
        for (const prometheus::ClientMetric& metric : family.metric) {
          std::string labels;
          for (const auto& label : metric.label) {
            absl::StrAppend(&labels, labels.empty() ? "{" : ",", label.value);
          }
          samples[absl::StrCat(family.name, labels, labels.empty() ? "" : "}")] =
              metric.counter.value + metric.gauge.value;
        }
      }
    }
    return samples;
  }

  TotalsBook book_;
  std::vector<NodeMetrics::Volume> volumes_ = {{"data", true, "btrfs", "12-34", 1000, 400, {}},
                                               {"gone", false, "", "", 0, 0, {}}};
  std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  NodeMetrics metrics_{registry_, book_, [this] { return volumes_; }};
};

TEST_F(NodeSeriesTest, LabelsAreBounded) {
  const size_t before = Scrape().size();
  for (int i = 0; i < 1'000; ++i) {
    metrics_.DedupeError(absl::StrCat("E", i));
    metrics_.OrderRefused(absl::StrCat("REASON_", i));
    // Of a root that was never configured: not told.
    book_.Open(absl::StrCat("root", i));
  }
  EXPECT_EQ(Scrape().size(), before);
  EXPECT_EQ(Scrape().at("cowherd_node_dedupe_errors_total{other}"), 1'000);
  EXPECT_EQ(Scrape().at("cowherd_node_orders_refused_total{other}"), 1'000);
}

TEST_F(NodeSeriesTest, TellsWhoseOrdersAreObeyed) {
  EXPECT_EQ(Scrape().at("cowherd_node_epoch"), 0);
  metrics_.SetEpoch(7);
  EXPECT_EQ(Scrape().at("cowherd_node_epoch"), 7);
  metrics_.OrderRefused("STALE_EPOCH");
  EXPECT_EQ(Scrape().at("cowherd_node_orders_refused_total{stale_epoch}"), 1);
}

TEST_F(NodeSeriesTest, TellsWhatIsMissingByVolume) {
  metrics_.SetRights("estimate", {"CAP_DAC_READ_SEARCH"});
  EXPECT_EQ(Scrape().at("cowherd_node_capability_info{CAP_DAC_READ_SEARCH,estimate}"), 1);
  EXPECT_EQ(Scrape().at("cowherd_node_capability_missing{data,CAP_SYS_ADMIN}"), 0);
  EXPECT_EQ(Scrape().count("cowherd_node_capability_missing{gone,CAP_SYS_ADMIN}"), 0u);
  volumes_[0].missing_capabilities = {"CAP_SYS_ADMIN"};
  EXPECT_EQ(Scrape().at("cowherd_node_capability_missing{data,CAP_SYS_ADMIN}"), 1);
  EXPECT_EQ(Scrape().at("cowherd_node_capability_missing{data,CAP_DAC_READ_SEARCH}"), 0);
}

TEST_F(NodeSeriesTest, TellsWhenAScanLastSucceeded) {
  EXPECT_EQ(Scrape().count("cowherd_node_scan_last_success_timestamp_seconds{data}"), 0u);
  metrics_.ScanSucceeded("data");
  EXPECT_GT(Scrape().at("cowherd_node_scan_last_success_timestamp_seconds{data}"), 1.7e9);
}

}  // namespace
}  // namespace cowherd
