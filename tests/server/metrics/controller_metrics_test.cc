// What a controller counts of jobs and space.
#include "server/metrics/controller_metrics.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

class ControllerMetricsTest : public ::testing::Test {
 protected:
  prometheus::ClientMetric Sample(const std::string& name, const std::string& label = "") const {
    for (const prometheus::MetricFamily& family : registry_.Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        if (label.empty() || metric.label.at(0).value == label) return metric;
      }
    }
    ADD_FAILURE() << "no " << name << " " << label;
    return {};
  }

  prometheus::Registry registry_;
  ControllerMetrics metrics_{registry_, "1", {}, {}};
};

TEST_F(ControllerMetricsTest, SpaceThatComesAndSpaceThatGoesAreCountedApart) {
  Totals before;
  Totals after;
  after.bytes_won = 70;
  metrics_.CountProgress(before, after);
  before = after;
  after.bytes_won = 50;
  metrics_.CountProgress(before, after);
  EXPECT_EQ(Sample("cowherd_controller_bytes_won_total").counter.value, 70);
  EXPECT_EQ(Sample("cowherd_controller_bytes_lost_total").counter.value, 20);
}

TEST_F(ControllerMetricsTest, JobsAreTimedByOutcome) {
  metrics_.JobFinished(JobState::kFailed, absl::Seconds(20));
  metrics_.JobFinished(JobState::kFailed, absl::Hours(48));
  const prometheus::ClientMetric failed = Sample("cowherd_controller_job_duration_seconds", "failed");
  EXPECT_EQ(failed.histogram.sample_count, 2u);
  EXPECT_EQ(failed.histogram.sample_sum, 20 + 48 * 3600);
  EXPECT_EQ(Sample("cowherd_controller_job_duration_seconds", "succeeded").histogram.sample_count, 0u);
  EXPECT_EQ(Sample("cowherd_controller_jobs_finished_total", "failed").counter.value, 2);
}

TEST_F(ControllerMetricsTest, WhoLeadsNoMoreKnowsNothing) {
  metrics_.SetLeads(true);
  metrics_.SetOldestTaskAge(absl::Minutes(5));
  metrics_.SetPausedFilesystems(2);
  metrics_.SetLeads(false);
  for (const char* name : {"cowherd_controller_leads", "cowherd_controller_oldest_task_age_seconds",
                           "cowherd_controller_paused_filesystems"}) {
    EXPECT_EQ(Sample(name).gauge.value, 0) << name;
  }
}

}  // namespace
}  // namespace cowherd
