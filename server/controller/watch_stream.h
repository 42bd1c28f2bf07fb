#ifndef COWHERD_SERVER_CONTROLLER_WATCH_STREAM_H_
#define COWHERD_SERVER_CONTROLLER_WATCH_STREAM_H_

#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "cowherd/v1/controller.pb.h"
#include "server/sched/job_view.h"
#include "server/sched/loop.h"
#include "server/sched/mailbox.h"

namespace cowherd {

// The messages that watchers are sent. All watchers of a job are told the same at once, so they share one.
// Any thread.
class JobMessages {
 public:
  absl::StatusOr<std::shared_ptr<const v1::Job>> Of(const std::shared_ptr<const JobView>& record);

 private:
  std::mutex mutex_;
  // What was made last, for as long as somebody has it.
  std::weak_ptr<const JobView> record_;
  std::weak_ptr<const v1::Job> message_;
};

// Sends a watcher the latest state of a job whenever the one before is sent: what comes meanwhile is left
// out. An idle one holds no state; a slow one at most what is on its way and the latest.
class WatchStream final : public grpc::ServerWriteReactor<v1::Job> {
 public:
  // The stream lives until gRPC is done with it. `loop` must live until it has stopped.
  static WatchStream* Start(Loop& loop, const std::shared_ptr<Mailbox>& mailbox,
                            const std::shared_ptr<JobMessages>& messages, std::string id);

  WatchStream(Loop& loop, std::shared_ptr<Mailbox> mailbox, std::shared_ptr<JobMessages> messages)
      : loop_(loop), mailbox_(std::move(mailbox)), messages_(std::move(messages)) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(absl::CancelledError("the watcher went away")); }
  void OnDone() override;

 private:
  // On the loop's thread, first.
  void Watch(const std::shared_ptr<WatchStream>& self, const std::string& id);
  void Update(std::shared_ptr<const JobView> record);
  void End(const absl::Status& status);
  void SendLocked();
  // Once, and not while a message is on its way.
  void EndLocked(const absl::Status& status);

  Loop& loop_;
  const std::shared_ptr<Mailbox> mailbox_;
  const std::shared_ptr<JobMessages> messages_;
  std::shared_ptr<WatchStream> self_;
  // Watch is called, or was.
  bool posted_ = true;
  // Of the loop's thread. 0: none.
  uint64_t watch_ = 0;
  std::mutex mutex_;
  std::shared_ptr<const JobView> latest_;
  // On its way; null: nothing is.
  std::shared_ptr<const v1::Job> sending_;
  bool finished_ = false;
  // How to end once nothing is on its way.
  absl::optional<absl::Status> end_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_WATCH_STREAM_H_
