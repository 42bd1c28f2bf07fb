// What a process tells of itself.
#include "server/metrics/process_metrics.h"

#include <gtest/gtest.h>

#include <ctime>
#include <map>
#include <string>

namespace cowherd {
namespace {

// Of proc(5)'s fields: 14 and 15 processor time, 20 threads, 22 start, 23 address space, 24 resident pages.
constexpr char kStat[] =
    "17 (cow) herd (x) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 9 0 3000 1048576 256 18446744073709551615\n";

TEST(ParseProcessStat, ReadsWhatFollowsTheName) {
  const absl::StatusOr<ProcessFacts> facts = ParseProcessStat(kStat, 100, 4096);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_DOUBLE_EQ(facts->cpu_seconds, 2.0);
  EXPECT_DOUBLE_EQ(facts->start_seconds, 30.0);
  EXPECT_EQ(facts->threads, 9u);
  EXPECT_EQ(facts->virtual_bytes, 1048576u);
  EXPECT_EQ(facts->resident_bytes, 256u * 4096);
}

TEST(ParseProcessStat, RefusesOtherTexts) {
  for (const char* text :
       {"", "17", "17 (x) S 1 2 3", "17 (x) S 1 2 3 4 5 6 7 8 9 10 a b 13 14 15 16 9 0 3000 1 2 3"}) {
    EXPECT_FALSE(ParseProcessStat(text, 100, 4096).ok()) << text;
  }
}

TEST(ProcessMetrics, TellOfThisProcess) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : ProcessMetrics().Collect()) {
    ASSERT_EQ(family.metric.size(), 1u);
    const prometheus::ClientMetric& metric = family.metric.front();
    values[family.name] =
        family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
  }
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1e5);
  EXPECT_GT(values.at("process_virtual_memory_bytes"), values.at("process_resident_memory_bytes"));
  EXPECT_GE(values.at("process_threads"), 1);
  EXPECT_GE(values.at("process_open_fds"), 3);
  EXPECT_GE(values.at("process_max_fds"), values.at("process_open_fds"));
  EXPECT_GE(values.at("process_cpu_seconds_total"), 0);
  const double age = static_cast<double>(std::time(nullptr)) - values.at("process_start_time_seconds");
  EXPECT_GE(age, -2);
  EXPECT_LT(age, 600);
}

}  // namespace
}  // namespace cowherd
