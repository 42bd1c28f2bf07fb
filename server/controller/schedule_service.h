#ifndef COWHERD_SERVER_CONTROLLER_SCHEDULE_SERVICE_H_
#define COWHERD_SERVER_CONTROLLER_SCHEDULE_SERVICE_H_

#include <memory>

#include "cowherd/v1/controller.grpc.pb.h"
#include "server/base/clock.h"
#include "server/sched/mailbox.h"
#include "server/sched/node_windows.h"
#include "server/sched/schedules.h"

namespace cowherd {

// Hands each call to the thread of the schedules, which answers it.
class ScheduleService final : public v1::ScheduleService::CallbackService {
 public:
  // All must outlive the server.
  ScheduleService(Schedules& schedules, NodeWindows& node_windows, const Clock& clock,
                  std::shared_ptr<Mailbox> mailbox);

  grpc::ServerUnaryReactor* CreateSchedule(grpc::CallbackServerContext* context,
                                           const v1::CreateScheduleRequest* request,
                                           v1::Schedule* response) override;
  grpc::ServerUnaryReactor* GetSchedule(grpc::CallbackServerContext* context,
                                        const v1::GetScheduleRequest* request,
                                        v1::Schedule* response) override;
  grpc::ServerUnaryReactor* ListSchedules(grpc::CallbackServerContext* context,
                                          const v1::ListSchedulesRequest* request,
                                          v1::ListSchedulesResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSchedule(grpc::CallbackServerContext* context,
                                           const v1::UpdateScheduleRequest* request,
                                           v1::Schedule* response) override;
  grpc::ServerUnaryReactor* DeleteSchedule(grpc::CallbackServerContext* context,
                                           const v1::DeleteScheduleRequest* request,
                                           google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* RunScheduleNow(grpc::CallbackServerContext* context,
                                           const v1::RunScheduleNowRequest* request,
                                           v1::Job* response) override;
  grpc::ServerUnaryReactor* SetNodeWindows(grpc::CallbackServerContext* context,
                                           const v1::SetNodeWindowsRequest* request,
                                           v1::NodeWindows* response) override;
  grpc::ServerUnaryReactor* ListNodeWindows(grpc::CallbackServerContext* context,
                                            const v1::ListNodeWindowsRequest* request,
                                            v1::ListNodeWindowsResponse* response) override;

 private:
  absl::Status Answer(const absl::StatusOr<Schedule>& schedule, v1::Schedule* response) const;

  Schedules& schedules_;
  NodeWindows& node_windows_;
  const Clock& clock_;
  const std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_SCHEDULE_SERVICE_H_
