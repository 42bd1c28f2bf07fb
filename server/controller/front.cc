#include "server/controller/front.h"

#include <utility>

#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/convert.h"
#include "server/controller/hold_service.h"
#include "server/controller/list_jobs.h"
#include "server/controller/request.h"
#include "server/controller/schedule_service.h"

namespace cowherd {
namespace {

constexpr size_t kMaxWaitingReads = 1'000;

// A stream that ends before it began.
class RefusedWatch final : public grpc::ServerWriteReactor<v1::Job> {
 public:
  explicit RefusedWatch(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

ControllerFront::ControllerFront(TermGate& gate, std::unique_ptr<JobStore> reader)
    : gate_(gate), reader_(std::move(reader)), reads_(/*threads=*/1, kMaxWaitingReads) {}

grpc::ServerUnaryReactor* ControllerFront::Read(grpc::CallbackServerContext* context,
                                                std::function<absl::Status(JobStore&)> read) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (reader_ == nullptr) {
    reactor->Finish(ToGrpc(gate_.Refusal()));
    return reactor;
  }
  const absl::Status posted =
      reads_.Submit([this, reactor, read = std::move(read)] { reactor->Finish(ToGrpc(read(*reader_))); });
  if (!posted.ok()) reactor->Finish(ToGrpc(posted));
  return reactor;
}

grpc::ServerUnaryReactor* ControllerFront::CreateJob(grpc::CallbackServerContext* context,
                                                     const v1::CreateJobRequest* request, v1::Job* response) {
  return gate_.HandOn(&Term::controller, &ControllerService::CreateJob, context, request, response);
}

grpc::ServerUnaryReactor* ControllerFront::GetJob(grpc::CallbackServerContext* context,
                                                  const v1::GetJobRequest* request, v1::Job* response) {
  const auto ask = [&](Term& term) { return term.controller().GetJob(context, request, response); };
  if (grpc::ServerUnaryReactor* reactor = gate_.Ask(ask)) return reactor;
  return Read(context, [request, response](JobStore& reader) -> absl::Status {
    RETURN_IF_ERROR(CheckJobId(request->id()));
    ASSIGN_OR_RETURN(JobRecord record, reader.Get(request->id()));
    if (!Ended(record.job.state)) record.results.clear();
    ASSIGN_OR_RETURN(*response, ToProto(record, /*with_tasks=*/true));
    // By the clock of the one that leads.
    for (v1::Task& task : *response->mutable_tasks()) task.clear_next_attempt();
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* ControllerFront::ListJobs(grpc::CallbackServerContext* context,
                                                    const v1::ListJobsRequest* request,
                                                    v1::ListJobsResponse* response) {
  const auto ask = [&](Term& term) { return term.controller().ListJobs(context, request, response); };
  if (grpc::ServerUnaryReactor* reactor = gate_.Ask(ask)) return reactor;
  return Read(context, [request, response](JobStore& reader) {
    return ListJobsFrom(
        *request,
        [&reader](const std::vector<JobState>& states, uint64_t before, size_t limit) {
          return reader.List(states, before, limit);
        },
        response);
  });
}

grpc::ServerUnaryReactor* ControllerFront::CancelJob(grpc::CallbackServerContext* context,
                                                     const v1::CancelJobRequest* request, v1::Job* response) {
  return gate_.HandOn(&Term::controller, &ControllerService::CancelJob, context, request, response);
}

grpc::ServerUnaryReactor* ControllerFront::PauseJob(grpc::CallbackServerContext* context,
                                                    const v1::PauseJobRequest* request, v1::Job* response) {
  return gate_.HandOn(&Term::controller, &ControllerService::PauseJob, context, request, response);
}

grpc::ServerUnaryReactor* ControllerFront::ResumeJob(grpc::CallbackServerContext* context,
                                                     const v1::ResumeJobRequest* request, v1::Job* response) {
  return gate_.HandOn(&Term::controller, &ControllerService::ResumeJob, context, request, response);
}

grpc::ServerUnaryReactor* ControllerFront::DeleteJob(grpc::CallbackServerContext* context,
                                                     const v1::DeleteJobRequest* request,
                                                     google::protobuf::Empty* response) {
  return gate_.HandOn(&Term::controller, &ControllerService::DeleteJob, context, request, response);
}

grpc::ServerWriteReactor<v1::Job>* ControllerFront::WatchJob(grpc::CallbackServerContext* context,
                                                             const v1::WatchJobRequest* request) {
  const auto ask = [&](Term& term) { return term.controller().WatchJob(context, request); };
  if (grpc::ServerWriteReactor<v1::Job>* reactor = gate_.Ask(ask)) return reactor;
  return new RefusedWatch(gate_.Refusal());
}

grpc::ServerUnaryReactor* ControllerFront::ListNodes(grpc::CallbackServerContext* context,
                                                     const v1::ListNodesRequest* request,
                                                     v1::ListNodesResponse* response) {
  return gate_.HandOn(&Term::controller, &ControllerService::ListNodes, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::CreateSchedule(grpc::CallbackServerContext* context,
                                                        const v1::CreateScheduleRequest* request,
                                                        v1::Schedule* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::CreateSchedule, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::GetSchedule(grpc::CallbackServerContext* context,
                                                     const v1::GetScheduleRequest* request,
                                                     v1::Schedule* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::GetSchedule, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::ListSchedules(grpc::CallbackServerContext* context,
                                                       const v1::ListSchedulesRequest* request,
                                                       v1::ListSchedulesResponse* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::ListSchedules, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::UpdateSchedule(grpc::CallbackServerContext* context,
                                                        const v1::UpdateScheduleRequest* request,
                                                        v1::Schedule* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::UpdateSchedule, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::DeleteSchedule(grpc::CallbackServerContext* context,
                                                        const v1::DeleteScheduleRequest* request,
                                                        google::protobuf::Empty* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::DeleteSchedule, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::RunScheduleNow(grpc::CallbackServerContext* context,
                                                        const v1::RunScheduleNowRequest* request,
                                                        v1::Job* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::RunScheduleNow, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::SetNodeWindows(grpc::CallbackServerContext* context,
                                                        const v1::SetNodeWindowsRequest* request,
                                                        v1::NodeWindows* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::SetNodeWindows, context, request, response);
}

grpc::ServerUnaryReactor* ScheduleFront::ListNodeWindows(grpc::CallbackServerContext* context,
                                                         const v1::ListNodeWindowsRequest* request,
                                                         v1::ListNodeWindowsResponse* response) {
  return gate_.HandOn(&Term::schedules, &ScheduleService::ListNodeWindows, context, request, response);
}

grpc::ServerUnaryReactor* HoldFront::PauseNode(grpc::CallbackServerContext* context,
                                               const v1::PauseNodeRequest* request, v1::NodeHold* response) {
  return gate_.HandOn(&Term::holds, &HoldService::PauseNode, context, request, response);
}

grpc::ServerUnaryReactor* HoldFront::DrainNode(grpc::CallbackServerContext* context,
                                               const v1::DrainNodeRequest* request, v1::NodeHold* response) {
  return gate_.HandOn(&Term::holds, &HoldService::DrainNode, context, request, response);
}

grpc::ServerUnaryReactor* HoldFront::ResumeNode(grpc::CallbackServerContext* context,
                                                const v1::ResumeNodeRequest* request,
                                                v1::NodeHold* response) {
  return gate_.HandOn(&Term::holds, &HoldService::ResumeNode, context, request, response);
}

grpc::ServerUnaryReactor* HoldFront::PauseCluster(grpc::CallbackServerContext* context,
                                                  const v1::PauseClusterRequest* request,
                                                  v1::ClusterHold* response) {
  return gate_.HandOn(&Term::holds, &HoldService::PauseCluster, context, request, response);
}

grpc::ServerUnaryReactor* HoldFront::DrainCluster(grpc::CallbackServerContext* context,
                                                  const v1::DrainClusterRequest* request,
                                                  v1::ClusterHold* response) {
  return gate_.HandOn(&Term::holds, &HoldService::DrainCluster, context, request, response);
}

grpc::ServerUnaryReactor* HoldFront::ResumeCluster(grpc::CallbackServerContext* context,
                                                   const v1::ResumeClusterRequest* request,
                                                   v1::ClusterHold* response) {
  return gate_.HandOn(&Term::holds, &HoldService::ResumeCluster, context, request, response);
}

Fronts::Fronts(TermGate& gate, std::unique_ptr<JobStore> reader)
    : controller_(gate, std::move(reader)), schedules_(gate), holds_(gate) {}

std::vector<std::string> Fronts::names() {
  return {v1::ControllerService::service_full_name(), v1::ScheduleService::service_full_name(),
          v1::HoldService::service_full_name()};
}

}  // namespace cowherd
