#ifndef COWHERD_CLIENT_SCHEDULE_CLIENT_H_
#define COWHERD_CLIENT_SCHEDULE_CLIENT_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/controllers.h"
#include "cowherd/v1/controller.pb.h"

namespace cowherd {

// The calls of a cluster's controllers about schedules and windows, for programs. As JobClient.
class ScheduleClient {
 public:
  explicit ScheduleClient(std::shared_ptr<Controllers> controllers) : controllers_(std::move(controllers)) {}

  absl::StatusOr<v1::Schedule> CreateSchedule(const v1::CreateScheduleRequest& request,
                                              absl::Duration timeout) const;
  absl::StatusOr<v1::Schedule> GetSchedule(const std::string& name, absl::Duration timeout) const;
  // One page.
  absl::StatusOr<v1::ListSchedulesResponse> ListSchedules(const v1::ListSchedulesRequest& request,
                                                          absl::Duration timeout) const;
  absl::StatusOr<v1::Schedule> UpdateSchedule(const v1::UpdateScheduleRequest& request,
                                              absl::Duration timeout) const;
  absl::Status DeleteSchedule(const std::string& name, absl::Duration timeout) const;
  absl::StatusOr<v1::Job> RunScheduleNow(const v1::RunScheduleNowRequest& request,
                                         absl::Duration timeout) const;
  absl::StatusOr<v1::NodeWindows> SetNodeWindows(const v1::SetNodeWindowsRequest& request,
                                                 absl::Duration timeout) const;
  absl::StatusOr<v1::ListNodeWindowsResponse> ListNodeWindows(absl::Duration timeout) const;

 private:
  const std::shared_ptr<Controllers> controllers_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_SCHEDULE_CLIENT_H_
