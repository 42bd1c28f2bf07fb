#ifndef COWHERD_SERVER_CONTROLLER_SCHEDULE_SERVICE_H_
#define COWHERD_SERVER_CONTROLLER_SCHEDULE_SERVICE_H_

#include <memory>

#include "cowherd/v1/controller.grpc.pb.h"
#include "server/sched/mailbox.h"
#include "server/sched/schedules.h"

namespace cowherd {

// Hands each call to the thread of the schedules, which answers it.
class ScheduleService final : public v1::ScheduleService::CallbackService {
 public:
  // Both must outlive the server.
  ScheduleService(Schedules& schedules, std::shared_ptr<Mailbox> mailbox);

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

 private:
  absl::Status Answer(const absl::StatusOr<Schedule>& schedule, v1::Schedule* response) const;

  Schedules& schedules_;
  const std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_SCHEDULE_SERVICE_H_
