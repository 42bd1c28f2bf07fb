#ifndef COWHERD_TESTS_TESTING_FAKE_NODE_H_
#define COWHERD_TESTS_TESTING_FAKE_NODE_H_

#include <grpcpp/server.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cowherd/v1/node.grpc.pb.h"

namespace cowherd {

// A node on a free loopback port that runs tasks only in name: each goes on until the test or CancelTask ends
// it. Keeps NodeService's promises on attempts, attaching and epochs. Any thread.
class FakeNode final : public v1::NodeService::Service {
 public:
  explicit FakeNode(v1::Node facts);
  ~FakeNode() override;

  // host:port.
  const std::string& address() const { return address_; }

  // Blocks until a run of a task has begun that was not returned before, and returns what it was asked.
  v1::RunTaskRequest WaitForRun();

  // What attached streams are told at once.
  void Progress(const std::string& task_id, const v1::TaskTotals& totals);
  // Ends the current run of a task.
  void End(const std::string& task_id, v1::TaskSummary summary);

  // Ends all streams, answers nothing. The port stays taken.
  void GoDown();
  void ComeBack();

 private:
  struct Run {
    v1::RunTaskRequest request;
    std::string run_id;
    v1::TaskTotals totals;
    bool over = false;
    v1::TaskSummary summary;
  };

  grpc::Status GetNode(grpc::ServerContext* context, const v1::GetNodeRequest* request,
                       v1::Node* response) override;
  grpc::Status RunTask(grpc::ServerContext* context, const v1::RunTaskRequest* request,
                       grpc::ServerWriter<v1::RunTaskResponse>* writer) override;
  grpc::Status CancelTask(grpc::ServerContext* context, const v1::CancelTaskRequest* request,
                          v1::CancelTaskResponse* response) override;

  grpc::Status CheckLocked(uint64_t epoch);

  const v1::Node facts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool down_ = false;
  uint64_t epoch_ = 0;
  int runs_made_ = 0;
  std::map<std::string, Run> runs_;
  std::vector<v1::RunTaskRequest> begun_;
  size_t returned_ = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_FAKE_NODE_H_
