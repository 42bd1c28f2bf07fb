#include "server/controller/request.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/base/host_path.h"
#include "server/base/status.h"
#include "server/controller/convert.h"
#include "server/controller/window_convert.h"
#include "server/sched/schedule.h"

namespace cowherd {
namespace {

constexpr size_t kMaxDisplayName = 200;
constexpr size_t kMaxRequestId = 100;
constexpr size_t kMaxName = 255;
constexpr size_t kMaxPath = 4095;  // of a glob
constexpr int kMaxRequests = 1'000;
constexpr int kMaxDestinations = 1'024;
constexpr int kMaxDestinationsOfTask = 16'384;  // as nodes take
constexpr uint64_t kMaxOffset = INT64_MAX;
constexpr uint64_t kMinCall = uint64_t{128} << 10;
constexpr uint64_t kMaxCall = uint64_t{1} << 30;
constexpr uint32_t kMaxWorkers = 64;
constexpr uint64_t kMaxMinLength = uint64_t{1} << 40;
constexpr int32_t kMaxPriority = 1'000;
constexpr size_t kMaxReason = 1'000;
constexpr uint32_t kDefaultPage = 100;
constexpr uint32_t kMaxPage = 1'000;

std::string At(absl::string_view field, int index) { return absl::StrCat(field, "[", index, "]"); }

absl::Status CheckCount(absl::string_view field, int count, int least, int most) {
  if (count < least) return FieldError(field, "must not be empty");
  if (count > most) return FieldError(field, absl::StrCat(count, " given, at most ", most, " allowed"));
  return absl::OkStatus();
}

absl::Status CheckPath(const std::string& field, const std::string& path) {
  if (path.empty()) return FieldError(field, "must not be empty");
  const absl::string_view fault = PathFault(path);
  return fault.empty() ? absl::OkStatus() : FieldError(field, fault);
}

// Names, each once.
template <typename Names>
absl::Status CheckNames(const std::string& field, const Names& names, int least, int most) {
  RETURN_IF_ERROR(CheckCount(field, names.size(), least, most));
  std::set<std::string> seen;
  for (int i = 0; i < names.size(); ++i) {
    if (names[i].empty() || names[i].size() > kMaxName) return FieldError(At(field, i), "empty or too long");
    if (!seen.insert(names[i]).second)
      return FieldError(At(field, i), absl::StrCat("\"", names[i], "\" came before"));
  }
  return absl::OkStatus();
}

absl::Status CheckGlobs(const std::string& field,
                        const google::protobuf::RepeatedPtrField<std::string>& globs) {
  RETURN_IF_ERROR(CheckCount(field, globs.size(), 0, kMaxGlobs));
  for (int i = 0; i < globs.size(); ++i) {
    if (globs[i].empty() || globs[i].size() > kMaxPath) return FieldError(At(field, i), "empty or too long");
  }
  return absl::OkStatus();
}

absl::Status CheckSelector(const v1::NodeSelector& selector) {
  const std::string field = "spec.scan.nodes";
  switch (selector.kind_case()) {
    case v1::NodeSelector::kAll:
      return selector.all() ? absl::OkStatus() : FieldError(field + ".all", "must be true if given");
    case v1::NodeSelector::kNames:
      return CheckNames(field + ".names.names", selector.names().names(), 1, kMaxNodes);
    case v1::NodeSelector::kLabels: {
      const auto& labels = selector.labels().labels();
      return CheckCount(field + ".labels.labels", static_cast<int>(labels.size()), 1, kMaxLabels);
    }
    case v1::NodeSelector::KIND_NOT_SET:
      break;
  }
  return FieldError(field, "must have one of all, names and labels");
}

absl::Status CheckScan(const v1::TreeScanJob& scan) {
  RETURN_IF_ERROR(CheckSelector(scan.nodes()));
  RETURN_IF_ERROR(CheckNames("spec.scan.roots", scan.roots(), 0, kMaxRoots));
  RETURN_IF_ERROR(CheckCount("spec.scan.paths", scan.paths_size(), 0, kMaxPaths));
  for (int i = 0; i < scan.paths_size(); ++i)
    RETURN_IF_ERROR(CheckPath(At("spec.scan.paths", i), scan.paths(i)));
  const v1::ScanOptions& options = scan.options();
  RETURN_IF_ERROR(CheckGlobs("spec.scan.options.include", options.include()));
  RETURN_IF_ERROR(CheckGlobs("spec.scan.options.exclude", options.exclude()));
  if (options.min_extent_length() > kMaxMinLength) {
    return FieldError("spec.scan.options.min_extent_length", "must be at most 1 TiB");
  }
  if (options.workers() > kMaxWorkers) {
    return FieldError("spec.scan.options.workers", absl::StrCat("at most ", kMaxWorkers));
  }
  return absl::OkStatus();
}

absl::Status CheckPosition(const std::string& field, const v1::FilePosition& position, uint64_t length) {
  RETURN_IF_ERROR(CheckPath(field + ".path", position.path()));
  if (position.offset() > kMaxOffset || length > kMaxOffset - position.offset()) {
    return FieldError(field + ".offset", "the range ends beyond 2^63-1");
  }
  return absl::OkStatus();
}

absl::Status CheckRange(const std::string& field, const v1::DedupeRangesRequest& request) {
  if (request.length() == 0) return FieldError(field + ".length", "must be above 0");
  RETURN_IF_ERROR(CheckPosition(field + ".source", request.source(), request.length()));
  RETURN_IF_ERROR(CheckCount(field + ".destinations", request.destinations_size(), 1, kMaxDestinations));
  for (int i = 0; i < request.destinations_size(); ++i) {
    RETURN_IF_ERROR(CheckPosition(At(field + ".destinations", i), request.destinations(i), request.length()));
  }
  const uint64_t call = request.max_bytes_per_call();
  if (call != 0 && (call < kMinCall || call > kMaxCall)) {
    return FieldError(field + ".max_bytes_per_call", "not within 128 KiB and 1 GiB");
  }
  return absl::OkStatus();
}

absl::Status CheckRanges(const v1::RangeJob& job) {
  RETURN_IF_ERROR(CheckCount("spec.ranges.nodes", job.nodes_size(), 1, kMaxNodes));
  std::set<std::string> seen;
  for (int n = 0; n < job.nodes_size(); ++n) {
    const std::string field = At("spec.ranges.nodes", n);
    const v1::NodeRanges& node = job.nodes(n);
    if (node.node().empty() || node.node().size() > kMaxName)
      return FieldError(field + ".node", "empty or too long");
    if (!seen.insert(node.node()).second) return FieldError(field + ".node", "came before");
    const std::string requests = field + ".ranges.requests";
    RETURN_IF_ERROR(CheckCount(requests, node.ranges().requests_size(), 1, kMaxRequests));
    int destinations = 0;
    for (int i = 0; i < node.ranges().requests_size(); ++i) {
      RETURN_IF_ERROR(CheckRange(At(requests, i), node.ranges().requests(i)));
      destinations += node.ranges().requests(i).destinations_size();
    }
    if (destinations > kMaxDestinationsOfTask) {
      return FieldError(requests, absl::StrCat("more than ", kMaxDestinationsOfTask, " destinations in all"));
    }
  }
  return absl::OkStatus();
}

JobPlan PlanOf(const v1::JobSpec& spec) {
  JobPlan plan;
  plan.windows = ReadWindows(spec.windows());
  plan.give_up_lost = spec.on_lost_node() == v1::LOST_NODE_GIVE_UP;
  plan.priority = spec.priority();
  if (spec.has_canary()) plan.canary = {spec.canary().nodes(), std::max(spec.canary().max_failures(), 1U)};
  if (spec.has_ranges()) {
    plan.ranges = true;
    for (int i = 0; i < spec.ranges().nodes_size(); ++i) {
      plan.nodes.push_back(spec.ranges().nodes(i).node());
      plan.node_fields.push_back(At("spec.ranges.nodes", i) + ".node");
    }
    return plan;
  }
  const v1::TreeScanJob& scan = spec.scan();
  if (scan.nodes().has_names()) {
    plan.select = JobPlan::Select::kNames;
    for (int i = 0; i < scan.nodes().names().names_size(); ++i) {
      plan.nodes.push_back(scan.nodes().names().names(i));
      plan.node_fields.push_back(At("spec.scan.nodes.names.names", i));
    }
  } else if (scan.nodes().has_labels()) {
    plan.select = JobPlan::Select::kLabels;
    plan.labels.insert(scan.nodes().labels().labels().begin(), scan.nodes().labels().labels().end());
  }
  plan.dry_run = scan.options().dry_run();
  plan.roots.assign(scan.roots().begin(), scan.roots().end());
  plan.paths.assign(scan.paths().begin(), scan.paths().end());
  return plan;
}

}  // namespace

std::string Serialize(const google::protobuf::MessageLite& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

absl::Status CheckRequestId(absl::string_view request_id) {
  if (request_id.size() > kMaxRequestId) {
    return FieldError("request_id", absl::StrCat("longer than ", kMaxRequestId, " bytes"));
  }
  if (absl::StartsWith(request_id, kRunRequestPrefix)) {
    return FieldError("request_id",
                      absl::StrCat("\"", kRunRequestPrefix, "\" in front is for runs of schedules"));
  }
  return absl::OkStatus();
}

absl::StatusOr<CheckedJob> CheckCreateJob(const v1::CreateJobRequest& request) {
  const v1::JobSpec& spec = request.spec();
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (spec.display_name().size() > kMaxDisplayName) {
    return FieldError("spec.display_name", absl::StrCat("longer than ", kMaxDisplayName, " bytes"));
  }
  if (!v1::LostNodePolicy_IsValid(spec.on_lost_node())) {
    return FieldError("spec.on_lost_node", absl::StrCat(spec.on_lost_node(), " is no policy"));
  }
  if (spec.priority() < -kMaxPriority || spec.priority() > kMaxPriority) {
    return FieldError("spec.priority", absl::StrCat("not within -", kMaxPriority, " and ", kMaxPriority));
  }
  if (spec.has_canary() && spec.canary().nodes() == 0) {
    return FieldError("spec.canary.nodes", "must be above 0");
  }
  switch (spec.work_case()) {
    case v1::JobSpec::kScan:
      RETURN_IF_ERROR(CheckScan(spec.scan()));
      break;
    case v1::JobSpec::kRanges:
      RETURN_IF_ERROR(CheckRanges(spec.ranges()));
      break;
    case v1::JobSpec::WORK_NOT_SET:
      return FieldError("spec.work", "must have one of scan and ranges");
  }
  RETURN_IF_ERROR(CheckWindows("spec.windows", spec.windows()).status());
  CheckedJob job;
  job.spec = Serialize(spec);
  if (job.spec.size() > kMaxSpecBytes) {
    return FieldError("spec", absl::StrCat("larger than ", kMaxSpecBytes, " bytes; make several jobs of it"));
  }
  job.plan = PlanOf(spec);
  job.request_id = request.request_id();
  return job;
}

absl::StatusOr<JobPlan> ReadPlan(absl::string_view bytes) {
  v1::JobSpec spec;
  if (!spec.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      spec.work_case() == v1::JobSpec::WORK_NOT_SET) {
    return MakeError(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     "the spec of a job in the store cannot be read");
  }
  return PlanOf(spec);
}

absl::StatusOr<CheckedList> CheckListJobs(const v1::ListJobsRequest& request) {
  CheckedList list;
  for (int state : request.states()) {
    ASSIGN_OR_RETURN(const JobState known, FromProto(static_cast<v1::JobState>(state)));
    list.states.push_back(known);
  }
  if (list.states.size() > kMaxPage) return FieldError("states", "too many");
  if (request.page_size() > kMaxPage) return FieldError("page_size", absl::StrCat("at most ", kMaxPage));
  list.page_size = request.page_size() == 0 ? kDefaultPage : request.page_size();
  if (!request.page_token().empty()) {
    absl::string_view token = request.page_token();
    if (!absl::ConsumePrefix(&token, "p") || !absl::SimpleHexAtoi(token, &list.before) || list.before == 0) {
      return FieldError("page_token", "not one that this service gave");
    }
  }
  return list;
}

std::string PageToken(uint64_t sequence) { return absl::StrFormat("p%x", sequence); }

absl::StatusOr<Hold> CheckHold(Hold::Kind kind, absl::string_view reason, absl::string_view by) {
  if (reason.size() > kMaxReason) {
    return FieldError("reason", absl::StrCat("longer than ", kMaxReason, " bytes"));
  }
  if (by.size() > kMaxBy) return FieldError("by", absl::StrCat("longer than ", kMaxBy, " bytes"));
  return Hold{kind, std::string(by), std::string(reason), absl::InfinitePast()};
}

absl::Status CheckJobId(absl::string_view id) {
  return id.empty() ? FieldError("id", "must not be empty") : absl::OkStatus();
}

}  // namespace cowherd
