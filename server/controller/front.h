#ifndef COWHERD_SERVER_CONTROLLER_FRONT_H_
#define COWHERD_SERVER_CONTROLLER_FRONT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "server/base/work_pool.h"
#include "server/controller/term_gate.h"
#include "server/jobs/job_store.h"

namespace cowherd {

// The service that the gRPC server knows. While this controller leads, its term answers. While it does not,
// GetJob and ListJobs are answered from the store and everything else by UNAVAILABLE "NOT_LEADER", which
// names the leader.
class ControllerFront final : public v1::ControllerService::CallbackService {
 public:
  // `reader` reads while another leads; null: no other ever does. The gate must outlive the server.
  ControllerFront(TermGate& gate, std::unique_ptr<JobStore> reader);

  grpc::ServerUnaryReactor* CreateJob(grpc::CallbackServerContext* context,
                                      const v1::CreateJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
                                   v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* PauseJob(grpc::CallbackServerContext* context, const v1::PauseJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const v1::ResumeJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* DeleteJob(grpc::CallbackServerContext* context,
                                      const v1::DeleteJobRequest* request,
                                      google::protobuf::Empty* response) override;
  grpc::ServerWriteReactor<v1::Job>* WatchJob(grpc::CallbackServerContext* context,
                                              const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* ListNodes(grpc::CallbackServerContext* context,
                                      const v1::ListNodesRequest* request,
                                      v1::ListNodesResponse* response) override;

 private:
  // An answer from the store, made on the reader's thread.
  grpc::ServerUnaryReactor* Read(grpc::CallbackServerContext* context,
                                 std::function<absl::Status(JobStore&)> read);

  TermGate& gate_;
  const std::unique_ptr<JobStore> reader_;
  // Its one thread calls the reader.
  WorkPool reads_;
};

// The same for schedules and node windows, without reads.
class ScheduleFront final : public v1::ScheduleService::CallbackService {
 public:
  explicit ScheduleFront(TermGate& gate) : gate_(gate) {}

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
  TermGate& gate_;
};

// The same for pauses of nodes and of the cluster.
class HoldFront final : public v1::HoldService::CallbackService {
 public:
  explicit HoldFront(TermGate& gate) : gate_(gate) {}

  grpc::ServerUnaryReactor* PauseNode(grpc::CallbackServerContext* context,
                                      const v1::PauseNodeRequest* request, v1::NodeHold* response) override;
  grpc::ServerUnaryReactor* DrainNode(grpc::CallbackServerContext* context,
                                      const v1::DrainNodeRequest* request, v1::NodeHold* response) override;
  grpc::ServerUnaryReactor* ResumeNode(grpc::CallbackServerContext* context,
                                       const v1::ResumeNodeRequest* request, v1::NodeHold* response) override;
  grpc::ServerUnaryReactor* PauseCluster(grpc::CallbackServerContext* context,
                                         const v1::PauseClusterRequest* request,
                                         v1::ClusterHold* response) override;
  grpc::ServerUnaryReactor* DrainCluster(grpc::CallbackServerContext* context,
                                         const v1::DrainClusterRequest* request,
                                         v1::ClusterHold* response) override;
  grpc::ServerUnaryReactor* ResumeCluster(grpc::CallbackServerContext* context,
                                          const v1::ResumeClusterRequest* request,
                                          v1::ClusterHold* response) override;

 private:
  TermGate& gate_;
};

// All services of a controller.
class Fronts {
 public:
  // As ControllerFront's.
  Fronts(TermGate& gate, std::unique_ptr<JobStore> reader);

  std::vector<grpc::Service*> services() { return {&controller_, &schedules_, &holds_}; }
  // Their full names, which health goes by.
  static std::vector<std::string> names();

 private:
  ControllerFront controller_;
  ScheduleFront schedules_;
  HoldFront holds_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_FRONT_H_
