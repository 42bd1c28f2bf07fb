#ifndef COWHERD_CLIENT_SCAN_PROGRESS_H_
#define COWHERD_CLIENT_SCAN_PROGRESS_H_

#include <string>

#include "absl/time/time.h"
#include "client/progress.h"
#include "cowherd/v1/types.pb.h"

namespace cowherd {

// How far scans are, by what they say of themselves. Pure: the caller tells the time.
class ScanProgress {
 public:
  // `whole`: what is to be done is known of all of them, since all have begun.
  void Update(absl::Time now, const v1::TaskTotals& totals, bool whole);

  // "finding   45%  1.2 GiB of 2.6 GiB  310 MiB/s  4 s left", or "sharing", which takes its time where
  // duplicates are found by checksums: then the figures are of the work of sharing, and of its end. While
  // not all is looked at, that work is reckoned up to the whole. Where data is read to find duplicates,
  // sharing goes on beside.
  std::string Line() const;

 private:
  bool sharing_ = false;
  Progress progress_;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_SCAN_PROGRESS_H_
