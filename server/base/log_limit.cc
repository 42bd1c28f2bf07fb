#include "server/base/log_limit.h"

#include <utility>

namespace cowherd {

absl::optional<uint64_t> LogLimit::Take(absl::string_view message, absl::Time now) {
  Lines& lines = lines_[std::string(message)];
  if (now < lines.minute || now - lines.minute >= absl::Minutes(1)) {
    lines.minute = now;
    lines.written = 0;
  }
  if (lines.written >= kLinesAMinute) {
    ++lines.left_out;
    return absl::nullopt;
  }
  ++lines.written;
  return std::exchange(lines.left_out, 0);
}

std::map<std::string, uint64_t> LogLimit::TakeLeftOut() {
  std::map<std::string, uint64_t> left_out;
  for (auto& [message, lines] : lines_) {
    if (lines.left_out > 0) left_out[message] = std::exchange(lines.left_out, 0);
  }
  return left_out;
}

}  // namespace cowherd
