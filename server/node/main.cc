#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/base/work_pool.h"
#include "server/fs/linux_extent_ops.h"
#include "server/fs/linux_file_tree.h"
#include "server/metrics/node_metrics.h"
#include "server/node/metered_extent_ops.h"
#include "server/node/node.h"
#include "server/node/node_service.h"
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
constexpr int kBadFlags = 2;
constexpr int kCannotServe = 1;

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// A request opens up to 129 files, and the usual soft limit is 1024.
void RaiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
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
  app.add_option("--index_budget_mib", index_mib, "Memory for the block index of one scan, in MiB")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--max_tasks", config.max_tasks, "Tasks that may run side by side")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--state_dir", config.state_dir,
                 "Keep here how far scans have come, so that the next scan of the same looks only at what is "
                 "new, and "
                 "one that was cut short goes on. One folder per filesystem, some of the size of the index "
                 "per kind of "
                 "scan; only root may read it. It may be deleted at any time (default: nothing is kept)")
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
  config.index_budget = size_t{index_mib} << 20;
  if (!config.state_dir.empty()) {
    if (absl::Status status = MakeStateDir(config.state_dir); !status.ok()) {
      return Fail(FieldError("--state_dir", status.message()), kBadFlags);
    }
  }
  RaiseOpenFileLimit();

  LinuxExtentOps kernel;
  LinuxFileTrees trees;
  TotalsBook book;
  auto registry = std::make_shared<prometheus::Registry>();
  NodeMetrics metrics(registry, book, [&] { return LookAtVolumes(*roots, kernel, trees); });
  MeteredExtentOps ops(kernel, metrics);
  Node node(std::move(config), *roots, ops, trees, book, metrics);
  WorkPool calls(kCallThreads, kMaxQueuedCalls);
  WorkPool lookups(kLookupThreads, kMaxQueuedCalls);
  WorkPool scans(kScanThreads, kMaxQueuedScans);
  NodeService service(node, calls, lookups, scans);
  absl::StatusOr<std::unique_ptr<Serving>> serving =
      Serving::Start(serving_flags, {&service}, registry, {metrics.collectable()});
  if (!serving.ok()) {
    return Fail(serving.status(), absl::IsInvalidArgument(serving.status()) ? kBadFlags : kCannotServe);
  }
  Serving::WaitForSignal();
  node.StopTasks();
  (*serving)->Shutdown();
  return 0;
}

}  // namespace
}  // namespace cowherd

int main(int argc, char** argv) { return cowherd::Run(argc, argv); }
