#ifndef COWHERD_SERVER_CONTROLLER_FRONT_H_
#define COWHERD_SERVER_CONTROLLER_FRONT_H_

#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>

#include "cowherd/v1/controller.grpc.pb.h"
#include "server/base/work_pool.h"
#include "server/controller/term.h"
#include "server/jobs/job_store.h"

namespace cowherd {

// The services that the gRPC server knows. While this controller leads, its term answers. While it does not,
// GetJob and ListJobs are answered from the store and everything else by UNAVAILABLE "NOT_LEADER", which
// names the leader.
class Front final : public v1::ControllerService::CallbackService {
 public:
  // `reader` reads while another leads; null: no other ever does. `leader` tells where that one is; any
  // thread.
  Front(std::unique_ptr<JobStore> reader, std::function<std::string()> leader);

  // From now on, that term answers; it must live until Follow.
  void Lead(Term& term);
  // From now on, no term is asked any more.
  void Follow();

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
  template <typename Request, typename Response>
  using Method = grpc::ServerUnaryReactor* (ControllerService::*)(grpc::CallbackServerContext*,
                                                                  const Request*, Response*);
  // By the term's service, or by `otherwise`, an absl::Status(JobStore& reader); null: refused.
  template <typename Request, typename Response>
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const Request* request,
                                   Response* response, Method<Request, Response> method,
                                   std::function<absl::Status(JobStore&)> otherwise = nullptr);

  const std::unique_ptr<JobStore> reader_;
  const std::function<std::string()> leader_;
  std::shared_mutex mutex_;
  Term* term_ = nullptr;
  // Its one thread calls the reader.
  WorkPool reads_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_FRONT_H_
