#include "server/controller/schedule_service.h"

#include <string>
#include <utility>
#include <vector>

#include "server/base/status.h"
#include "server/controller/call_on_loop.h"
#include "server/controller/convert.h"
#include "server/controller/schedule_convert.h"
#include "server/controller/schedule_request.h"
#include "server/controller/window_convert.h"

namespace cowherd {

ScheduleService::ScheduleService(Schedules& schedules, NodeWindows& node_windows, const Clock& clock,
                                 std::shared_ptr<Mailbox> mailbox)
    : schedules_(schedules), node_windows_(node_windows), clock_(clock), mailbox_(std::move(mailbox)) {}

absl::Status ScheduleService::Answer(const absl::StatusOr<Schedule>& schedule, v1::Schedule* response) const {
  RETURN_IF_ERROR(schedule.status());
  ASSIGN_OR_RETURN(*response, ToProto(*schedule, schedules_.NextRunOf(*schedule)));
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ScheduleService::CreateSchedule(grpc::CallbackServerContext* context,
                                                          const v1::CreateScheduleRequest* request,
                                                          v1::Schedule* response) {
  return CallOnLoop(*mailbox_, context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckScheduleName(request->name()));
    ASSIGN_OR_RETURN(ScheduleSpec spec, CheckScheduleSpec(request->spec()));
    return Answer(schedules_.Create(request->name(), std::move(spec)), response);
  });
}

grpc::ServerUnaryReactor* ScheduleService::GetSchedule(grpc::CallbackServerContext* context,
                                                       const v1::GetScheduleRequest* request,
                                                       v1::Schedule* response) {
  return CallOnLoop(*mailbox_, context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckScheduleName(request->name()));
    return Answer(schedules_.Get(request->name()), response);
  });
}

grpc::ServerUnaryReactor* ScheduleService::ListSchedules(grpc::CallbackServerContext* context,
                                                         const v1::ListSchedulesRequest* request,
                                                         v1::ListSchedulesResponse* response) {
  return CallOnLoop(*mailbox_, context, [this, request, response]() -> absl::Status {
    ASSIGN_OR_RETURN(const CheckedScheduleList list, CheckListSchedules(*request));
    const std::vector<Schedule> schedules = schedules_.List(list.after, list.page_size);
    for (const Schedule& schedule : schedules) {
      RETURN_IF_ERROR(Answer(schedule, response->add_schedules()));
    }
    if (schedules.empty()) return absl::OkStatus();
    const std::string& last = schedules.back().name;
    if (!schedules_.List(last, 1).empty()) response->set_next_page_token(SchedulePageToken(last));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ScheduleService::UpdateSchedule(grpc::CallbackServerContext* context,
                                                          const v1::UpdateScheduleRequest* request,
                                                          v1::Schedule* response) {
  return CallOnLoop(*mailbox_, context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckScheduleName(request->name()));
    ASSIGN_OR_RETURN(ScheduleSpec spec, CheckScheduleSpec(request->spec()));
    return Answer(schedules_.Update(request->name(), std::move(spec), request->revision()), response);
  });
}

grpc::ServerUnaryReactor* ScheduleService::DeleteSchedule(grpc::CallbackServerContext* context,
                                                          const v1::DeleteScheduleRequest* request,
                                                          google::protobuf::Empty*) {
  return CallOnLoop(*mailbox_, context, [this, request]() -> absl::Status {
    RETURN_IF_ERROR(CheckScheduleName(request->name()));
    return schedules_.Delete(request->name());
  });
}

grpc::ServerUnaryReactor* ScheduleService::RunScheduleNow(grpc::CallbackServerContext* context,
                                                          const v1::RunScheduleNowRequest* request,
                                                          v1::Job* response) {
  return CallOnLoop(*mailbox_, context, [this, request, response]() -> absl::Status {
    RETURN_IF_ERROR(CheckRunScheduleNow(*request));
    ASSIGN_OR_RETURN(const JobView job, schedules_.RunNow(request->name(), request->request_id()));
    ASSIGN_OR_RETURN(*response, ToProto(job));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ScheduleService::SetNodeWindows(grpc::CallbackServerContext* context,
                                                          const v1::SetNodeWindowsRequest* request,
                                                          v1::NodeWindows* response) {
  return CallOnLoop(*mailbox_, context, [this, request, response]() -> absl::Status {
    ASSIGN_OR_RETURN(const WindowList list, CheckNodeWindows(*request));
    RETURN_IF_ERROR(node_windows_.Set(request->node(), list));
    *response = ToProto(list, clock_.Wall());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ScheduleService::ListNodeWindows(grpc::CallbackServerContext* context,
                                                           const v1::ListNodeWindowsRequest*,
                                                           v1::ListNodeWindowsResponse* response) {
  return CallOnLoop(*mailbox_, context, [this, response]() -> absl::Status {
    for (const auto& [node, list] : node_windows_.all())
      *response->add_nodes() = ToProto(list, clock_.Wall());
    return absl::OkStatus();
  });
}

}  // namespace cowherd
