// What a scan leaves, as a node tells it.
#include "server/metrics/node_metrics.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

class NodeMetricsTest : public ::testing::Test {
 protected:
  // Of the one volume; -1 where the metric is missing.
  double Value(const std::string& name) const {
    for (const prometheus::MetricFamily& family : metrics_.collectable()->Collect()) {
      if (family.name == name) return family.metric.at(0).gauge.value;
    }
    return -1;
  }
  double Reclaimable() const { return Value("cowherd_node_reclaimable_bytes"); }

  TotalsBook book_;
  NodeMetrics metrics_{std::make_shared<prometheus::Registry>(), book_, [] {
                         NodeMetrics::Volume volume;
                         volume.name = "data";
                         return std::vector<NodeMetrics::Volume>{volume};
                       }};
};

TEST_F(NodeMetricsTest, NothingIsKnownBeforeAScan) { EXPECT_EQ(Reclaimable(), 0); }

TEST_F(NodeMetricsTest, ADryRunLeavesAllThatItFound) {
  Totals found;
  found.duplicate_bytes = 100;
  found.bytes_freeable = 90;
  metrics_.ScanEnded("data", /*dry_run=*/true, found);
  EXPECT_EQ(Reclaimable(), 90);
}

TEST_F(NodeMetricsTest, ARunLeavesWhatTheKernelDidNotAccept) {
  Totals done;
  done.duplicate_bytes = 100;
  done.bytes_freeable = 90;
  done.bytes_accepted = 60;
  metrics_.ScanEnded("data", /*dry_run=*/false, done);
  EXPECT_EQ(Reclaimable(), 40);
  // Never more than the plan would free,
  done.bytes_accepted = 0;
  metrics_.ScanEnded("data", /*dry_run=*/false, done);
  EXPECT_EQ(Reclaimable(), 90);
  // and nothing where more was accepted than is duplicate, as with snapshots.
  done.bytes_accepted = 300;
  metrics_.ScanEnded("data", /*dry_run=*/false, done);
  EXPECT_EQ(Reclaimable(), 0);
}

}  // namespace
}  // namespace cowherd
