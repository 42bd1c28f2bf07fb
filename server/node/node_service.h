#ifndef COWHERD_SERVER_NODE_NODE_SERVICE_H_
#define COWHERD_SERVER_NODE_NODE_SERVICE_H_

#include "cowherd/v1/node.grpc.pb.h"
#include "server/base/work_pool.h"
#include "server/node/node.h"

namespace cowherd {

// Node over gRPC. Callbacks never block: the node's calls run on the pools. They and the node must
// outlive it.
class NodeService final : public v1::NodeService::CallbackService {
 public:
  // `dedupes` for what waits for the disk, `lookups` for what is short, orders to run and cancel tasks among
  // it, `scans` for FindDuplicates, which may run for hours.
  NodeService(Node& node, WorkPool& dedupes, WorkPool& lookups, WorkPool& scans)
      : node_(node), dedupes_(dedupes), lookups_(lookups), scans_(scans) {}

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

 private:
  Node& node_;
  WorkPool& dedupes_;
  WorkPool& lookups_;
  WorkPool& scans_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_NODE_SERVICE_H_
