#ifndef COWHERD_CLIENT_DEDUPE_SPLIT_H_
#define COWHERD_CLIENT_DEDUPE_SPLIT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "cowherd/v1/node.pb.h"
#include "cowherd/v1/types.pb.h"

namespace cowherd {

// Cuts one long request into parts, so that answers come while it runs, and puts the answers together as if
// it had been one call. Pure; not thread-safe. A destination that ended a part otherwise than DEDUPED is left
// out of the parts after it.
class DedupeSplit {
 public:
  // Lengths times destinations of one part, where comparisons are not larger than that.
  static constexpr uint64_t kPartBytes = uint64_t{256} << 20;

  // Parts are whole multiples of max_bytes_per_call (0: 16 MiB), so that comparisons start where they would
  // in one call. Neither source.offset nor any destination's offset plus length may pass 2^64.
  explicit DedupeSplit(v1::DedupeRangesRequest whole, uint64_t part_bytes = kPartBytes);

  // The next part; false: all is answered, or no destination is left. Answer it with Add or Fail first.
  bool Next(v1::DedupeRangesRequest* part);

  // The answer to the part that Next gave. INTERNAL "BAD_ANSWER": it has another number of results; nothing
  // was counted.
  absl::Status Add(const v1::DedupeRangesResponse& answer);

  // Nothing of that part was tried, or no answer came: its destinations end here, as STOPPED if `status` is a
  // cancel, a deadline or a lost connection, else as FAILED.
  void Fail(const absl::Status& status);

  // Bytes of all destinations that are over and done with, one way or the other.
  uint64_t bytes_done() const;
  uint64_t bytes_total() const;
  // Some part was answered by Add.
  bool answered() const { return answered_; }

  // As one answer to the whole request. Destinations still open are left UNSPECIFIED.
  v1::DedupeRangesResponse Result() const;

 private:
  const v1::DedupeRangesRequest whole_;
  uint64_t part_length_;
  uint64_t done_ = 0;         // of length: where the part starts
  uint64_t part_now_ = 0;     // length of the part given
  std::vector<size_t> live_;  // destinations of the part given, by index in whole_
  std::vector<v1::DestinationResult> results_;
  bool answered_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_DEDUPE_SPLIT_H_
