#include "server/controller/schedule_request.h"

#include <google/protobuf/util/time_util.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/status.h"
#include "server/base/time_zone.h"
#include "server/controller/request.h"
#include "server/sched/cron.h"

namespace cowherd {
namespace {

constexpr size_t kMaxName = 63;
constexpr absl::Duration kMinDeadline = absl::Seconds(10);
constexpr uint32_t kMaxKept = 50;
constexpr size_t kDefaultKept = 3;
constexpr uint32_t kDefaultPage = 100;
constexpr uint32_t kMaxPage = 1'000;

// A job's spec is checked as that of a CreateJobRequest, where it is the field "spec".
std::string JobField(absl::string_view field) {
  if (field == "spec") return "spec.job";
  return absl::ConsumePrefix(&field, "spec.") ? absl::StrCat("spec.job.", field) : std::string(field);
}

absl::Status OfJob(const absl::Status& status) {
  const std::string field = FieldOf(status);
  absl::string_view message = status.message();
  if (field.empty() || !absl::ConsumePrefix(&message, absl::StrCat(field, ": "))) return status;
  return FieldError(JobField(field), message);
}

// An error about a part of a spec that names its field by itself.
absl::Status OfSpec(const absl::Status& status) {
  absl::string_view message = status.message();
  const std::string field = FieldOf(status);
  absl::ConsumePrefix(&message, absl::StrCat(field, ": "));
  return FieldError(absl::StrCat("spec.", field), message);
}

absl::StatusOr<Overlap> FromProto(v1::Overlap overlap) {
  switch (overlap) {
    case v1::OVERLAP_UNSPECIFIED:
    case v1::OVERLAP_FORBID:
      return Overlap::kForbid;
    case v1::OVERLAP_REPLACE:
      return Overlap::kReplace;
    case v1::OVERLAP_ALLOW:
      return Overlap::kAllow;
    default:
      return FieldError("spec.overlap", absl::StrCat(static_cast<int>(overlap), " is no way to overlap"));
  }
}

absl::Status CheckKept(absl::string_view field, uint32_t count) {
  return count <= kMaxKept ? absl::OkStatus()
                           : FieldError(field, absl::StrCat(count, " given, at most ", kMaxKept, " allowed"));
}

absl::StatusOr<ScheduleRules> ReadRules(const v1::ScheduleSpec& spec) {
  const absl::StatusOr<Cron> cron = Cron::Parse(spec.cron());
  if (!cron.ok()) return OfSpec(cron.status());
  const absl::StatusOr<absl::TimeZone> zone = FindTimeZone(spec.time_zone());
  if (!zone.ok()) return OfSpec(zone.status());
  ScheduleRules rules{*cron, *zone};
  if (spec.has_missed_run_deadline()) {
    const google::protobuf::Duration& deadline = spec.missed_run_deadline();
    rules.missed_run_deadline = absl::Seconds(deadline.seconds()) + absl::Nanoseconds(deadline.nanos());
    if (rules.missed_run_deadline < kMinDeadline) {
      return FieldError("spec.missed_run_deadline", "must be at least 10 s, or left out for no limit");
    }
  }
  ASSIGN_OR_RETURN(rules.overlap, FromProto(spec.overlap()));
  RETURN_IF_ERROR(CheckKept("spec.keep_succeeded", spec.keep_succeeded()));
  RETURN_IF_ERROR(CheckKept("spec.keep_failed", spec.keep_failed()));
  rules.keep_succeeded = spec.has_keep_succeeded() ? spec.keep_succeeded() : kDefaultKept;
  rules.keep_failed = spec.has_keep_failed() ? spec.keep_failed() : kDefaultKept;
  rules.suspended = spec.suspended();
  return rules;
}

absl::StatusOr<ScheduleSpec> SpecOf(const v1::ScheduleSpec& spec, std::string job, JobPlan plan) {
  for (std::string& field : plan.node_fields) field = JobField(field);
  ASSIGN_OR_RETURN(const ScheduleRules rules, ReadRules(spec));
  return ScheduleSpec{Serialize(spec), rules, std::move(job), std::move(plan)};
}

}  // namespace

absl::Status CheckScheduleName(absl::string_view name) {
  bool good = !name.empty() && name.size() <= kMaxName && name.front() != '-' && name.back() != '-';
  for (const char c : name) good = good && (absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-');
  if (good) return absl::OkStatus();
  return FieldError("name", "must be 1 to 63 of a-z, 0-9 and \"-\", and neither begin nor end with \"-\"");
}

absl::StatusOr<ScheduleSpec> CheckScheduleSpec(const v1::ScheduleSpec& spec) {
  v1::CreateJobRequest request;
  *request.mutable_spec() = spec.job();
  absl::StatusOr<CheckedJob> job = CheckCreateJob(request);
  if (!job.ok()) return OfJob(job.status());
  if (job->spec.size() > kMaxScheduledJobBytes) {
    return FieldError("spec.job",
                      absl::StrCat("larger than ", kMaxScheduledJobBytes,
                                   " bytes; make several schedules of it, or name nodes by label"));
  }
  return SpecOf(spec, std::move(job->spec), std::move(job->plan));
}

absl::StatusOr<ScheduleSpec> ReadScheduleSpec(const v1::ScheduleSpec& spec) {
  std::string job = Serialize(spec.job());
  ASSIGN_OR_RETURN(JobPlan plan, ReadPlan(job));
  return SpecOf(spec, std::move(job), std::move(plan));
}

absl::StatusOr<CheckedScheduleList> CheckListSchedules(const v1::ListSchedulesRequest& request) {
  if (request.page_size() > kMaxPage) return FieldError("page_size", absl::StrCat("at most ", kMaxPage));
  CheckedScheduleList list;
  list.page_size = request.page_size() == 0 ? kDefaultPage : request.page_size();
  if (!request.page_token().empty()) {
    absl::string_view token = request.page_token();
    if (!absl::ConsumePrefix(&token, "p") || !CheckScheduleName(token).ok()) {
      return FieldError("page_token", "not one that this service gave");
    }
    list.after = std::string(token);
  }
  return list;
}

std::string SchedulePageToken(absl::string_view name) { return absl::StrCat("p", name); }

absl::Status CheckRunScheduleNow(const v1::RunScheduleNowRequest& request) {
  RETURN_IF_ERROR(CheckScheduleName(request.name()));
  return CheckRequestId(request.request_id());
}

}  // namespace cowherd
