#include "client/schedule_client.h"

#include "client/call.h"
#include "cowherd/v1/controller.grpc.pb.h"

namespace cowherd {

using Stub = v1::ScheduleService::Stub;
using Repeat = Controllers::Repeat;

absl::StatusOr<v1::Schedule> ScheduleClient::CreateSchedule(const v1::CreateScheduleRequest& request,
                                                            absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::CreateSchedule, request, timeout);
}

absl::StatusOr<v1::Schedule> ScheduleClient::GetSchedule(const std::string& name,
                                                         absl::Duration timeout) const {
  v1::GetScheduleRequest request;
  request.set_name(name);
  return CallAny(*controllers_, Repeat::kSafe, &Stub::GetSchedule, request, timeout);
}

absl::StatusOr<v1::ListSchedulesResponse> ScheduleClient::ListSchedules(
    const v1::ListSchedulesRequest& request, absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::ListSchedules, request, timeout);
}

absl::StatusOr<v1::Schedule> ScheduleClient::UpdateSchedule(const v1::UpdateScheduleRequest& request,
                                                            absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::UpdateSchedule, request, timeout);
}

absl::Status ScheduleClient::DeleteSchedule(const std::string& name, absl::Duration timeout) const {
  v1::DeleteScheduleRequest request;
  request.set_name(name);
  return CallAny(*controllers_, Repeat::kNever, &Stub::DeleteSchedule, request, timeout).status();
}

absl::StatusOr<v1::Job> ScheduleClient::RunScheduleNow(const v1::RunScheduleNowRequest& request,
                                                       absl::Duration timeout) const {
  const Repeat repeat = request.request_id().empty() ? Repeat::kNever : Repeat::kSafe;
  return CallAny(*controllers_, repeat, &Stub::RunScheduleNow, request, timeout);
}

absl::StatusOr<v1::NodeWindows> ScheduleClient::SetNodeWindows(const v1::SetNodeWindowsRequest& request,
                                                               absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kNever, &Stub::SetNodeWindows, request, timeout);
}

absl::StatusOr<v1::ListNodeWindowsResponse> ScheduleClient::ListNodeWindows(absl::Duration timeout) const {
  return CallAny(*controllers_, Repeat::kSafe, &Stub::ListNodeWindows, v1::ListNodeWindowsRequest(), timeout);
}

}  // namespace cowherd
