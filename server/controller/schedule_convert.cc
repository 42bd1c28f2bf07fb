#include "server/controller/schedule_convert.h"

#include <google/protobuf/util/time_util.h>

#include <string>
#include <utility>

#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/request.h"
#include "server/controller/schedule_request.h"

namespace cowherd {
namespace {

using google::protobuf::util::TimeUtil;

google::protobuf::Timestamp ToProto(absl::Time time) {
  return TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(time));
}

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(time));
}

struct RunStateRow {
  RunState state;
  v1::ScheduleRunState proto;
};

constexpr RunStateRow kRunStates[] = {{RunState::kStarting, v1::RUN_STARTING},
                                      {RunState::kActive, v1::RUN_ACTIVE},
                                      {RunState::kSucceeded, v1::RUN_SUCCEEDED},
                                      {RunState::kFailed, v1::RUN_FAILED}};

struct SkipReasonRow {
  SkipReason reason;
  v1::SkipReason proto;
};

constexpr SkipReasonRow kSkipReasons[] = {{SkipReason::kMissed, v1::SKIPPED_MISSED},
                                          {SkipReason::kStillRunning, v1::SKIPPED_STILL_RUNNING},
                                          {SkipReason::kTooManyRuns, v1::SKIPPED_TOO_MANY_RUNS},
                                          {SkipReason::kNotStarted, v1::SKIPPED_NOT_STARTED}};

absl::Status Corrupt() {
  return MakeError(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "a schedule in the store cannot be read");
}

absl::StatusOr<ScheduleSpec> ReadSpec(const v1::ScheduleSpec& spec, absl::Status* zone_error) {
  absl::StatusOr<ScheduleSpec> read = ReadScheduleSpec(spec);
  if (read.ok()) return read;
  if (FieldOf(read.status()) != "spec.time_zone") return Corrupt();
  *zone_error = read.status();
  v1::ScheduleSpec without = spec;
  without.clear_time_zone();
  without.set_suspended(true);
  read = ReadScheduleSpec(without);
  if (!read.ok()) return Corrupt();
  read->bytes = Serialize(spec);
  return read;
}

absl::StatusOr<Schedule> Read(absl::string_view bytes) {
  v1::Schedule proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Corrupt();
  absl::Status zone_error;
  ASSIGN_OR_RETURN(ScheduleSpec spec, ReadSpec(proto.spec(), &zone_error));
  Schedule schedule{proto.name(),
                    proto.uid(),
                    proto.revision(),
                    FromProto(proto.created()),
                    std::move(spec),
                    FromProto(proto.decided()),
                    {},
                    absl::nullopt,
                    zone_error};
  if (zone_error.ok() && proto.has_start_error()) schedule.start_error = FromErrorDetail(proto.start_error());
  for (const v1::ScheduleRun& run : proto.runs()) {
    ScheduledRun& read = schedule.runs.emplace_back();
    read.time = FromProto(run.time());
    read.job = run.job_id();
    read.request = run.request_id();
    bool known = false;
    for (const RunStateRow& row : kRunStates) {
      if (row.proto != run.state()) continue;
      read.state = row.state;
      known = true;
    }
    if (!known) return Corrupt();
  }
  for (const SkipReasonRow& row : kSkipReasons) {
    if (row.proto == proto.skip_reason()) schedule.skipped = Skip{FromProto(proto.skipped()), row.reason};
  }
  return schedule;
}

// Of a spec that CheckScheduleSpec made.
std::string Write(const Schedule& schedule) {
  const absl::StatusOr<v1::Schedule> proto = ToProto(schedule, absl::InfiniteFuture());
  return proto.ok() ? Serialize(*proto) : "";
}

}  // namespace

absl::StatusOr<v1::Schedule> ToProto(const Schedule& schedule, absl::Time next_run) {
  v1::Schedule proto;
  proto.set_name(schedule.name);
  if (!proto.mutable_spec()->ParseFromString(schedule.spec.bytes)) return Corrupt();
  proto.set_uid(schedule.uid);
  proto.set_revision(schedule.revision);
  *proto.mutable_created() = ToProto(schedule.created);
  if (next_run != absl::InfiniteFuture()) *proto.mutable_next_run() = ToProto(next_run);
  for (const ScheduledRun& run : schedule.runs) {
    v1::ScheduleRun& written = *proto.add_runs();
    *written.mutable_time() = ToProto(run.time);
    written.set_job_id(run.job);
    written.set_request_id(run.request);
    for (const RunStateRow& row : kRunStates) {
      if (row.state == run.state) written.set_state(row.proto);
    }
  }
  if (schedule.skipped) {
    *proto.mutable_skipped() = ToProto(schedule.skipped->time);
    for (const SkipReasonRow& row : kSkipReasons) {
      if (row.reason == schedule.skipped->reason) proto.set_skip_reason(row.proto);
    }
  }
  if (!schedule.start_error.ok()) *proto.mutable_start_error() = ToErrorDetail(schedule.start_error);
  *proto.mutable_decided() = ToProto(schedule.decided_to);
  return proto;
}

ScheduleCodec MakeScheduleCodec() { return {Write, Read}; }

}  // namespace cowherd
