#ifndef COWHERD_CLIENT_CONTROLLER_RING_H_
#define COWHERD_CLIENT_CONTROLLER_RING_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

// Which of several controllers to ask, and what a failure means for that. Pure.
namespace cowherd {

// "a:7400,b:7400" or one address: each once. INVALID_ARGUMENT of --controller.
absl::StatusOr<std::vector<std::string>> ParseControllers(absl::string_view text);

// True for "a.b.c.d:port" and "[v6]:port".
bool IsNumeric(absl::string_view address);
// The host of the first address that has a name; empty if none has.
std::string FirstName(const std::vector<std::string>& addresses);

// The controllers known, in a circle; one of them is asked until it fails.
class ControllerRing {
 public:
  // `addresses` is not empty. The one at `first` (below its size) is asked first.
  ControllerRing(std::vector<std::string> addresses, size_t first)
      : addresses_(std::move(addresses)), current_(first) {}

  const std::string& current() const { return addresses_[current_]; }
  size_t size() const { return addresses_.size(); }

  // `failed` did: the next one's turn, unless another call has gone on from it already.
  void Leave(absl::string_view failed);
  // This one leads; it may be new.
  void GoTo(absl::string_view leader);

 private:
  std::vector<std::string> addresses_;
  size_t current_;
};

// The tries of one call.
class CallTries {
 public:
  // `repeatable`: being done twice does no harm.
  explicit CallTries(bool repeatable) : repeatable_(repeatable) {}

  // After a try at `address` that ended so. `sent`: the request may have arrived. Unset: that is how the call
  // ends. Else how long to wait before the next try, at the ring's current().
  //
  // A controller that does not lead has done nothing: the leader is next, or if none is known, all in turn
  // until there is one. One that leads but does not know its nodes yet is asked again. One that cannot be
  // reached, or is stopping: the others, once each.
  absl::optional<absl::Duration> After(absl::string_view address, const absl::Status& status, bool sent,
                                       ControllerRing& ring, absl::BitGenRef random);

 private:
  const bool repeatable_;
  uint32_t redirects_ = 0;
  size_t silent_ = 0;
};

// The tries of one watch, which is taken up again until its job has ended.
class WatchTries {
 public:
  // A message came.
  void Heard();

  // As CallTries::After, `sent` or not. A watch that was on, or found no leader, is taken up again for a
  // minute and more, after longer and longer waits.
  absl::optional<absl::Duration> After(absl::string_view address, const absl::Status& status,
                                       ControllerRing& ring, absl::BitGenRef random);

 private:
  bool patient_ = false;
  size_t tries_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_CONTROLLER_RING_H_
