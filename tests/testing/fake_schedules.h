#ifndef COWHERD_TESTS_TESTING_FAKE_SCHEDULES_H_
#define COWHERD_TESTS_TESTING_FAKE_SCHEDULES_H_

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cowherd/v1/controller.grpc.pb.h"

namespace cowherd::testing {

// Schedules of a controller that answers as it is told; for FakeServer. Set the answers before the calls;
// what was asked is kept. Any thread may call.
class FakeSchedules final : public v1::ScheduleService::CallbackService {
 public:
  // The answer to CreateSchedule and GetSchedule.
  absl::StatusOr<v1::Schedule> schedule = v1::Schedule();
  // Default: the schedule, with the request's spec and the next revision.
  std::function<absl::StatusOr<v1::Schedule>(const v1::UpdateScheduleRequest&)> update;
  // By page token; the first page's is "".
  std::function<absl::StatusOr<v1::ListSchedulesResponse>(const v1::ListSchedulesRequest&)> list;
  absl::Status delete_status;
  absl::StatusOr<v1::Job> job = v1::Job();
  // SetNodeWindows answers with what it was asked for, and these.
  absl::Status set_windows_status;
  bool open = false;
  int64_t until_seconds = 0;
  v1::ListNodeWindowsResponse node_windows;

  std::vector<v1::CreateScheduleRequest> creates() const;
  std::vector<v1::UpdateScheduleRequest> updates() const;
  std::vector<v1::RunScheduleNowRequest> runs() const;
  std::vector<v1::SetNodeWindowsRequest> set_windows() const;
  // "GetSchedule nightly", ... of the calls that take a name only.
  std::vector<std::string> calls() const;

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
  mutable std::mutex mutex_;
  std::vector<v1::CreateScheduleRequest> creates_;
  std::vector<v1::UpdateScheduleRequest> updates_;
  std::vector<v1::RunScheduleNowRequest> runs_;
  std::vector<v1::SetNodeWindowsRequest> set_windows_;
  std::vector<std::string> calls_;
};

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_TESTING_FAKE_SCHEDULES_H_
