#ifndef COWHERD_CLIENT_STREAM_H_
#define COWHERD_CLIENT_STREAM_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <mutex>
#include <utility>

namespace cowherd {

// The reading side of a server's stream, for a thread that waits. Bind it with the stub's async() method,
// then Begin, Next until it is false or the call was cancelled, and Finish, which must be called before this
// goes.
template <typename Response>
class StreamReader final : public grpc::ClientReadReactor<Response> {
 public:
  void Begin() {
    // Reads start outside of reactions: the call must not be let go between them.
    this->AddHold();
    this->StartCall();
  }

  // Waits for the next message. False: there are no more.
  bool Next(Response* message) {
    std::unique_lock<std::mutex> lock(mutex_);
    read_ = Read::kPending;
    this->StartRead(message);
    changed_.wait(lock, [this] { return read_ != Read::kPending; });
    return read_ == Read::kOk;
  }

  // Waits for the end of the call.
  grpc::Status Finish() {
    this->RemoveHold();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return status_;
  }

  void OnReadDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex_);
    read_ = ok ? Read::kOk : Read::kEnd;
    changed_.notify_all();
  }

  void OnDone(const grpc::Status& status) override {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = status;
    done_ = true;
    // Under the lock: Finish may return, and this may go, as soon as it is given up.
    changed_.notify_all();
  }

 private:
  enum class Read { kPending, kOk, kEnd };

  std::mutex mutex_;
  std::condition_variable changed_;
  Read read_ = Read::kEnd;
  bool done_ = false;
  grpc::Status status_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_STREAM_H_
