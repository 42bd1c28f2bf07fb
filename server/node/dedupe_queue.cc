#include "server/node/dedupe_queue.h"

#include <chrono>
#include <vector>

#include "server/base/status.h"

namespace cowherd {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How long a queue keeps a thread of the pool while others may wait for one.
constexpr auto kTurn = std::chrono::milliseconds(20);
constexpr size_t kMaxWaiting = 1024;
// Queues, before those that have gone are looked for.
constexpr size_t kManyQueues = 256;

}  // namespace

absl::Status DedupeQueue::Add(const v1::DedupeRangesRequest& request, const Stop& stop, Answered answered) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (waiting_.size() >= kMaxWaiting) return BusyError();
  if (!serving_) {
    RETURN_IF_ERROR(pool_.Submit([self = shared_from_this()] { self->Serve(); }));
    serving_ = true;
  }
  waiting_.push_back({{&request, &stop}, std::move(answered)});
  return absl::OkStatus();
}

void DedupeQueue::Serve() {
  const SteadyClock::time_point end = SteadyClock::now() + kTurn;
  std::unique_lock<std::mutex> lock(mutex_);
  while (!waiting_.empty()) {
    std::deque<Waiting> together;
    together.swap(waiting_);
    lock.unlock();
    std::vector<Node::Asked> asked;
    asked.reserve(together.size());
    for (const Waiting& waiting : together) asked.push_back(waiting.asked);
    node_.DedupeTogether(asked, [&](absl::StatusOr<v1::DedupeRangesResponse> result) {
      together.front().answered(std::move(result));
      together.pop_front();
    });
    lock.lock();
    // Other calls have their turn. Where the pool takes no more, this one goes on.
    if (SteadyClock::now() >= end && pool_.Submit([self = shared_from_this()] { self->Serve(); }).ok())
      return;
  }
  serving_ = false;
}

std::shared_ptr<DedupeQueue> QueuesOfFiles::Find(const std::string& source, const std::string& destination) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (queues_.size() >= kManyQueues) {
    absl::erase_if(queues_, [](const auto& queue) { return queue.second.expired(); });
  }
  std::weak_ptr<DedupeQueue>& known = queues_[{source, destination}];
  std::shared_ptr<DedupeQueue> queue = known.lock();
  if (queue == nullptr) {
    queue = std::make_shared<DedupeQueue>(node_, pool_);
    known = queue;
  }
  return queue;
}

}  // namespace cowherd
