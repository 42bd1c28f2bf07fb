#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/base/boot_clock.h"
#include "server/base/clock.h"
#include "server/base/credentials.h"
#include "server/base/log.h"
#include "server/base/open_files.h"
#include "server/base/status.h"
#include "server/base/version.h"
#include "server/controller/candidacy.h"
#include "server/controller/front.h"
#include "server/controller/grpc_node_link.h"
#include "server/controller/health_watch.h"
#include "server/controller/store_choice.h"
#include "server/controller/store_pulse.h"
#include "server/controller/term.h"
#include "server/controller/term_gate.h"
#include "server/controller/timed_store.h"
#include "server/etcd/client.h"
#include "server/etcd/election.h"
#include "server/jobs/backup.h"
#include "server/jobs/etcd_store.h"
#include "server/jobs/sqlite_store.h"
#include "server/metrics/controller_metrics.h"
#include "server/sched/discovery.h"
#include "server/sched/loop.h"
#include "server/sched/node_registry.h"
#include "server/serving/serving.h"

namespace cowherd {
namespace {

constexpr int kBadFlags = 2;
constexpr int kFailed = 1;
constexpr int kStopped = 0;

struct Flags {
  ServingFlags serving;
  StoreFlags store;
  std::string advertise;
  std::string lease = "5s";
  // Of the subcommands. Empty: not given.
  std::string backup_to;
  std::string restore_from;
  std::vector<std::string> nodes;
  std::vector<std::string> node_dns;
  std::string probe_interval = "10s";
  std::string lost_after = "10m";
  size_t max_tasks = SchedulerLimits().in_all;
  size_t max_tasks_per_node = SchedulerLimits().per_node;
  size_t max_tasks_per_filesystem = SchedulerLimits().per_filesystem;
  uint64_t max_bytes_per_second = 0;
};

// The flags, checked.
struct Config {
  std::vector<Target> nodes;
  std::vector<DnsName> node_dns;
  Loop::Options loop;
  GrpcNodeLink::Options link;
  // Empty: the store is a SQLite file.
  absl::optional<EtcdChoice> etcd;
  std::string advertise;
  absl::Duration lease;
};

// Where others reach this controller.
absl::StatusOr<std::string> AdvertisedAddress(const Flags& flags) {
  const std::string& address = flags.advertise.empty() ? flags.serving.listen : flags.advertise;
  const std::string host = address.substr(0, address.rfind(':'));
  uint32_t port = 0;
  const bool plain = host != address && absl::SimpleAtoi(address.substr(host.size() + 1), &port) && port > 0;
  if (!plain || host.empty() || host == "0.0.0.0" || host == "[::]" || host == "unix") {
    return FieldError("--advertise", absl::StrCat("with a store in etcd, HOST:PORT where others reach this "
                                                  "controller is needed; \"",
                                                  address, "\" does not tell it"));
  }
  return address;
}

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
  if (flags.max_tasks_per_filesystem == 0) {
    return FieldError("--max_tasks_per_filesystem", "must be above 0");
  }
  RETURN_IF_ERROR(WithField(
      NodeRegistry(config.loop.lost_after).SetTargets("static", config.nodes, absl::Now()), "--node"));
  ASSIGN_OR_RETURN(config.etcd, ChooseStore(flags.store, flags.serving.allow_remote_plaintext));
  const bool serves = flags.backup_to.empty() && flags.restore_from.empty();
  if (config.etcd && serves) {
    ASSIGN_OR_RETURN(config.advertise, AdvertisedAddress(flags));
  } else if (serves && !flags.advertise.empty()) {
    return FieldError("--advertise", "needs a store in etcd: a SQLite file has one controller");
  }
  if (!absl::ParseDuration(flags.lease, &config.lease) || config.lease < absl::Seconds(3) ||
      config.lease > absl::Minutes(1) || config.lease % absl::Seconds(1) != absl::ZeroDuration()) {
    return FieldError("--lease", "not whole seconds from 3s to 1m, such as 5s");
  }
  config.loop.limits.per_node = flags.max_tasks_per_node;
  config.loop.limits.per_filesystem = flags.max_tasks_per_filesystem;
  config.loop.limits.bytes_per_second = flags.max_bytes_per_second;
  config.loop.limits.in_all = flags.max_tasks;
  config.link.idle_after = std::max(interval / 2, absl::Seconds(1));
  ASSIGN_OR_RETURN(config.link.credentials, MakeChannelCredentials(flags.serving.tls));
  return config;
}

int Fail(const absl::Status& status, int code) {
  Log(LogLevel::kError, "cannot start", {{"error", status}});
  return code;
}

// Once; the store must not be in use, unless it is only read and in etcd.
absl::StatusOr<BackupCounts> CopyStore(const Flags& flags, const Config& config) {
  const bool restore = !flags.restore_from.empty();
  if (!config.etcd) {
    const std::string& path = flags.store.store;
    ASSIGN_OR_RETURN(const std::unique_ptr<JobStore> store,
                     restore ? OpenSqliteStore(path) : OpenSqliteStoreToRead(path));
    return restore ? RestoreBackup(flags.restore_from, *store) : WriteBackup(*store, flags.backup_to);
  }
  EtcdClient client(config.etcd->client);
  EtcdStoreOptions options;
  options.prefix = config.etcd->address.prefix;
  if (!restore) return WriteBackup(*MakeEtcdStore(client, nullptr, options), flags.backup_to);
  // No controller may lead meanwhile.
  Election election(client, {EtcdLeaderKey(options.prefix), "restore", config.lease});
  ASSIGN_OR_RETURN(const std::unique_ptr<Leadership> leadership, election.TryOnce());
  return RestoreBackup(flags.restore_from, *MakeEtcdStore(client, leadership.get(), options));
}

int Copy(const Flags& flags, const Config& config) {
  const absl::StatusOr<BackupCounts> counts = CopyStore(flags, config);
  if (!counts.ok()) {
    Log(LogLevel::kError, "not copied", {{"error", counts.status()}});
    return kFailed;
  }
  Log(LogLevel::kInfo, "copied", {{"jobs", counts->jobs}, {"records", counts->records}});
  return kStopped;
}

// What serves whatever the store is.
class Controller {
 public:
  explicit Controller(const Config& config)
      : config_(config), link_(std::make_unique<GrpcNodeLink>(config.link)) {}

  // The only controller of a store in a file.
  int RunAlone(const Flags& flags) {
    absl::StatusOr<std::unique_ptr<JobStore>> store = OpenSqliteStore(flags.store.store);
    if (!store.ok()) return Fail(store.status(), kFailed);
    absl::StatusOr<std::unique_ptr<Term>> term = BeginTerm(*std::move(store), nullptr);
    if (!term.ok()) return Fail(term.status(), kFailed);
    TermGate gate([] { return std::string(); });
    gate.Lead(**term);
    Fronts fronts(gate, nullptr);
    absl::StatusOr<std::unique_ptr<Serving>> serving = Start(flags, fronts);
    if (!serving.ok()) return CannotServe(serving.status());
    metrics_.SetLeads(true);
    (*term)->Start();
    {
      const HealthWatch health(**serving, [this] { return Health(/*answers=*/true, /*leads=*/true); });
      Serving::WaitForSignal();
    }
    (*term)->Stop();
    (*serving)->Shutdown();
    term->reset();
    // Waits for calls under way to nodes.
    link_.reset();
    Log(LogLevel::kInfo, "stopped");
    return kStopped;
  }

  // One of several controllers of a store in etcd.
  int Compete(const Flags& flags) {
    EtcdClient client(config_.etcd->client);
    EtcdStoreOptions options;
    options.prefix = config_.etcd->address.prefix;
    Election election(client, {EtcdLeaderKey(options.prefix), config_.advertise, config_.lease});
    TermGate gate([&election] { return election.leader(); });
    Fronts fronts(gate,
                  std::make_unique<TimedStore>(MakeEtcdStore(client, nullptr, options), metrics_, reads_));
    absl::StatusOr<std::unique_ptr<Serving>> serving = Start(flags, fronts);
    if (!serving.ok()) return CannotServe(serving.status());
    std::atomic<bool> leads{false};
    std::atomic<int> code{kStopped};
    Candidacy::Duties duties;
    duties.begin = [&](const Leadership& leadership) {
      return BeginTerm(MakeEtcdStore(client, &leadership, options),
                       [&leadership] { return leadership.Holds(); });
    };
    duties.lead = [&](Term& term) {
      gate.Lead(term);
      leads = true;
      metrics_.SetLeads(true);
    };
    duties.follow = [&] {
      gate.Follow();
      leads = false;
      metrics_.SetLeads(false);
    };
    duties.give_up = [&](const absl::Status& status) {
      code = Fail(status, kFailed);
      // As if it had been asked to stop.
      ::kill(::getpid(), SIGTERM);
    };
    Candidacy candidacy(election, std::move(duties));
    {
      const HealthWatch health(**serving, [&] { return Health(leads || election.SeesKey(), leads); });
      Serving::WaitForSignal();
      candidacy.Stop();
    }
    (*serving)->Shutdown();
    Log(LogLevel::kInfo, "stopped");
    // To hang up on a thousand nodes takes seconds of processor that the new leader may need; the kernel does
    // it for nothing. All that had to be written is.
    std::_Exit(code);
  }

 private:
  absl::StatusOr<std::unique_ptr<Term>> BeginTerm(std::unique_ptr<JobStore> store,
                                                  std::function<bool()> holds) {
    return Term::Begin(std::make_unique<TimedStore>(std::move(store), metrics_, terms_), *link_, clock_,
                       metrics_, {config_.nodes, config_.node_dns, config_.loop, std::move(holds)});
  }

  // By name: whether calls are answered, and whether each service does what it is asked.
  std::map<std::string, bool> Health(bool answers, bool leads) const {
    const absl::Duration now = SinceBoot();
    answers = answers && !terms_.Hangs(now) && !reads_.Hangs(now);
    std::map<std::string, bool> health = {{"", answers}};
    for (const std::string& service : Fronts::names()) {
      health[service] = answers && leads && !terms_.Fails(now);
    }
    return health;
  }

  absl::StatusOr<std::unique_ptr<Serving>> Start(const Flags& flags, Fronts& fronts) {
    return Serving::Start(flags.serving, fronts.services(), registry_, {metrics_.collectable()});
  }

  static int CannotServe(const absl::Status& status) {
    return Fail(status, absl::IsInvalidArgument(status) ? kBadFlags : kFailed);
  }

  const Config& config_;
  const std::shared_ptr<prometheus::Registry> registry_ = std::make_shared<prometheus::Registry>();
  ControllerMetrics metrics_{*registry_,
                             kVersion,
                             {std::begin(kRetryReasons), std::end(kRetryReasons)},
                             {std::begin(kStoreOperations), std::end(kStoreOperations)}};
  // Of the store of the term, and of the one that is read while another leads.
  StorePulse terms_;
  StorePulse reads_;
  const RealClock clock_;
  std::unique_ptr<GrpcNodeLink> link_;
};

int Main(int argc, char** argv) {
  Serving::BlockSignals();
  CLI::App app("Schedules deduplication jobs over the storage nodes of a cluster.", "cowherd-controller");
  Flags flags;
  flags.serving.listen = "127.0.0.1:7400";
  flags.serving.metrics_listen = "127.0.0.1:7401";
  AddServingFlags(app, flags.serving);
  AddStoreFlags(app, flags.store);
  app.add_option(
      "--advertise", flags.advertise,
      "With a store in etcd: HOST:PORT where clients and other controllers reach this one; --listen "
      "if not given");
  app.add_option("--lease", flags.lease,
                 "With a store in etcd: how long a leader that fell silent keeps the others from taking over")
      ->capture_default_str();
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
  app.add_option("--max_tasks_per_filesystem", flags.max_tasks_per_filesystem,
                 "Tasks that run at a time on one filesystem of a node")
      ->capture_default_str();
  app.add_option("--max_bytes_per_second", flags.max_bytes_per_second,
                 "Bytes that all running tasks together may look at and compare in a second. Each gets an "
                 "equal part when it starts, as if --max_tasks ran, or --max_tasks_per_node on each node "
                 "that is up; a change comes with its next try. 0: no limit")
      ->capture_default_str();
  CLI::App* backup = app.add_subcommand(
      "backup", "Copies the store to a file. One in a SQLite file must not be in use, one in etcd may be");
  backup->add_option("--to", flags.backup_to, "The file; made anew once the copy is complete")->required();
  CLI::App* restore = app.add_subcommand(
      "restore", "Puts what a backup holds into a new store of either kind, while no controller uses it");
  restore->add_option("--from", flags.restore_from, "The file that backup made")->required();
  // --store and its like may follow the subcommand.
  for (CLI::App* command : {backup, restore}) command->fallthrough();
  app.require_subcommand(0, 1);
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

  if (backup->parsed() || restore->parsed()) return Copy(flags, *config);
  // One connection to each node that is at work or probed.
  RaiseOpenFileLimit();
  Controller controller(*config);
  return config->etcd ? controller.Compete(flags) : controller.RunAlone(flags);
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Main(argc, argv); }
