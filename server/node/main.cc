#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "server/base/log.h"
#include "server/base/memory_limit.h"
#include "server/base/open_files.h"
#include "server/base/random_id.h"
#include "server/base/read_file.h"
#include "server/base/status.h"
#include "server/base/work_pool.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/metrics/node_metrics.h"
#include "server/node/epoch_gate.h"
#include "server/node/index_budget.h"
#include "server/node/io_class.h"
#include "server/node/metered_extent_ops.h"
#include "server/node/node.h"
#include "server/node/node_record.h"
#include "server/node/node_service.h"
#include "server/node/pool_watch.h"
#include "server/node/rights.h"
#include "server/scan/pace.h"
#include "server/scan/scan_state.h"
#include "server/serving/serving.h"

namespace cowherd {
namespace {

constexpr size_t kCallThreads = 8;
constexpr size_t kMaxQueuedCalls = 1024;
// Apart, so that a node busy with long dedupes still answers who it is.
constexpr size_t kLookupThreads = 4;
constexpr size_t kScanThreads = 2;
constexpr size_t kMaxQueuedScans = 2;
constexpr char kPressureFile[] = "/proc/pressure/io";
constexpr std::chrono::seconds kWatchEvery(1);
constexpr std::chrono::seconds kStuckAfter(15);
constexpr int kBadFlags = 2;
constexpr int kCannotServe = 1;

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

absl::StatusOr<size_t> FindIndexBudget(unsigned mib, bool given, size_t scans) {
  const uint64_t limit = OwnMemoryLimit();
  ASSIGN_OR_RETURN(const size_t budget, FitIndexBudget(mib, given, scans, limit));
  if (budget < size_t{mib} << 20) {
    Log(LogLevel::kInfo, "the index budget is lowered to fit the memory",
        {{"budget_mib", budget >> 20}, {"limit_mib", limit >> 20}, {"scans", scans}});
  }
  return budget;
}

absl::StatusOr<Rights> OwnRights() {
  ASSIGN_OR_RETURN(const std::string status, ReadFile("/proc/self/status"));
  ASSIGN_OR_RETURN(const std::string uid_map, ReadFile("/proc/self/uid_map"));
  return ParseRights(status, uid_map);
}

int Fail(const absl::Status& status, int code) {
  std::fprintf(stderr, "cowherd-node: %s\n", std::string(status.message()).c_str());
  return code;
}

int Run(int argc, char** argv) {
  Serving::BlockSignals();
  ServingFlags serving_flags;
  serving_flags.listen = "127.0.0.1:7300";
  serving_flags.metrics_listen = "127.0.0.1:7301";
  std::vector<std::string> root_flags;
  std::vector<std::string> label_flags;
  NodeConfig config;
  config.name = HostName();
  unsigned index_mib = 256;
  std::string io_class = "idle";
  int max_pressure = 20;

  CLI::App app(
      "Shares duplicate data on this machine's btrfs and XFS filesystems, as it is told by gRPC.\n"
      "Example: cowherd-node --root vm=/srv/vm --root backup=/srv/backup",
      "cowherd-node");
  AddServingFlags(app, serving_flags);
  app.add_option(
         "--root", root_flags,
         "NAME=PATH: callers may touch files beneath PATH, and no others. NAME=HOST_PATH:LOCAL_PATH where a "
         "container mounts it elsewhere. May be repeated")
      ->required();
  app.add_option("--name", config.name, "This node's name in the cluster")->capture_default_str();
  app.add_option("--label", label_flags, "KEY=VALUE, for jobs that select nodes by label. May be repeated");
  app.add_option(
         "--index_budget_mib", index_mib,
         "Memory for the index of one scan, in MiB. All scans at once, of --max_tasks and of two finds, "
         "may take half of the memory limit of the control group; the default is lowered to that")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max_tasks", config.max_tasks, "Tasks that may run side by side")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option(
         "--io_class", io_class,
         "How the disk ranks what scans read: idle, best-effort or none (as this process). Heeded by the "
         "I/O schedulers bfq and mq-deadline")
      ->capture_default_str()
      ->check(CLI::IsMember({"idle", "best-effort", "none"}));
  app.add_option(
         "--max_io_pressure", max_pressure,
         "Scans pause while others wait for I/O in more than this percentage of the time (PSI), until it "
         "is below half of that, a minute at the most. To tell others' waiting from their own, scans of "
         "more than 10 s pause for half a second now and then. 0: they do not pause")
      ->capture_default_str()
      ->type_name("PERCENT")
      ->check(CLI::Range(0, 99));
  app.add_option(
         "--state_dir", config.state_dir,
         "Keep here how far scans have come, so that the next scan of the same looks only at what is "
         "new, and one that was cut short goes on. One folder per filesystem (its UUID), in it at most 16 "
         "files, one for each set of scan options, each at most as large as --index_budget_mib: 4 GiB "
         "with the defaults. Only root may read it; these folders may be deleted at any time. Also the file "
         "\"node\": this node's instance id, and the highest epoch of a controller, so that after a restart "
         "too no controller that was replaced is obeyed. One cowherd-node at a time uses it. The parent "
         "folder must exist (default: nothing is kept; a restarted node obeys whichever controller comes "
         "first)")
      ->type_name("DIR");
  if (int code = ParseFlags(app, argc, argv); code >= 0) return code;

  LogLevel level = LogLevel::kInfo;
  if (absl::Status status = ParseLogLevel(serving_flags.log_level, &level); !status.ok()) {
    return Fail(status, kBadFlags);
  }
  StartLog("node", level);
  absl::StatusOr<RootTable> roots = RootTable::Parse(root_flags);
  if (!roots.ok()) return Fail(roots.status(), kBadFlags);
  for (const std::string& label : label_flags) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Fail(FieldError("--label", absl::StrCat("\"", label, "\" is not KEY=VALUE")), kBadFlags);
    }
    config.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  const bool budget_given = app.count("--index_budget_mib") > 0;
  config.scans_at_once = config.max_tasks + kScanThreads;
  absl::StatusOr<size_t> budget = FindIndexBudget(index_mib, budget_given, config.scans_at_once);
  if (!budget.ok()) return Fail(budget.status(), kBadFlags);
  config.index_budget = *budget;
  config.io_class = *ParseIoClass(io_class);
  absl::optional<PressurePause> pressure;
  if (max_pressure > 0) {
    const absl::Status readable = ReadFile(kPressureFile).status();
    if (readable.ok()) {
      pressure.emplace(PressureGate(max_pressure / 100.0), [] { return ReadFile(kPressureFile); });
      config.pressure = &*pressure;
    } else if (app.count("--max_io_pressure") > 0) {
      return Fail(
          FieldError("--max_io_pressure", absl::StrCat("the kernel does not tell it: ", readable.message())),
          kBadFlags);
    } else {
      Log(LogLevel::kInfo, "scans do not pause under I/O pressure", {{"error", readable}});
    }
  }
  if (!config.state_dir.empty()) {
    if (absl::Status status = MakeStateDir(config.state_dir); !status.ok()) {
      return Fail(FieldError("--state_dir", status.message()), kBadFlags);
    }
  }
  std::unique_ptr<NodeRecord> record;
  if (config.state_dir.empty()) {
    config.instance_id = RandomId();
  } else {
    absl::StatusOr<std::unique_ptr<NodeRecord>> opened = NodeRecord::Open(config.state_dir);
    if (!opened.ok()) return Fail(WithField(opened.status(), "--state_dir"), kCannotServe);
    record = *std::move(opened);
    config.instance_id = record->instance_id();
  }
  RaiseOpenFileLimit();

  LinuxExtentOps kernel;
  LinuxFileTrees trees;
  TotalsBook book;
  auto registry = std::make_shared<prometheus::Registry>();
  absl::StatusOr<Rights> rights = OwnRights();
  if (!rights.ok()) return Fail(rights.status(), kCannotServe);
  config.rights = *rights;
  LogAbilities(*roots, *rights, kernel, trees);
  NodeMetrics metrics(registry, book, [&] { return LookAtVolumes(*roots, *rights, kernel, trees); });
  metrics.SetRights(ProfileOf(*rights), CapabilitiesOf(*rights));
  metrics.SetIndexBudget(config.index_budget);
  const uint64_t last_epoch = record == nullptr ? 0 : record->epoch();
  metrics.SetEpoch(last_epoch);
  EpochGate epochs(last_epoch, [&](uint64_t epoch) -> absl::Status {
    if (record != nullptr) RETURN_IF_ERROR(record->KeepEpoch(epoch));
    metrics.SetEpoch(epoch);
    return absl::OkStatus();
  });
  MeteredExtentOps ops(kernel, metrics);
  Node node(std::move(config), *roots, ops, trees, book, metrics, epochs);
  WorkPool calls(kCallThreads, kMaxQueuedCalls);
  WorkPool lookups(kLookupThreads, kMaxQueuedCalls);
  WorkPool scans(kScanThreads, kMaxQueuedScans);
  NodeService service(node, calls, lookups, scans);
  absl::StatusOr<std::unique_ptr<Serving>> serving =
      Serving::Start(serving_flags, {&service}, registry, {metrics.collectable()});
  if (!serving.ok()) {
    return Fail(serving.status(), absl::IsInvalidArgument(serving.status()) ? kBadFlags : kCannotServe);
  }
  (*serving)->SetServing(v1::NodeService::service_full_name(), true);
  {
    const PoolWatch watch(lookups, kWatchEvery, kStuckAfter, [&serving](bool well) {
      if (well) {
        Log(LogLevel::kInfo, "calls are answered again");
      } else {
        Log(LogLevel::kError, "no call is answered: all threads wait in the kernel. Does a disk hang?");
      }
      (*serving)->SetServing(v1::NodeService::service_full_name(), well);
    });
    Serving::WaitForSignal();
  }
  node.StopTasks();
  (*serving)->Shutdown();
  return 0;
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Run(argc, argv); }
