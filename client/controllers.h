#ifndef COWHERD_CLIENT_CONTROLLERS_H_
#define COWHERD_CLIENT_CONTROLLERS_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/channel.h"
#include "client/controller_ring.h"

namespace cowherd {

// The way to the controllers of a cluster, of which one leads. Calls go to one that answers and is healthy;
// one that does not lead is left for the leader it names. With TLS, a leader that is named by its number, as
// pods of Kubernetes are, has to show a certificate of the first name given. Any thread.
class Controllers {
 public:
  using Sleep = std::function<void(absl::Duration)>;

  // `addresses`: "a:7400,b:7400" or one. See channel.h; an error names the flag at fault. Clients begin at
  // any of them, so that they spread.
  static absl::StatusOr<std::shared_ptr<Controllers>> Make(absl::string_view addresses,
                                                           const ChannelFlags& flags,
                                                           Sleep sleep = absl::SleepFor);

  using Channel = std::shared_ptr<grpc::Channel>;
  // One try, for as long as is left.
  using Try = absl::FunctionRef<absl::Status(const Channel& channel, absl::Duration left)>;
  // What a try without an answer means for the call.
  enum class Repeat {
    // It is made again: being done twice does no harm.
    kSafe,
    // That is the answer: UNAVAILABLE without a reason.
    kNever,
  };
  // Tries until there is an answer, or nobody to ask, or `timeout` is over. What certainly was not done is
  // tried again in any case.
  absl::Status Run(Repeat repeat, absl::Duration timeout, Try one_try);

  // Runs a stream again and again, until it ends OK, or as no controller's absence explains. `tries` is to be
  // told of messages. `on_broken` hears of each stream that is taken up again.
  using Stream =
      absl::FunctionRef<absl::Status(const Channel& channel, absl::Duration left, WatchTries& tries)>;
  using OnBroken = absl::FunctionRef<void(const absl::Status&)>;
  absl::Status Follow(absl::Duration timeout, Stream stream, OnBroken on_broken);

 private:
  Controllers(std::vector<std::string> addresses, size_t first, ChannelFlags flags, Sleep sleep)
      : flags_(std::move(flags)),
        sleep_(std::move(sleep)),
        name_(FirstName(addresses)),
        ring_(std::move(addresses), first) {}

  // The address to ask now; its channel.
  absl::StatusOr<Channel> Current(std::string& address);
  // False: `end` is before the wait is over.
  bool Wait(absl::Duration wait, absl::Time end) const;

  const ChannelFlags flags_;
  const Sleep sleep_;
  const std::string name_;
  std::mutex mutex_;
  absl::BitGen random_;
  ControllerRing ring_;
  std::map<std::string, Channel> channels_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_CONTROLLERS_H_
