#ifndef COWHERD_CLIENT_NODE_CLIENT_H_
#define COWHERD_CLIENT_NODE_CLIENT_H_

#include <grpcpp/channel.h>

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cowherd/v1/node.grpc.pb.h"
#include "cowherd/v1/node.pb.h"

namespace cowherd {

// The calls of one node, for programs. The messages' comments in proto/cowherd/v1 are the reference.
//
// Every method waits for its answer and is safe from any thread. `timeout` bounds the whole call;
// absl::InfiniteDuration() is none. An error is the server's, with reason, field and errno (status.h);
// without a reason it comes from the way there: UNAVAILABLE if the node cannot be reached, DEADLINE_EXCEEDED
// if it did not answer in time. Nothing is retried here; every call may be repeated as its comment in the
// proto says.
class NodeClient {
 public:
  // See channel.h.
  explicit NodeClient(std::shared_ptr<grpc::Channel> channel);

  absl::StatusOr<v1::DedupeRangesResponse> DedupeRanges(const v1::DedupeRangesRequest& request,
                                                        absl::Duration timeout) const;

  // Many requests over one stream. `next` fills in a request and returns true, or returns false when there
  // are no more; `answered` gets the answer to each, in the order sent, and returns false to cancel the rest.
  // At most `window` requests (1 or more) are unanswered at a time: with 1, `next` is asked after each
  // answer. Both run in the calling thread. An error in the answer means that nothing of that request was
  // tried, and does not end the stream. OK: `answered` got all, or stopped it.
  using NextRequest = absl::FunctionRef<bool(v1::DedupeRangesRequest*)>;
  using Answered = absl::FunctionRef<bool(absl::StatusOr<v1::DedupeRangesResponse>)>;
  absl::Status DedupeRangesStream(size_t window, NextRequest next, Answered answered,
                                  absl::Duration timeout) const;

  // `on_event` gets duplicates, progress and the summary, and returns false to stop. OK: it got all, or
  // stopped it. DATA_LOSS "INCOMPLETE": the stream ended without its summary.
  using OnFound = absl::FunctionRef<bool(const v1::FindDuplicatesResponse&)>;
  absl::Status FindDuplicates(const v1::FindDuplicatesRequest& request, OnFound on_event,
                              absl::Duration timeout) const;

  // As FindDuplicates. That it stops does not stop the task: CancelTask does.
  using OnTask = absl::FunctionRef<bool(const v1::RunTaskResponse&)>;
  absl::Status RunTask(const v1::RunTaskRequest& request, OnTask on_event, absl::Duration timeout) const;

  absl::Status CancelTask(const v1::CancelTaskRequest& request, absl::Duration timeout) const;

  // One page.
  absl::StatusOr<v1::GetExtentsResponse> GetExtents(const v1::GetExtentsRequest& request,
                                                    absl::Duration timeout) const;

  absl::StatusOr<v1::Node> GetNode(absl::Duration timeout) const;

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::NodeService::Stub> stub_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_NODE_CLIENT_H_
