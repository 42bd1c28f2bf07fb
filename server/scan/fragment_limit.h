#ifndef COWHERD_SERVER_SCAN_FRAGMENT_LIMIT_H_
#define COWHERD_SERVER_SCAN_FRAGMENT_LIMIT_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "server/scan/extent_plan.h"

namespace cowherd {

// Bounds the extents that plans leave a file with. Pure but for `extents_of`. One thread.
class FragmentLimit {
 public:
  // How many extents a file has; UINT64_MAX if it cannot be told. Asked once for a file that a plan splits,
  // and again when kMaxFiles others were.
  using ExtentsOf = absl::FunctionRef<uint64_t(const FileKey&)>;
  static constexpr size_t kMaxFiles = 1 << 17;

  explicit FragmentLimit(uint64_t max_extents) : max_extents_(max_extents) {}

  // True, and booked: no file comes to have more, as far as plans add to it; one that has more already is
  // left alone. What a plan adds is counted by the places it shares with, some of which may turn out to be
  // one extent; what is moved counts as one, though it may be compressed into several.
  bool Take(const ExtentPlan& plan, ExtentsOf extents_of);

 private:
  const uint64_t max_extents_;
  absl::flat_hash_map<FileKey, uint64_t> extents_;  // of files that plans split, with all that was booked
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_FRAGMENT_LIMIT_H_
