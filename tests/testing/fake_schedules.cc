#include "tests/testing/fake_schedules.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"

namespace cowherd::testing {
namespace {

template <typename Response>
grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context, absl::StatusOr<Response> answer,
                                 Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status status = answer.status();
  if (status.ok()) *response = *std::move(answer);
  reactor->Finish(ToGrpc(status));
  return reactor;
}

template <typename Value>
void Keep(std::mutex& mutex, std::vector<Value>& list, Value value) {
  std::lock_guard<std::mutex> lock(mutex);
  list.push_back(std::move(value));
}

template <typename Value>
std::vector<Value> Copy(std::mutex& mutex, const std::vector<Value>& list) {
  std::lock_guard<std::mutex> lock(mutex);
  return list;
}

}  // namespace

std::vector<v1::CreateScheduleRequest> FakeSchedules::creates() const { return Copy(mutex_, creates_); }
std::vector<v1::UpdateScheduleRequest> FakeSchedules::updates() const { return Copy(mutex_, updates_); }
std::vector<v1::RunScheduleNowRequest> FakeSchedules::runs() const { return Copy(mutex_, runs_); }
std::vector<v1::SetNodeWindowsRequest> FakeSchedules::set_windows() const {
  return Copy(mutex_, set_windows_);
}
std::vector<std::string> FakeSchedules::calls() const { return Copy(mutex_, calls_); }

grpc::ServerUnaryReactor* FakeSchedules::CreateSchedule(grpc::CallbackServerContext* context,
                                                        const v1::CreateScheduleRequest* request,
                                                        v1::Schedule* response) {
  Keep(mutex_, creates_, *request);
  return Finish(context, schedule, response);
}

grpc::ServerUnaryReactor* FakeSchedules::GetSchedule(grpc::CallbackServerContext* context,
                                                     const v1::GetScheduleRequest* request,
                                                     v1::Schedule* response) {
  Keep(mutex_, calls_, absl::StrCat("GetSchedule ", request->name()));
  return Finish(context, schedule, response);
}

grpc::ServerUnaryReactor* FakeSchedules::ListSchedules(grpc::CallbackServerContext* context,
                                                       const v1::ListSchedulesRequest* request,
                                                       v1::ListSchedulesResponse* response) {
  return Finish(context, list(*request), response);
}

grpc::ServerUnaryReactor* FakeSchedules::UpdateSchedule(grpc::CallbackServerContext* context,
                                                        const v1::UpdateScheduleRequest* request,
                                                        v1::Schedule* response) {
  Keep(mutex_, updates_, *request);
  if (update) return Finish(context, update(*request), response);
  absl::StatusOr<v1::Schedule> answer = schedule;
  if (answer.ok()) {
    *answer->mutable_spec() = request->spec();
    answer->set_revision(answer->revision() + 1);
  }
  return Finish(context, std::move(answer), response);
}

grpc::ServerUnaryReactor* FakeSchedules::DeleteSchedule(grpc::CallbackServerContext* context,
                                                        const v1::DeleteScheduleRequest* request,
                                                        google::protobuf::Empty*) {
  Keep(mutex_, calls_, absl::StrCat("DeleteSchedule ", request->name()));
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(delete_status));
  return reactor;
}

grpc::ServerUnaryReactor* FakeSchedules::RunScheduleNow(grpc::CallbackServerContext* context,
                                                        const v1::RunScheduleNowRequest* request,
                                                        v1::Job* response) {
  Keep(mutex_, runs_, *request);
  return Finish(context, job, response);
}

grpc::ServerUnaryReactor* FakeSchedules::SetNodeWindows(grpc::CallbackServerContext* context,
                                                        const v1::SetNodeWindowsRequest* request,
                                                        v1::NodeWindows* response) {
  Keep(mutex_, set_windows_, *request);
  if (!set_windows_status.ok()) return Finish<v1::NodeWindows>(context, set_windows_status, response);
  v1::NodeWindows answer;
  answer.set_node(request->node());
  *answer.mutable_windows() = request->windows();
  answer.set_open(open);
  if (until_seconds != 0) answer.mutable_until()->set_seconds(until_seconds);
  return Finish<v1::NodeWindows>(context, std::move(answer), response);
}

grpc::ServerUnaryReactor* FakeSchedules::ListNodeWindows(grpc::CallbackServerContext* context,
                                                         const v1::ListNodeWindowsRequest*,
                                                         v1::ListNodeWindowsResponse* response) {
  return Finish<v1::ListNodeWindowsResponse>(context, node_windows, response);
}

}  // namespace cowherd::testing
