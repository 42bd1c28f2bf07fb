#include "client/controllers.h"

#include <utility>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

// Whether a healthy controller is there. Waits until the channel knows.
bool Connect(grpc::Channel& channel, absl::Time end) {
  while (true) {
    const grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return true;
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN) return false;
    if (!channel.WaitForStateChange(state, absl::ToChronoTime(end))) return false;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Controllers>> Controllers::Make(absl::string_view addresses,
                                                               const ChannelFlags& flags, Sleep sleep) {
  ASSIGN_OR_RETURN(std::vector<std::string> list, ParseControllers(addresses));
  std::map<std::string, Channel> channels;
  for (const std::string& address : list) {
    ASSIGN_OR_RETURN(channels[address], MakeControllerChannel(address, flags));
  }
  absl::BitGen random;
  const size_t first = absl::Uniform<size_t>(random, 0, list.size());
  std::shared_ptr<Controllers> controllers(new Controllers(std::move(list), first, flags, std::move(sleep)));
  controllers->channels_ = std::move(channels);
  return controllers;
}

absl::StatusOr<Controllers::Channel> Controllers::Current(std::string& address) {
  std::lock_guard<std::mutex> lock(mutex_);
  address = ring_.current();
  Channel& channel = channels_[address];
  // A leader that a controller named.
  if (channel == nullptr) {
    ASSIGN_OR_RETURN(channel, MakeControllerChannel(address, flags_, IsNumeric(address) ? name_ : ""));
  }
  return channel;
}

bool Controllers::Wait(absl::Duration wait, absl::Time end) const {
  if (absl::Now() + wait >= end) return false;
  if (wait > absl::ZeroDuration()) sleep_(wait);
  return true;
}

absl::Status Controllers::Run(Repeat repeat, absl::Duration timeout, Try one_try) {
  const bool repeatable = repeat == Repeat::kSafe;
  CallTries tries(repeatable);
  const absl::Time end = absl::Now() + timeout;
  while (true) {
    std::string address;
    ASSIGN_OR_RETURN(const Channel channel, Current(address));
    const bool connected = Connect(*channel, end);
    // Without a connection the call fails at once, and tells why; but it might be made just then.
    absl::Status status = connected || repeatable
                              ? one_try(channel, end - absl::Now())
                              : absl::UnavailableError(absl::StrCat("cannot connect to ", address));
    absl::optional<absl::Duration> wait;
    if (!status.ok()) {
      std::lock_guard<std::mutex> lock(mutex_);
      wait = tries.After(address, status, /*sent=*/connected, ring_, random_);
    }
    if (!wait || !Wait(*wait, end)) return status;
  }
}

absl::Status Controllers::Follow(absl::Duration timeout, Stream stream, OnBroken on_broken) {
  WatchTries tries;
  const absl::Time end = absl::Now() + timeout;
  while (true) {
    std::string address;
    ASSIGN_OR_RETURN(const Channel channel, Current(address));
    Connect(*channel, end);
    absl::Status status = stream(channel, end - absl::Now(), tries);
    absl::optional<absl::Duration> wait;
    if (!status.ok()) {
      std::lock_guard<std::mutex> lock(mutex_);
      wait = tries.After(address, status, ring_, random_);
    }
    if (!wait) return status;
    on_broken(status);
    if (!Wait(*wait, end)) return status;
  }
}

}  // namespace cowherd
