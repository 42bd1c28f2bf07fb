#include "server/controller/watch_stream.h"

#include <utility>

#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "server/controller/convert.h"

namespace cowherd {

absl::StatusOr<std::shared_ptr<const v1::Job>> JobMessages::Of(const std::shared_ptr<const JobView>& record) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<const v1::Job> message = message_.lock();
  if (message != nullptr && record_.lock() == record) return message;
  ASSIGN_OR_RETURN(v1::Job made, ToProto(*record));
  message = std::make_shared<const v1::Job>(std::move(made));
  record_ = record;
  message_ = message;
  return message;
}

WatchStream* WatchStream::Start(Loop& loop, const std::shared_ptr<Mailbox>& mailbox,
                                const std::shared_ptr<JobMessages>& messages, std::string id) {
  auto stream = std::make_shared<WatchStream>(loop, mailbox, messages);
  stream->self_ = stream;
  const absl::Status posted = mailbox->PostCall([stream, id = std::move(id)] { stream->Watch(stream, id); });
  if (!posted.ok()) {
    stream->posted_ = false;
    stream->End(posted);
  }
  return stream.get();
}

void WatchStream::Watch(const std::shared_ptr<WatchStream>& self, const std::string& id) {
  if (!mailbox_->Holds()) return End(NotLeader(""));
  absl::StatusOr<uint64_t> watch =
      loop_.WatchJob(id, [self](std::shared_ptr<const JobView> record) { self->Update(std::move(record)); });
  if (watch.ok()) {
    watch_ = *watch;
  } else {
    End(watch.status());
  }
}

void WatchStream::OnWriteDone(bool ok) {
  std::lock_guard<std::mutex> lock(mutex_);
  sending_ = nullptr;
  if (!ok) return EndLocked(absl::CancelledError("the watcher went away"));
  if (end_) return EndLocked(*end_);
  SendLocked();
}

void WatchStream::OnDone() {
  std::shared_ptr<WatchStream> self = std::move(self_);
  // A refused call leaves nothing in the mailbox: else those that call again and again would fill it.
  if (!posted_) return;
  // Comes after Watch on that thread.
  mailbox_->PostNews([self = std::move(self)] { self->loop_.Unwatch(self->watch_); });
}

void WatchStream::Update(std::shared_ptr<const JobView> record) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (record == nullptr) {
    return EndLocked(
        MakeError(absl::StatusCode::kUnavailable, "STOPPING", "the controller is stopping; watch again"));
  }
  latest_ = std::move(record);
  if (sending_ == nullptr) SendLocked();
}

void WatchStream::SendLocked() {
  if (finished_ || end_ || latest_ == nullptr) return;
  const std::shared_ptr<const JobView> record = std::exchange(latest_, nullptr);
  absl::StatusOr<std::shared_ptr<const v1::Job>> message = messages_->Of(record);
  if (!message.ok()) return EndLocked(message.status());
  sending_ = *std::move(message);
  if (Ended(record->job.state)) end_ = absl::OkStatus();
  StartWrite(sending_.get());
}

void WatchStream::End(const absl::Status& status) {
  std::lock_guard<std::mutex> lock(mutex_);
  EndLocked(status);
}

void WatchStream::EndLocked(const absl::Status& status) {
  if (finished_) return;
  if (!end_) end_ = status;
  if (sending_ != nullptr) return;
  finished_ = true;
  Finish(ToGrpc(*end_));
}

}  // namespace cowherd
