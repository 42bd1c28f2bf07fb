#ifndef COWHERD_SERVER_CONTROLLER_CONTROLLER_SERVICE_H_
#define COWHERD_SERVER_CONTROLLER_CONTROLLER_SERVICE_H_

#include <memory>

#include "absl/status/status.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "server/controller/watch_stream.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"

namespace cowherd {

// Hands each call to the loop's thread, which answers it. The loop must have stopped before the gRPC server
// is shut down: that ends the watches.
class ControllerService final : public v1::ControllerService::CallbackService {
 public:
  // Both must outlive the server.
  ControllerService(Loop& loop, std::shared_ptr<Mailbox> mailbox);

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
  // `call` runs on the loop's thread; the RPC ends with what it returns.
  template <typename Call>
  grpc::ServerUnaryReactor* OnLoop(grpc::CallbackServerContext* context, Call call);

  Loop& loop_;
  const std::shared_ptr<Mailbox> mailbox_;
  const std::shared_ptr<JobMessages> messages_ = std::make_shared<JobMessages>();
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_CONTROLLER_SERVICE_H_
