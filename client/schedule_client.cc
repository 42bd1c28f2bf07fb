#include "client/schedule_client.h"

#include <utility>

#include "client/call.h"

namespace cowherd {

using Stub = v1::ScheduleService::Stub;

ScheduleClient::ScheduleClient(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(v1::ScheduleService::NewStub(channel_)) {}

absl::StatusOr<v1::Schedule> ScheduleClient::CreateSchedule(const v1::CreateScheduleRequest& request,
                                                            absl::Duration timeout) const {
  return Call(*stub_, &Stub::CreateSchedule, request, timeout);
}

absl::StatusOr<v1::Schedule> ScheduleClient::GetSchedule(const std::string& name,
                                                         absl::Duration timeout) const {
  v1::GetScheduleRequest request;
  request.set_name(name);
  return Call(*stub_, &Stub::GetSchedule, request, timeout);
}

absl::StatusOr<v1::ListSchedulesResponse> ScheduleClient::ListSchedules(
    const v1::ListSchedulesRequest& request, absl::Duration timeout) const {
  return Call(*stub_, &Stub::ListSchedules, request, timeout);
}

absl::StatusOr<v1::Schedule> ScheduleClient::UpdateSchedule(const v1::UpdateScheduleRequest& request,
                                                            absl::Duration timeout) const {
  return Call(*stub_, &Stub::UpdateSchedule, request, timeout);
}

absl::Status ScheduleClient::DeleteSchedule(const std::string& name, absl::Duration timeout) const {
  v1::DeleteScheduleRequest request;
  request.set_name(name);
  return Call(*stub_, &Stub::DeleteSchedule, request, timeout).status();
}

absl::StatusOr<v1::Job> ScheduleClient::RunScheduleNow(const v1::RunScheduleNowRequest& request,
                                                       absl::Duration timeout) const {
  return Call(*stub_, &Stub::RunScheduleNow, request, timeout);
}

absl::StatusOr<v1::NodeWindows> ScheduleClient::SetNodeWindows(const v1::SetNodeWindowsRequest& request,
                                                               absl::Duration timeout) const {
  return Call(*stub_, &Stub::SetNodeWindows, request, timeout);
}

absl::StatusOr<v1::ListNodeWindowsResponse> ScheduleClient::ListNodeWindows(absl::Duration timeout) const {
  return Call(*stub_, &Stub::ListNodeWindows, v1::ListNodeWindowsRequest(), timeout);
}

}  // namespace cowherd
