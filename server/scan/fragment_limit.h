#ifndef COWHERD_SERVER_SCAN_FRAGMENT_LIMIT_H_
#define COWHERD_SERVER_SCAN_FRAGMENT_LIMIT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

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

  // `may_compress`: what is moved.
  FragmentLimit(uint64_t max_extents, bool may_compress)
      : max_extents_(max_extents), may_compress_(may_compress) {}

  // True, and booked: no file comes to have more, as far as plans add to it; one that has more already is
  // left alone. What a plan adds is counted by the places it shares with and, where what is moved may be
  // compressed, by the extents it may become then; some may turn out to be one extent.
  bool Take(const ExtentPlan& plan, ExtentsOf extents_of);

 private:
  // That the part of a file becomes.
  uint64_t PiecesOf(const ExtentPlan& plan, const std::vector<uint64_t>& cuts,
                    const Reference& reference) const;

  const uint64_t max_extents_;
  const bool may_compress_;
  absl::flat_hash_map<FileKey, uint64_t> extents_;  // of files that plans split, with all that was booked
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_FRAGMENT_LIMIT_H_
