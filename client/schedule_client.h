#ifndef COWHERD_CLIENT_SCHEDULE_CLIENT_H_
#define COWHERD_CLIENT_SCHEDULE_CLIENT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// The calls of a controller about schedules and windows, for programs. Waiting, threads, timeouts and errors
// as for NodeClient.
class ScheduleClient {
 public:
  // See channel.h.
  explicit ScheduleClient(std::shared_ptr<grpc::Channel> channel);

  absl::StatusOr<v1::Schedule> CreateSchedule(const v1::CreateScheduleRequest& request,
                                              absl::Duration timeout) const;
  absl::StatusOr<v1::Schedule> GetSchedule(const std::string& name, absl::Duration timeout) const;
  // One page.
  absl::StatusOr<v1::ListSchedulesResponse> ListSchedules(const v1::ListSchedulesRequest& request,
                                                          absl::Duration timeout) const;
  absl::StatusOr<v1::Schedule> UpdateSchedule(const v1::UpdateScheduleRequest& request,
                                              absl::Duration timeout) const;
  absl::Status DeleteSchedule(const std::string& name, absl::Duration timeout) const;
  // Safe to repeat only with the same, non-empty request_id.
  absl::StatusOr<v1::Job> RunScheduleNow(const v1::RunScheduleNowRequest& request,
                                         absl::Duration timeout) const;
  absl::StatusOr<v1::NodeWindows> SetNodeWindows(const v1::SetNodeWindowsRequest& request,
                                                 absl::Duration timeout) const;
  absl::StatusOr<v1::ListNodeWindowsResponse> ListNodeWindows(absl::Duration timeout) const;

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::ScheduleService::Stub> stub_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_SCHEDULE_CLIENT_H_
