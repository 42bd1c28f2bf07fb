#ifndef COWHERD_TESTS_TESTING_FAKE_SERVERS_H_
#define COWHERD_TESTS_TESTING_FAKE_SERVERS_H_

#include <grpcpp/server.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cowherd/v1/controller.grpc.pb.h"
#include "cowherd/v1/node.grpc.pb.h"

// A node and a controller that answer as they are told, on a loopback port. Set the answers before the calls;
// what was asked is kept. Any thread may call.
namespace cowherd::testing {

class FakeNode final : public v1::NodeService::CallbackService {
 public:
  // Of DedupeRanges and of each request of DedupeRangesStream. Default: all of it is DEDUPED and shared.
  std::function<absl::StatusOr<v1::DedupeRangesResponse>(const v1::DedupeRangesRequest&)> dedupe;
  // A DedupeRangesStream ends, with this, when it should answer the request of this number. As given, without
  // details: as if a proxy or the transport had broken it.
  int break_stream_at = -1;
  grpc::Status break_with;
  // Answers of FindDuplicates, then its status.
  std::vector<v1::FindDuplicatesResponse> found;
  absl::Status find_status;
  std::vector<v1::RunTaskResponse> task_events;
  std::function<absl::StatusOr<v1::GetExtentsResponse>(const v1::GetExtentsRequest&)> extents;
  absl::StatusOr<v1::Node> node = v1::Node();
  // GetNode never answers.
  bool hang = false;

  std::vector<v1::DedupeRangesRequest> dedupes() const;
  std::vector<v1::FindDuplicatesRequest> finds() const;
  int streams() const;

  grpc::ServerUnaryReactor* DedupeRanges(grpc::CallbackServerContext* context,
                                         const v1::DedupeRangesRequest* request,
                                         v1::DedupeRangesResponse* response) override;
  grpc::ServerBidiReactor<v1::DedupeRangesStreamRequest, v1::DedupeRangesStreamResponse>* DedupeRangesStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::FindDuplicatesResponse>* FindDuplicates(
      grpc::CallbackServerContext* context, const v1::FindDuplicatesRequest* request) override;
  grpc::ServerWriteReactor<v1::RunTaskResponse>* RunTask(grpc::CallbackServerContext* context,
                                                         const v1::RunTaskRequest* request) override;
  grpc::ServerUnaryReactor* CancelTask(grpc::CallbackServerContext* context,
                                       const v1::CancelTaskRequest* request,
                                       v1::CancelTaskResponse* response) override;
  grpc::ServerUnaryReactor* GetExtents(grpc::CallbackServerContext* context,
                                       const v1::GetExtentsRequest* request,
                                       v1::GetExtentsResponse* response) override;
  grpc::ServerUnaryReactor* GetNode(grpc::CallbackServerContext* context, const v1::GetNodeRequest* request,
                                    v1::Node* response) override;

  // As DedupeRanges would answer; counts the request.
  absl::StatusOr<v1::DedupeRangesResponse> Answer(const v1::DedupeRangesRequest& request);

 private:
  mutable std::mutex mutex_;
  std::vector<v1::DedupeRangesRequest> dedupes_;
  std::vector<v1::FindDuplicatesRequest> finds_;
  int streams_ = 0;
};

class FakeController final : public v1::ControllerService::CallbackService {
 public:
  // The answer to every call that returns a job.
  absl::StatusOr<v1::Job> job = v1::Job();
  // Calls that return a job are taken, then end so, as if the transport had broken. OK: they are answered.
  grpc::Status break_with;
  // Each WatchJob takes the next of these: what it sends, then its status.
  struct Watch {
    std::vector<v1::Job> jobs;
    absl::Status status;
  };
  std::deque<Watch> watches;
  absl::Status delete_status;
  // By page token; the first page's is "".
  std::function<absl::StatusOr<v1::ListJobsResponse>(const v1::ListJobsRequest&)> list;
  v1::ListNodesResponse nodes;

  std::vector<v1::CreateJobRequest> creates() const;
  std::vector<v1::ListJobsRequest> lists() const;
  // "CancelJob 7", ... of the calls that take an id.
  std::vector<std::string> calls() const;

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
  grpc::ServerUnaryReactor* FinishJob(grpc::CallbackServerContext* context, v1::Job* response);
  grpc::ServerUnaryReactor* AnswerJob(grpc::CallbackServerContext* context, const std::string& call,
                                      v1::Job* response);

  mutable std::mutex mutex_;
  std::vector<v1::CreateJobRequest> creates_;
  std::vector<v1::ListJobsRequest> lists_;
  std::vector<std::string> calls_;
};

// Serves one of the above on 127.0.0.1 until it goes. `service` must outlive it.
class FakeServer {
 public:
  explicit FakeServer(grpc::Service& service);
  ~FakeServer();
  const std::string& address() const { return address_; }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace cowherd::testing

#endif  // COWHERD_TESTS_TESTING_FAKE_SERVERS_H_
