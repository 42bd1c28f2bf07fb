#ifndef COWHERD_SERVER_BASE_LOG_LIMIT_H_
#define COWHERD_SERVER_BASE_LOG_LIMIT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

namespace cowherd {

// Which lines of a log that may flood are written: of each message, so many a minute. Pure; the messages are
// few. One thread.
class LogLimit {
 public:
  static constexpr uint64_t kLinesAMinute = 20;

  // Unset: the line is left out. Else it is written, and so many like it were left out before and are told
  // now.
  absl::optional<uint64_t> Take(absl::string_view message, absl::Time now);

  // By message: how many were left out and are not told yet. They are from now on.
  std::map<std::string, uint64_t> TakeLeftOut();

 private:
  struct Lines {
    absl::Time minute = absl::InfinitePast();  // its begin
    uint64_t written = 0;                      // in that minute
    uint64_t left_out = 0;
  };
  std::map<std::string, Lines> lines_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_LOG_LIMIT_H_
