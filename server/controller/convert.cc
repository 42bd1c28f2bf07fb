#include "server/controller/convert.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/base/totals_proto.h"
#include "server/sched/schedule.h"

namespace cowherd {
namespace {

using google::protobuf::util::TimeUtil;

// Of two limits; 0: none.
uint64_t Lower(uint64_t a, uint64_t b) { return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b); }

absl::Status Corrupt(const std::string& what) {
  return MakeError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat(what, " in the store cannot be read"));
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  return TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(time));
}

v1::TaskState ToProto(TaskState state) {
  switch (state) {
    case TaskState::kWaiting:
      return v1::TASK_WAITING;
    case TaskState::kRunning:
      return v1::TASK_RUNNING;
    case TaskState::kSucceeded:
      return v1::TASK_SUCCEEDED;
    case TaskState::kFailed:
      return v1::TASK_FAILED;
    case TaskState::kCancelled:
      return v1::TASK_CANCELLED;
  }
  return v1::TASK_STATE_UNSPECIFIED;
}

v1::Task ToProto(const Job& job, const Task& task) {
  v1::Task proto;
  proto.set_id(TaskId(job, task.number));
  proto.set_node(task.node);
  proto.set_root(task.root);
  proto.set_state(ToProto(task.state));
  proto.set_attempt(task.attempt);
  if (task.next_attempt != absl::InfinitePast()) *proto.mutable_next_attempt() = ToProto(task.next_attempt);
  if (!task.error.ok()) *proto.mutable_error() = ToErrorDetail(task.error);
  *proto.mutable_totals() = ToProto(task.totals());
  return proto;
}

v1::Root ToProto(const RootFacts& root) {
  v1::Root proto;
  proto.set_name(root.name);
  proto.set_path(root.path);
  if (!root.error.ok()) *proto.mutable_error() = ToErrorDetail(root.error);
  proto.set_filesystem(root.filesystem);
  proto.set_uuid(root.uuid);
  proto.set_size_bytes(root.size_bytes);
  proto.set_free_bytes(root.free_bytes);
  proto.set_block_size(root.block_size);
  proto.set_dedupe_supported(root.dedupe_supported);
  proto.set_read_only(root.read_only);
  for (const LackFacts& lack : root.lacks) {
    v1::Lack& told = *proto.add_lacks();
    told.set_capability(lack.capability);
    told.set_loses(lack.loses);
    told.set_needed(lack.needed);
  }
  return proto;
}

v1::Node ToProto(const NodeFacts& facts) {
  v1::Node node;
  node.set_name(facts.name);
  node.set_version(facts.version);
  node.set_kernel(facts.kernel);
  node.mutable_labels()->insert(facts.labels.begin(), facts.labels.end());
  for (const RootFacts& root : facts.roots) *node.add_roots() = ToProto(root);
  if (facts.started != absl::InfinitePast()) *node.mutable_started() = ToProto(facts.started);
  node.set_running_tasks(facts.running_tasks);
  for (const std::string& task : facts.controlled_tasks) node.add_controlled_tasks(task);
  node.set_max_tasks(facts.max_tasks);
  node.set_instance_id(facts.instance_id);
  node.set_profile(facts.profile);
  for (const std::string& capability : facts.capabilities) node.add_capabilities(capability);
  return node;
}

v1::NodeState ToProto(NodeState state) {
  switch (state) {
    case NodeState::kUnknown:
      return v1::NODE_UNKNOWN;
    case NodeState::kUp:
      return v1::NODE_UP;
    case NodeState::kDown:
      return v1::NODE_DOWN;
    case NodeState::kRefused:
      return v1::NODE_REFUSED;
    case NodeState::kLost:
      return v1::NODE_LOST;
  }
  return v1::NODE_STATE_UNSPECIFIED;
}

v1::AddressStatus ToProto(const AddressEntry& entry, absl::Duration ahead) {
  v1::AddressStatus proto;
  proto.set_address(entry.endpoint.address);
  if (!entry.error.ok()) *proto.mutable_error() = ToErrorDetail(entry.error);
  if (entry.last_seen != absl::InfinitePast()) *proto.mutable_last_seen() = ToProto(entry.last_seen + ahead);
  return proto;
}

RootFacts FromProto(const v1::Root& proto) {
  RootFacts root;
  root.name = proto.name();
  root.path = proto.path();
  if (proto.has_error()) root.error = FromErrorDetail(proto.error());
  root.filesystem = proto.filesystem();
  root.uuid = proto.uuid();
  root.size_bytes = proto.size_bytes();
  root.free_bytes = proto.free_bytes();
  root.block_size = proto.block_size();
  root.dedupe_supported = proto.dedupe_supported();
  root.read_only = proto.read_only();
  for (const v1::Lack& lack : proto.lacks()) {
    root.lacks.push_back({lack.capability(), lack.loses(), lack.needed()});
  }
  return root;
}

}  // namespace

v1::JobState ToProto(JobState state) {
  switch (state) {
    case JobState::kPending:
      return v1::PENDING;
    case JobState::kRunning:
      return v1::RUNNING;
    case JobState::kPaused:
      return v1::PAUSED;
    case JobState::kSucceeded:
      return v1::SUCCEEDED;
    case JobState::kFailed:
      return v1::JOB_FAILED;
    case JobState::kCancelled:
      return v1::CANCELLED;
  }
  return v1::JOB_STATE_UNSPECIFIED;
}

absl::StatusOr<JobState> FromProto(v1::JobState state) {
  for (JobState known : {JobState::kPending, JobState::kRunning, JobState::kPaused, JobState::kSucceeded,
                         JobState::kFailed, JobState::kCancelled}) {
    if (ToProto(known) == state) return known;
  }
  return FieldError("states", absl::StrCat(static_cast<int>(state), " is no state of a job"));
}

absl::StatusOr<v1::Job> ToProto(const JobRecord& record, bool with_tasks) {
  const Job& job = record.job;
  v1::Job proto;
  proto.set_id(job.id);
  if (!proto.mutable_spec()->ParseFromString(record.spec)) return Corrupt("the spec of a job");
  proto.set_state(ToProto(job.state));
  *proto.mutable_created() = ToProto(job.created);
  if (job.started != absl::InfinitePast()) *proto.mutable_started() = ToProto(job.started);
  if (job.ended != absl::InfinitePast()) *proto.mutable_ended() = ToProto(job.ended);
  *proto.mutable_totals() = ToProto(job.totals);
  proto.set_revision(job.revision);
  proto.set_request_id(job.request_id);
  if (const absl::optional<RunOrigin> origin = OriginOf(job.request_id)) {
    proto.set_schedule(origin->name);
    *proto.mutable_scheduled() = ToProto(origin->time);
  }
  if (!with_tasks) return proto;
  std::vector<const Task*> tasks;
  for (const Task& task : record.tasks) tasks.push_back(&task);
  std::sort(tasks.begin(), tasks.end(), [](const Task* a, const Task* b) {
    return std::tie(a->node, a->root, a->number) < std::tie(b->node, b->root, b->number);
  });
  for (const Task* task : tasks) {
    v1::Task& added = *proto.add_tasks();
    added = ToProto(job, *task);
    const auto results = record.results.find(task->number);
    if (results == record.results.end()) continue;
    v1::TaskSummary summary;
    if (!summary.ParseFromString(results->second)) return Corrupt("the results of a task");
    added.mutable_ranges()->Swap(summary.mutable_ranges());
    if (summary.has_largest()) added.mutable_largest()->Swap(summary.mutable_largest());
  }
  return proto;
}

absl::StatusOr<v1::Job> ToProto(const JobView& view) {
  ASSIGN_OR_RETURN(v1::Job proto, ToProto(view, /*with_tasks=*/true));
  if (view.hold) *proto.mutable_hold() = ToProto(*view.hold);
  if (!view.waits.ok()) *proto.mutable_waits() = ToErrorDetail(view.waits);
  return proto;
}

NodeFacts FromProto(const v1::Node& proto) {
  NodeFacts node;
  node.name = proto.name();
  node.instance_id = proto.instance_id();
  node.version = proto.version();
  node.kernel = proto.kernel();
  node.labels.insert(proto.labels().begin(), proto.labels().end());
  for (const v1::Root& root : proto.roots()) node.roots.push_back(FromProto(root));
  if (proto.has_started())
    node.started = absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(proto.started()));
  node.running_tasks = proto.running_tasks();
  node.controlled_tasks.assign(proto.controlled_tasks().begin(), proto.controlled_tasks().end());
  node.max_tasks = proto.max_tasks();
  node.profile = proto.profile();
  node.capabilities.assign(proto.capabilities().begin(), proto.capabilities().end());
  return node;
}

v1::Hold ToProto(const Hold& hold) {
  v1::Hold proto;
  proto.set_kind(hold.kind == Hold::Kind::kPause ? v1::HOLD_PAUSE : v1::HOLD_DRAIN);
  proto.set_by(hold.by);
  proto.set_reason(hold.reason);
  *proto.mutable_since() = ToProto(hold.since);
  return proto;
}

v1::ListNodesResponse ToProto(const NodeRegistry& registry, const std::map<std::string, size_t>& running,
                              const Holds& holds, const FilesystemPauses& pauses, absl::Time now,
                              absl::Duration ahead) {
  v1::ListNodesResponse response;
  if (const Hold* hold = holds.Find(Holds::Cluster()); hold != nullptr) {
    *response.mutable_cluster_hold() = ToProto(*hold);
  }
  for (const auto& [name, entry] : registry.nodes()) {
    v1::NodeStatus& node = *response.add_nodes();
    node.set_name(name);
    node.set_address(entry.endpoint.address);
    node.set_state(ToProto(entry.state));
    if (!entry.error.ok()) *node.mutable_error() = ToErrorDetail(entry.error);
    if (entry.last_seen != absl::InfinitePast()) *node.mutable_last_seen() = ToProto(entry.last_seen + ahead);
    const auto found = running.find(name);
    if (found != running.end()) node.set_running_tasks(static_cast<uint32_t>(found->second));
    for (const std::string& address : entry.addresses) {
      *node.add_addresses() = ToProto(registry.addresses().at(address), ahead);
    }
    if (entry.facts) *node.mutable_node() = ToProto(*entry.facts);
    if (const Hold* hold = holds.Find(Holds::Node(name)); hold != nullptr) {
      *node.mutable_hold() = ToProto(*hold);
    }
    const auto& all = pauses.all();
    for (auto it = all.lower_bound({name, ""}); it != all.end() && it->first.first == name; ++it) {
      if (it->second.until <= now) continue;
      v1::PausedFilesystem& paused = *node.add_paused_filesystems();
      paused.set_uuid(it->first.second);
      *paused.mutable_until() = ToProto(it->second.until + ahead);
      *paused.mutable_error() = ToErrorDetail(it->second.why);
    }
  }
  for (const auto& [address, entry] : registry.addresses()) {
    if (!entry.name.empty()) continue;
    v1::NodeStatus& node = *response.add_nodes();
    node.set_address(address);
    node.set_state(ToProto(entry.state));
    if (!entry.error.ok()) *node.mutable_error() = ToErrorDetail(entry.error);
    *node.add_addresses() = ToProto(entry, ahead);
  }
  return response;
}

RunEvent FromProto(const v1::RunTaskResponse& response) {
  RunEvent event;
  event.run_id = response.run_id();
  if (response.has_node_started()) {
    event.node_started = absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(response.node_started()));
  }
  if (!response.has_summary()) {
    event.totals = FromProto(response.progress());
    return event;
  }
  const v1::TaskSummary& summary = response.summary();
  event.totals = FromProto(summary.totals());
  event.over = true;
  if (summary.has_error()) event.error = FromErrorDetail(summary.error());
  if (summary.ranges_size() > 0 || summary.largest().groups_size() > 0) {
    v1::TaskSummary results;
    *results.mutable_ranges() = summary.ranges();
    if (summary.has_largest()) *results.mutable_largest() = summary.largest();
    event.results = results.SerializeAsString();
  }
  return event;
}

absl::StatusOr<v1::RunTaskRequest> ToProto(const RunOrder& order) {
  v1::JobSpec spec;
  if (!spec.ParseFromString(order.spec)) return Corrupt("the spec of a job");
  v1::RunTaskRequest request;
  request.set_task_id(order.task_id);
  request.set_job_id(order.job_id);
  request.set_attempt(order.attempt);
  request.set_epoch(order.epoch);
  if (order.work_for != absl::InfiniteDuration()) {
    *request.mutable_work_for() = TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(order.work_for));
  }
  if (spec.has_scan()) {
    v1::TreeScan& scan = *request.mutable_scan();
    scan.set_root(order.root);
    for (const std::string& path : order.paths) scan.add_paths(path);
    v1::ScanOptions& options = *scan.mutable_options();
    options.Swap(spec.mutable_scan()->mutable_options());
    options.set_bytes_per_second(Lower(options.bytes_per_second(), order.bytes_per_second));
    return request;
  }
  for (v1::NodeRanges& ranges : *spec.mutable_ranges()->mutable_nodes()) {
    if (ranges.node() != order.node) continue;
    v1::RangeList& list = *request.mutable_ranges();
    list.Swap(ranges.mutable_ranges());
    list.set_bytes_per_second(Lower(list.bytes_per_second(), order.bytes_per_second));
    return request;
  }
  return Corrupt("the spec of a job");
}

}  // namespace cowherd
