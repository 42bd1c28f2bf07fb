#ifndef COWHERD_CLIENT_SIZE_H_
#define COWHERD_CLIENT_SIZE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// What people type: sizes, offsets and times. Errors quote the text as it is: escape them for a terminal.
namespace cowherd {

// Bytes: digits, then nothing or one of k, m, g, t in either case: times 1024, 1024^2, and so on. At most
// 2^63-1, the largest offset of a file. INVALID_ARGUMENT, which names `argument`, for all else: signs, blanks
// and fractions too.
absl::StatusOr<uint64_t> ParseSize(absl::string_view argument, absl::string_view text);

// Above 0: "90" or "1.5" (seconds), "500ms", "30s", "5m", "1h30m". INVALID_ARGUMENT, which names `argument`,
// for all else.
absl::StatusOr<absl::Duration> ParseTimeout(absl::string_view argument, absl::string_view text);

}  // namespace cowherd

#endif  // COWHERD_CLIENT_SIZE_H_
