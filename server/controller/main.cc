#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/credentials.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/base/version.h"
#include "server/controller/controller_service.h"
#include "server/controller/grpc_node_link.h"
#include "server/controller/request.h"
#include "server/controller/schedule_convert.h"
#include "server/controller/schedule_service.h"
#include "server/controller/timed_store.h"
#include "server/controller/window_convert.h"
#include "server/jobs/sqlite_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/discovery.h"
#include "server/sched/loop.h"
#include "server/sched/loop_thread.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_windows.h"
#include "server/sched/schedules.h"
#include "server/serving/serving.h"

namespace cowherd {
namespace {

constexpr int kBadFlags = 2;
constexpr int kFailed = 1;
constexpr size_t kMaxWaitingCalls = 1'000;

struct Flags {
  ServingFlags serving;
  std::string store;
  std::vector<std::string> nodes;
  std::vector<std::string> node_dns;
  std::string probe_interval = "10s";
  std::string lost_after = "10m";
  size_t max_tasks = SchedulerLimits().in_all;
  size_t max_tasks_per_node = SchedulerLimits().per_node;
};

// The flags, checked.
struct Config {
  std::vector<Target> nodes;
  std::vector<DnsName> node_dns;
  Loop::Options loop;
  GrpcNodeLink::Options link;
};

absl::StatusOr<Config> Check(const Flags& flags) {
  Config config;
  config.link.allow_any_address = flags.serving.tls.any() || flags.serving.allow_remote_plaintext;
  for (const std::string& text : flags.nodes) {
    ASSIGN_OR_RETURN(Target target, ParseNode(text));
    if (!config.link.allow_any_address && !IsLocalAddress(target.endpoint.address)) {
      return FieldError("--node",
                        absl::StrCat(target.endpoint.address,
                                     " is on another machine; give --tls_cert, --tls_key and --tls_ca, or "
                                     "--allow_remote_plaintext"));
    }
    config.nodes.push_back(std::move(target));
  }
  for (const std::string& text : flags.node_dns) {
    ASSIGN_OR_RETURN(DnsName name, ParseDnsName(text));
    config.node_dns.push_back(std::move(name));
  }
  absl::Duration& interval = config.loop.probe_interval;
  if (!absl::ParseDuration(flags.probe_interval, &interval) || interval < absl::Milliseconds(100) ||
      interval > absl::Hours(1)) {
    return FieldError("--probe_interval", "not a duration from 100ms to 1h, such as 10s");
  }
  if (!absl::ParseDuration(flags.lost_after, &config.loop.lost_after) || config.loop.lost_after < interval ||
      config.loop.lost_after > absl::Hours(24 * 365)) {
    return FieldError("--lost_after", "not a duration from --probe_interval to 8760h, such as 10m");
  }
  if (flags.max_tasks == 0) return FieldError("--max_tasks", "must be above 0");
  if (flags.max_tasks_per_node == 0) return FieldError("--max_tasks_per_node", "must be above 0");
  config.loop.limits.per_node = flags.max_tasks_per_node;
  config.loop.limits.in_all = flags.max_tasks;
  config.link.idle_after = std::max(interval / 2, absl::Seconds(1));
  ASSIGN_OR_RETURN(config.link.credentials, MakeChannelCredentials(flags.serving.tls));
  return config;
}

int Fail(const absl::Status& status, int code) {
  Log(LogLevel::kError, "cannot start", {{"error", status}});
  return code;
}

int Main(int argc, char** argv) {
  Serving::BlockSignals();
  CLI::App app("Schedules deduplication jobs over the storage nodes of a cluster.", "cowherd-controller");
  Flags flags;
  flags.serving.listen = "127.0.0.1:7400";
  flags.serving.metrics_listen = "127.0.0.1:7401";
  AddServingFlags(app, flags.serving);
  app.add_option("--store", flags.store, "SQLite file that keeps the jobs; made if there is none")
      ->required();
  app.add_option(
      "--node", flags.nodes,
      "A node: NAME=HOST:PORT, or HOST:PORT. May be repeated, with the same NAME for another address "
      "of the same node");
  app.add_option("--node_dns", flags.node_dns, "HOST:PORT whose every address is a node; may be repeated");
  app.add_option("--probe_interval", flags.probe_interval, "How often nodes are asked and names resolved")
      ->capture_default_str();
  app.add_option(
         "--lost_after", flags.lost_after,
         "A node that has not been up for so long, counted anew when the controller starts, is lost: its "
         "tasks fail if their jobs say --on_lost_node give_up, and cancelled ones end")
      ->capture_default_str();
  app.add_option("--max_tasks", flags.max_tasks, "Tasks that run at a time")->capture_default_str();
  app.add_option("--max_tasks_per_node", flags.max_tasks_per_node, "Tasks that run at a time on one node")
      ->capture_default_str();
  if (const int code = ParseFlags(app, argc, argv); code >= 0) return code;
  LogLevel level = LogLevel::kInfo;
  if (absl::Status status = ParseLogLevel(flags.serving.log_level, &level); !status.ok()) {
    return Fail(status, kBadFlags);
  }
  StartLog("controller", level);
  absl::StatusOr<Config> config = Check(flags);
  if (!config.ok()) return Fail(config.status(), kBadFlags);
  if (flags.serving.allow_remote_plaintext && !flags.serving.tls.any()) {
    Log(LogLevel::kWarning, "nodes are dialled in plain text: anyone on the way can read and change orders");
  }

  auto registry = std::make_shared<prometheus::Registry>();
  ControllerMetrics metrics(*registry, kVersion, {std::begin(kRetryReasons), std::end(kRetryReasons)},
                            {std::begin(kStoreOperations), std::end(kStoreOperations)});
  absl::StatusOr<std::unique_ptr<JobStore>> file = OpenSqliteStore(flags.store);
  if (!file.ok()) return Fail(file.status(), kFailed);
  TimedStore store(*std::move(file), metrics);
  const RealClock clock;
  absl::BitGen random;
  auto mailbox = std::make_shared<Mailbox>(kMaxWaitingCalls);
  auto link = std::make_unique<GrpcNodeLink>(config->link);
  Loop loop(store, *link, clock, mailbox, metrics, ReadPlan, random, config->loop);
  if (absl::Status status = loop.SetTargets("static", config->nodes); !status.ok())
    return Fail(status, kBadFlags);
  if (absl::Status status = loop.Recover(); !status.ok()) return Fail(status, kFailed);

  Schedules schedules(store, loop, clock, MakeScheduleCodec(), metrics, random);
  if (absl::Status status = schedules.Recover(); !status.ok()) return Fail(status, kFailed);
  NodeWindows node_windows(store, loop, ReadNodeWindows);
  if (absl::Status status = node_windows.Recover(); !status.ok()) return Fail(status, kFailed);

  ControllerService service(loop, mailbox);
  ScheduleService schedule_service(schedules, node_windows, clock, mailbox);
  absl::StatusOr<std::unique_ptr<Serving>> serving =
      Serving::Start(flags.serving, {&service, &schedule_service}, registry);
  if (!serving.ok()) {
    return Fail(serving.status(), absl::IsInvalidArgument(serving.status()) ? kBadFlags : kFailed);
  }
  {
    LoopThread thread(loop, schedules, *mailbox, clock);
    std::vector<std::unique_ptr<DnsWatch>> watches;
    for (const DnsName& name : config->node_dns) {
      const std::string source = absl::StrCat("dns ", name.host, ":", name.port);
      watches.push_back(std::make_unique<DnsWatch>(
          name, config->loop.probe_interval, Resolve, [&loop, mailbox, source](std::vector<Target> targets) {
            mailbox->PostNews([&loop, source, targets = std::move(targets)] {
              if (absl::Status status = loop.SetTargets(source, targets); !status.ok()) {
                Log(LogLevel::kError, "nodes not taken over", {{"source", source}, {"error", status}});
              }
            });
          }));
    }
    Serving::WaitForSignal();
  }
  (*serving)->Shutdown();
  // Calls under way may still use the loop's mailbox.
  link.reset();
  Log(LogLevel::kInfo, "stopped");
  return 0;
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Main(argc, argv); }
