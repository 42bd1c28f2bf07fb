#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/metrics/controller_metrics.h"

namespace cowherd {
namespace {

using Samples = std::map<std::string, double>;

// Values by "name{label value,...}"; of histograms the number of observations.
void Add(const std::vector<prometheus::MetricFamily>& families, Samples& samples) {
  for (const prometheus::MetricFamily& family : families) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::string name = family.name;
      const char* before = "{";
      for (const auto& label : metric.label) {
        absl::StrAppend(&name, before, label.value);
        before = ",";
      }
      if (!metric.label.empty()) name += "}";
      samples[name] =
          metric.counter.value + metric.gauge.value + static_cast<double>(metric.histogram.sample_count);
    }
  }
}

class ControllerSeriesTest : public ::testing::Test {
 protected:
  Samples Scrape() {
    Samples samples;
    Add(registry_.Collect(), samples);
    Add(metrics_.collectable()->Collect(), samples);
    return samples;
  }

  prometheus::Registry registry_;
  ControllerMetrics metrics_{registry_, "1", {"lost"}, {"write", "get"}};
};

TEST_F(ControllerSeriesTest, LabelsAreBounded) {
  const size_t before = Scrape().size();
  for (int i = 0; i < 1'000; ++i) {
    metrics_.TaskRetried(absl::StrCat("reason ", i));
    ControllerMetrics::StoreOperation(metrics_, "unheard").Ended(true);
    metrics_.SetNodes({{absl::StrCat("state ", i), 1}});
    metrics_.SetHolds({{{absl::StrCat("what ", i), "pause"}, 1}});
  }
  EXPECT_EQ(Scrape().size(), before);
  EXPECT_EQ(Scrape().at("cowherd_controller_task_retries_total{other}"), 1'000);
}

TEST_F(ControllerSeriesTest, OfManySchedulesThoseThatAreOverdueAreTold) {
  const size_t before = Scrape().size();
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  for (int i = 0; i < 1'000; ++i) {
    metrics_.SetSchedule(absl::StrCat("s", i), {now, now, now + absl::Seconds(1'000 - i)});
  }
  const Samples samples = Scrape();
  EXPECT_EQ(samples.size(), before + 3 * kMaxScheduleSeries);
  EXPECT_EQ(samples.at("cowherd_controller_schedules"), 1'000);
  EXPECT_EQ(samples.at("cowherd_controller_schedules_left_out"), 800);
  EXPECT_EQ(samples.at("cowherd_controller_schedule_overdue_timestamp_seconds{s999}"), 1'700'000'001);
  EXPECT_EQ(samples.count("cowherd_controller_schedule_overdue_timestamp_seconds{s0}"), 0u);
  metrics_.ForgetSchedule("s999");
  EXPECT_EQ(Scrape().count("cowherd_controller_schedule_overdue_timestamp_seconds{s999}"), 0u);
}

TEST_F(ControllerSeriesTest, OnlyALeaderTellsWhatOnlyItKnows) {
  metrics_.TermBegins(1'700'000'000);
  metrics_.SetFencedNodes(1);
  metrics_.SetJobs({{JobState::kRunning, 3}});
  metrics_.SetTasks({{TaskState::kWaiting, 4}});
  metrics_.SetNodes({{"up", 5}});
  metrics_.SetHolds({{{"cluster", "pause"}, 1}});
  metrics_.SetOldestTaskAge(absl::Hours(1));
  metrics_.SetPausedFilesystems(2);
  metrics_.SetSchedule("nightly", {});
  metrics_.JobFinished(JobState::kSucceeded, absl::Minutes(2));
  EXPECT_EQ(Scrape().at("cowherd_controller_epoch"), 1'700'000'000);
  EXPECT_EQ(Scrape().at("cowherd_controller_fenced"), 1);
  EXPECT_EQ(Scrape().at("cowherd_controller_holds{pause,cluster}"), 1);
  metrics_.TermEnds();
  for (const auto& [name, value] : Scrape()) {
    const bool counts = name.find("_total") != name.npos || name.find("duration") != name.npos ||
                        name.find("build_info") != name.npos;
    if (counts) continue;
    EXPECT_EQ(value, 0) << name;
  }
  EXPECT_EQ(Scrape().at("cowherd_controller_terms_total"), 1);
  EXPECT_EQ(Scrape().at("cowherd_controller_job_duration_seconds{succeeded}"), 1);
  EXPECT_EQ(Scrape().at("cowherd_controller_jobs_finished_total{succeeded}"), 1);
}

TEST_F(ControllerSeriesTest, TellsOfAStoreThatDoesNotAnswer) {
  EXPECT_EQ(Scrape().at("cowherd_store_oldest_operation_seconds"), 0);
  {
    ControllerMetrics::StoreOperation write(metrics_, "write");
    EXPECT_GT(Scrape().at("cowherd_store_oldest_operation_seconds"), 0);
    { ControllerMetrics::StoreOperation(metrics_, "get").Ended(false); }
    EXPECT_GT(Scrape().at("cowherd_store_oldest_operation_seconds"), 0);
    write.Ended(true);
  }
  const Samples samples = Scrape();
  EXPECT_EQ(samples.at("cowherd_store_oldest_operation_seconds"), 0);
  EXPECT_EQ(samples.at("cowherd_store_operation_duration_seconds{write,ok}"), 1);
  EXPECT_EQ(samples.at("cowherd_store_operation_duration_seconds{get,error}"), 1);
}

}  // namespace
}  // namespace cowherd
