#include "server/etcd/member_picker.h"

#include <algorithm>

namespace cowherd {

size_t MemberPicker::Next(absl::Duration now) {
  const size_t members = rests_until_.size();
  for (size_t i = 1; i <= members; ++i) {
    const size_t member = (last_ + i) % members;
    if (rests_until_[member] <= now) return last_ = member;
  }
  const auto first = std::min_element(rests_until_.begin(), rests_until_.end());
  return last_ = static_cast<size_t>(first - rests_until_.begin());
}

bool MemberPicker::AllRest(absl::Duration now) const {
  return std::all_of(rests_until_.begin(), rests_until_.end(),
                     [now](absl::Duration until) { return until > now; });
}

}  // namespace cowherd
