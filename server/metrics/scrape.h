#ifndef COWHERD_SERVER_METRICS_SCRAPE_H_
#define COWHERD_SERVER_METRICS_SCRAPE_H_

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cowherd {

// Families of series that are made anew at each scrape.
class Scrape {
 public:
  using Label = prometheus::ClientMetric::Label;

  void Counter(const char* name, const char* help, std::vector<Label> labels, double value) {
    Sample(name, help, prometheus::MetricType::Counter, std::move(labels)).counter.value = value;
  }
  void Gauge(const char* name, const char* help, std::vector<Label> labels, double value) {
    Sample(name, help, prometheus::MetricType::Gauge, std::move(labels)).gauge.value = value;
  }

  std::vector<prometheus::MetricFamily> Take() {
    std::vector<prometheus::MetricFamily> families;
    for (auto& [name, family] : families_) families.push_back(std::move(family));
    return families;
  }

 private:
  prometheus::ClientMetric& Sample(const char* name, const char* help, prometheus::MetricType type,
                                   std::vector<Label> labels) {
    prometheus::MetricFamily& family = families_[name];
    family.name = name;
    family.help = help;
    family.type = type;
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  std::map<std::string, prometheus::MetricFamily> families_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_METRICS_SCRAPE_H_
