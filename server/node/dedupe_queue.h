#ifndef COWHERD_SERVER_NODE_DEDUPE_QUEUE_H_
#define COWHERD_SERVER_NODE_DEDUPE_QUEUE_H_

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cowherd/v1/node.pb.h"
#include "server/base/stop.h"
#include "server/base/work_pool.h"
#include "server/node/node.h"

namespace cowherd {

// Requests that are served one after the other, in the order in which they came: those that wait together
// with the same open files, neighbours in one call of the kernel. Held by a shared_ptr; lives until all are
// answered. Any thread.
class DedupeQueue : public std::enable_shared_from_this<DedupeQueue> {
 public:
  using Answered = std::function<void(absl::StatusOr<v1::DedupeRangesResponse>)>;

  // Both must outlive it.
  DedupeQueue(Node& node, WorkPool& pool) : node_(node), pool_(pool) {}

  // `answered` is called once, on a thread of the pool, without a lock; request and stop must live until
  // then. An error: too many wait, and the request was not taken.
  absl::Status Add(const v1::DedupeRangesRequest& request, const Stop& stop, Answered answered);

 private:
  struct Waiting {
    Node::Asked asked;
    Answered answered;
  };

  void Serve();

  Node& node_;
  WorkPool& pool_;
  std::mutex mutex_;
  std::deque<Waiting> waiting_;
  bool serving_ = false;  // the pool has a turn of this queue
};

// A queue for each pair of files with calls that wait. The kernel locks both files while it compares, and
// whoever waits for that lock keeps a core busy (rwsem_spin_on_owner in kernel/locking/rwsem.c). Any thread.
class QueuesOfFiles {
 public:
  QueuesOfFiles(Node& node, WorkPool& pool) : node_(node), pool_(pool) {}

  std::shared_ptr<DedupeQueue> Find(const std::string& source, const std::string& destination);

 private:
  Node& node_;
  WorkPool& pool_;
  std::mutex mutex_;
  absl::flat_hash_map<std::pair<std::string, std::string>, std::weak_ptr<DedupeQueue>> queues_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_DEDUPE_QUEUE_H_
