#include "server/node/node.h"

#include <google/protobuf/util/time_util.h>
#include <sys/utsname.h>

#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/grpc_status.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/base/version.h"
#include "server/dedupe/request.h"
#include "server/node/convert.h"
#include "server/node/paced_extent_ops.h"

namespace cowherd {
namespace {

constexpr uint32_t kDefaultExtents = 1000;
constexpr uint32_t kMaxExtents = 10000;
constexpr int kMaxRangesOfTask = 1000;
// So that a summary, which has a result for each, fits into a message.
constexpr size_t kMaxDestinationsOfTask = 16384;
constexpr size_t kMaxKeptSummaries = 64;
constexpr absl::Duration kMaxWorkFor = absl::Hours(366 * 24);

NodeMetrics::TaskEnd EndOf(const absl::Status& status) {
  if (status.ok()) return NodeMetrics::TaskEnd::kSucceeded;
  return absl::IsCancelled(status) || absl::IsDeadlineExceeded(status) ? NodeMetrics::TaskEnd::kCancelled
                                                                       : NodeMetrics::TaskEnd::kFailed;
}

void Count(uint64_t length, absl::Span<const TargetResult> targets, SharedTotals& totals) {
  totals.Update([&](Totals& t) {
    t.bytes_requested += length * targets.size();
    for (const TargetResult& target : targets) CountOutcome(target, t);
  });
}

}  // namespace

Node::Node(NodeConfig config, const RootTable& roots, ExtentOps& ops, FileTrees& trees, TotalsBook& book,
           NodeMetrics& metrics, EpochGate& epochs)
    : config_(std::move(config)),
      roots_(roots),
      ops_(ops),
      trees_(trees),
      book_(book),
      metrics_(metrics),
      epochs_(epochs),
      tasks_(config_.max_tasks, kMaxKeptSummaries, epochs,
             [this](const std::string& task_id, const TaskRun& run, const absl::Status& status) {
               metrics_.TaskEnded(EndOf(status));
               const v1::RunTaskResponse report = run.Report();
               const v1::TaskTotals& totals = report.summary().totals();
               Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarning, "task ended",
                   {{"task", task_id},
                    {"run", report.run_id()},
                    {"attempt", report.attempt()},
                    {"files_scanned", totals.files_scanned()},
                    {"ranges_deduped", totals.ranges_deduped()},
                    {"bytes_accepted", totals.bytes_accepted()},
                    {"status", status}});
             }) {}

absl::StatusOr<DedupeRequest> Node::CheckAndLog(const v1::DedupeRangesRequest& request) const {
  ASSIGN_OR_RETURN(DedupeRequest checked, CheckRequest(request, roots_));
  Log(LogLevel::kDebug, "dedupe ranges",
      {{"source", request.source().path()},
       {"offset", request.source().offset()},
       {"length", request.length()},
       {"destinations", request.destinations_size()},
       {"first_destination", request.destinations(0).path()}});
  return checked;
}

absl::StatusOr<v1::DedupeRangesResponse> Node::DedupeRanges(const v1::DedupeRangesRequest& request,
                                                            const Stop& stop) {
  return DedupeWith(ops_, request, stop, /*mine=*/nullptr);
}

absl::StatusOr<v1::DedupeRangesResponse> Node::DedupeWith(ExtentOps& ops,
                                                          const v1::DedupeRangesRequest& request,
                                                          const Stop& stop, SharedTotals* mine) {
  ASSIGN_OR_RETURN(const DedupeRequest checked, CheckAndLog(request));
  ASSIGN_OR_RETURN(const RangesResult result, cowherd::DedupeRanges(ops, trees_, checked, stop));
  Count(checked.length, result.targets, *book_.Open(checked.source.path.root->name));
  if (mine != nullptr) Count(checked.length, result.targets, *mine);
  return ToProto(request, result);
}

// A request of which nothing could be tried fails the task, when the others are done: whether to try again is
// the controller's to say.
absl::Status Node::ShareRanges(const v1::RangeList& list, const Stop& stop, SharedTotals& totals,
                               v1::TaskSummary& summary) {
  Pace pace(list.bytes_per_second(), /*pressure=*/nullptr, totals);
  PacedExtentOps ops(ops_, pace, stop);
  absl::Status refused;
  for (const v1::DedupeRangesRequest& request : list.requests()) {
    RETURN_IF_ERROR(stop.Check());
    absl::StatusOr<v1::DedupeRangesResponse> response = DedupeWith(ops, request, stop, &totals);
    v1::RangeResult& result = *summary.add_ranges();
    if (response.ok()) {
      *result.mutable_response() = *std::move(response);
    } else {
      totals.Update(
          [&](Totals& t) { t.ranges_failed += static_cast<uint64_t>(request.destinations_size()); });
      *result.mutable_error() = ToErrorDetail(response.status());
      refused.Update(response.status());
    }
  }
  refused.Update(stop.Check());
  return refused;
}

void Node::DedupeTogether(absl::Span<const v1::DedupeRangesRequest* const> requests, const Stop& stop,
                          Answered answered) {
  OpenPlaces places(trees_);
  std::vector<DedupeRequest> checked;
  for (size_t answers = 0; answers < requests.size();) {
    // Up to the next one that is refused.
    absl::Status refused;
    checked.clear();
    for (size_t i = answers; i < requests.size() && refused.ok(); ++i) {
      absl::StatusOr<DedupeRequest> request = CheckAndLog(*requests[i]);
      refused = request.status();
      if (request.ok()) checked.push_back(*std::move(request));
    }
    for (absl::Span<const DedupeRequest> left = checked; !left.empty();) {
      const auto results = DedupeNeighbours(ops_, places, left, stop);
      const std::shared_ptr<SharedTotals> totals = book_.Open(left.front().source.path.root->name);
      for (size_t i = 0; i < results.size(); ++i, ++answers) {
        if (results[i].ok()) {
          Count(left[i].length, results[i]->targets, *totals);
          answered(ToProto(*requests[answers], *results[i]));
        } else {
          answered(results[i].status());
        }
      }
      left.remove_prefix(results.size());
    }
    if (!refused.ok()) {
      answered(refused);
      ++answers;
    }
  }
}

absl::StatusOr<RootedScan> Node::CheckFind(const v1::FindDuplicatesRequest& request) const {
  ASSIGN_OR_RETURN(RootedScan scan, CheckScan(request.scan(), roots_));
  scan.request.dry_run = true;
  return scan;
}

absl::Status Node::RunScan(const RootedScan& scan, const Stop& stop, SharedTotals& totals,
                           absl::FunctionRef<void(const Duplicate&)> found) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FileTree> tree, trees_.OpenRoot(*scan.root));
  ScanRequest request = scan.request;
  request.state_dir = config_.state_dir;
  request.scans_at_once = config_.scans_at_once;
  request.root_name = scan.root->name;
  const ScopedIoClass gentle(config_.io_class);
  Pace pace(request.bytes_per_second, config_.pressure, totals);
  absl::Status status = ScanTree(ops_, *tree, request, config_.index_budget, pace, stop, totals, found);
  // What went before the scan knew anything tells nothing.
  const bool whole = request.paths.empty() && request.include.empty() && request.exclude.empty();
  const Totals did = totals.Get();
  if (whole && (status.ok() || did.bytes_freeable > 0)) {
    metrics_.ScanEnded(scan.root->name, request.dry_run, did);
  }
  return status;
}

absl::StatusOr<v1::LargestGroups> Node::FindDuplicates(
    const RootedScan& scan, const Stop& stop, SharedTotals& totals,
    absl::FunctionRef<void(const v1::DuplicateRange&)> found) {
  TopGroups top;
  RETURN_IF_ERROR(RunScan(scan, stop, totals, [&](const Duplicate& duplicate) {
    top.Add(duplicate);
    found(ToProto(duplicate, *scan.root));
  }));
  return ToProto(top, *scan.root);
}

absl::StatusOr<std::shared_ptr<TaskRun>> Node::RunTask(const v1::RunTaskRequest& request) {
  if (request.task_id().empty()) return FieldError("task_id", "missing");
  auto run = tasks_.RunOrAttach(request.task_id(), request.attempt(), request.epoch(),
                                [&]() -> absl::StatusOr<TaskTable::New> { return MakeTask(request); });
  if (!run.ok()) metrics_.OrderRefused(ReasonOf(run.status()));
  return run;
}

absl::StatusOr<TaskTable::New> Node::MakeTask(const v1::RunTaskRequest& request) {
  TaskTable::New task;
  if (request.has_work_for()) {
    const absl::Duration work_for =
        absl::Seconds(request.work_for().seconds()) + absl::Nanoseconds(request.work_for().nanos());
    if (work_for <= absl::ZeroDuration() || work_for > kMaxWorkFor) {
      return FieldError("work_for", "must be above 0 and at most a year");
    }
    task.deadline = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(work_for);
  }
  std::string root;
  if (request.has_scan()) {
    ASSIGN_OR_RETURN(RootedScan scan, CheckScan(request.scan(), roots_));
    root = scan.root->name;
    task.totals = book_.Open(root);
    task.work = [this, scan = std::move(scan)](SharedTotals& totals, const Stop& stop,
                                               v1::TaskSummary& summary) {
      TopGroups top;
      absl::Status status =
          RunScan(scan, stop, totals, [&](const Duplicate& duplicate) { top.Add(duplicate); });
      *summary.mutable_largest() = ToProto(top, *scan.root);
      if (status.ok() && !scan.request.dry_run) metrics_.ScanSucceeded(scan.root->name);
      return status;
    };
  } else if (request.has_ranges()) {
    if (request.ranges().requests_size() == 0 || request.ranges().requests_size() > kMaxRangesOfTask) {
      return FieldError("ranges.requests", absl::StrCat("1 to ", kMaxRangesOfTask, " are taken"));
    }
    size_t destinations = 0;
    // What can be refused without trying is refused before anything is tried.
    for (int i = 0; i < request.ranges().requests_size(); ++i) {
      absl::StatusOr<DedupeRequest> checked = CheckRequest(request.ranges().requests(i), roots_);
      if (!checked.ok()) return WithField(checked.status(), absl::StrCat("ranges.requests[", i, "]"));
      destinations += checked->destinations.size();
      if (destinations > kMaxDestinationsOfTask) {
        return FieldError("ranges.requests",
                          absl::StrCat("more than ", kMaxDestinationsOfTask, " destinations in all"));
      }
      if (i == 0) root = checked->source.path.root->name;
    }
    // What is shared counts for the roots of each range; these are the task's own.
    task.totals = std::make_shared<SharedTotals>();
    task.work = [this, list = request.ranges()](SharedTotals& totals, const Stop& stop,
                                                v1::TaskSummary& summary) {
      return ShareRanges(list, stop, totals, summary);
    };
  } else {
    return FieldError("work", "missing: give scan or ranges");
  }
  metrics_.TaskStarted();
  Log(LogLevel::kInfo, "task started",
      {{"task", request.task_id()},
       {"job", request.job_id()},
       {"attempt", request.attempt()},
       {"epoch", request.epoch()},
       {"root", root}});
  return task;
}

google::protobuf::Timestamp Node::started() const {
  return google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(started_));
}

absl::Status Node::CancelTask(const v1::CancelTaskRequest& request) {
  absl::Status cancelled = tasks_.Cancel(request.task_id(), request.epoch());
  if (!cancelled.ok()) {
    metrics_.OrderRefused(ReasonOf(cancelled));
    return cancelled;
  }
  Log(LogLevel::kInfo, "task cancelled", {{"task", request.task_id()}, {"epoch", request.epoch()}});
  return absl::OkStatus();
}

absl::StatusOr<v1::GetExtentsResponse> Node::GetExtents(const v1::GetExtentsRequest& request) {
  absl::StatusOr<RootedPath> path = roots_.Resolve(request.path());
  if (!path.ok()) return WithField(path.status(), "path");
  if (request.max_extents() > kMaxExtents) {
    return FieldError("max_extents", absl::StrCat("must be at most ", kMaxExtents));
  }
  absl::StatusOr<std::unique_ptr<FileTree>> tree = trees_.OpenRoot(*path->root);
  if (!tree.ok()) return WithField(tree.status(), "path");
  absl::StatusOr<OpenFile> file = (*tree)->Open(path->relative, /*for_destination=*/false);
  if (!file.ok()) return WithField(file.status(), "path");
  v1::GetExtentsResponse response;
  response.set_file_size(file->facts.size);
  if (request.offset() >= file->facts.size) return response;
  uint64_t length = file->facts.size - request.offset();
  if (request.length() != 0) length = std::min(length, request.length());
  ASSIGN_OR_RETURN(
      const ExtentList list,
      ops_.Extents(file->fd.get(), request.offset(), length,
                   request.max_extents() != 0 ? request.max_extents() : kDefaultExtents, /*flush=*/true));
  for (const FileExtent& extent : list.extents) *response.add_extents() = ToProto(extent);
  response.set_next_offset(list.next_offset);
  return response;
}

v1::Node Node::Describe() const {
  v1::Node node;
  node.set_name(config_.name);
  node.set_instance_id(config_.instance_id);
  node.set_version(kVersion);
  utsname kernel{};
  if (::uname(&kernel) == 0) node.set_kernel(kernel.release);
  node.mutable_labels()->insert(config_.labels.begin(), config_.labels.end());
  *node.mutable_started() = started();
  node.set_running_tasks(static_cast<uint32_t>(tasks_.running()));
  for (std::string& task_id : tasks_.Controlled()) node.add_controlled_tasks(std::move(task_id));
  node.set_max_tasks(static_cast<uint32_t>(config_.max_tasks));
  node.set_profile(ProfileOf(config_.rights));
  for (std::string& capability : CapabilitiesOf(config_.rights)) {
    node.add_capabilities(std::move(capability));
  }
  for (const Root& root : roots_.roots()) {
    v1::Root& proto = *node.add_roots();
    proto.set_name(root.name);
    proto.set_path(root.host_path);
    absl::StatusOr<std::unique_ptr<FileTree>> tree = trees_.OpenRoot(root);
    absl::StatusOr<FsFacts> facts = tree.ok() ? ops_.Facts((*tree)->root_fd()) : tree.status();
    if (!facts.ok()) {
      *proto.mutable_error() = ToErrorDetail(facts.status());
      continue;
    }
    proto.set_filesystem(facts->type);
    proto.set_uuid(facts->uuid);
    proto.set_size_bytes(facts->size_bytes);
    proto.set_free_bytes(facts->free_bytes);
    proto.set_block_size(facts->block_size);
    proto.set_dedupe_supported(facts->dedupe_supported);
    proto.set_read_only(facts->read_only);
    for (const Lack& lack : LacksOf(config_.rights, *facts)) {
      v1::Lack& told = *proto.add_lacks();
      told.set_capability(lack.capability);
      told.set_loses(lack.loses);
      told.set_needed(lack.needed);
    }
  }
  return node;
}

std::vector<NodeMetrics::Volume> LookAtVolumes(const RootTable& roots, const Rights& rights, ExtentOps& ops,
                                               FileTrees& trees) {
  std::vector<NodeMetrics::Volume> volumes;
  for (const Root& root : roots.roots()) {
    NodeMetrics::Volume& volume = volumes.emplace_back();
    volume.name = root.name;
    absl::StatusOr<std::unique_ptr<FileTree>> tree = trees.OpenRoot(root);
    if (!tree.ok()) continue;
    absl::StatusOr<FsFacts> facts = ops.Facts((*tree)->root_fd());
    if (!facts.ok()) continue;
    volume.present = true;
    volume.filesystem = facts->type;
    volume.uuid = facts->uuid;
    volume.size_bytes = facts->size_bytes;
    volume.free_bytes = facts->free_bytes;
    for (Lack& lack : LacksOf(rights, *facts)) {
      if (lack.needed) volume.missing_capabilities.push_back(std::move(lack.capability));
    }
  }
  return volumes;
}

void LogAbilities(const RootTable& roots, const Rights& rights, ExtentOps& ops, FileTrees& trees) {
  Log(LogLevel::kInfo, "rights",
      {{"profile", ProfileOf(rights)}, {"capabilities", absl::StrJoin(CapabilitiesOf(rights), ",")}});
  if (rights.in_user_namespace) {
    Log(LogLevel::kWarning,
        "this is a user namespace of its own, where capabilities do not count for "
        "filesystems mounted outside (a pod with hostUsers: false is one)");
  }
  for (const Root& root : roots.roots()) {
    const absl::StatusOr<std::unique_ptr<FileTree>> tree = trees.OpenRoot(root);
    const absl::StatusOr<FsFacts> facts = tree.ok() ? ops.Facts((*tree)->root_fd()) : tree.status();
    if (!facts.ok()) {
      Log(LogLevel::kWarning, "a root cannot be used now", {{"root", root.name}, {"error", facts.status()}});
      continue;
    }
    const absl::Status checksums = (*tree)->OpenStorageMap().status();
    Log(LogLevel::kInfo, "root",
        {{"root", root.name},
         {"filesystem", facts->type},
         {"can_share", facts->dedupe_supported && !facts->read_only},
         {"by_checksums", checksums.ok()}});
    if (!facts->dedupe_supported) {
      Log(LogLevel::kWarning, "a root's filesystem cannot share ranges; btrfs and XFS (reflink=1) can",
          {{"root", root.name}, {"filesystem", facts->type}});
    }
    const std::vector<Lack> lacks = LacksOf(rights, *facts);
    for (const Lack& lack : lacks) {
      Log(lack.needed ? LogLevel::kWarning : LogLevel::kInfo, "a capability is missing",
          {{"root", root.name}, {"capability", lack.capability}, {"loses", lack.loses}});
    }
    if (facts->type == "btrfs" && !checksums.ok() && rights.sys_admin) {
      Log(LogLevel::kWarning, "the checksums of btrfs cannot be read, though CAP_SYS_ADMIN is there",
          {{"root", root.name}, {"error", checksums}});
    }
  }
}

}  // namespace cowherd
