#ifndef COWHERD_SERVER_CONTROLLER_STORE_PULSE_H_
#define COWHERD_SERVER_CONTROLLER_STORE_PULSE_H_

#include <cstdint>
#include <map>
#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace cowherd {

// Whether a store does what it is asked, by how its operations go. Times are of any clock that does not go
// back. Any thread.
class StorePulse {
 public:
  // Operations take milliseconds.
  static constexpr absl::Duration kPatience = absl::Seconds(5);
  // What is not tried any more says nothing: the next call may do better.
  static constexpr absl::Duration kMemory = absl::Seconds(10);

  // An operation begins; the number is for End.
  uint64_t Begin(absl::Duration now);
  void End(uint64_t operation);
  // How a write ended.
  void Wrote(const absl::Status& status, absl::Duration now);

  // An operation has been under way for kPatience: those behind it wait.
  bool Hangs(absl::Duration now) const;
  // No write has worked for kPatience, and one was tried within kMemory. Errors that answer a question, such
  // as NOT_FOUND, are no failures.
  bool Fails(absl::Duration now) const;

 private:
  mutable std::mutex mutex_;
  uint64_t last_operation_ = 0;
  // When they began.
  std::map<uint64_t, absl::Duration> under_way_;
  // The first failure since a write worked.
  absl::optional<absl::Duration> failing_since_;
  absl::Duration last_failure_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_STORE_PULSE_H_
