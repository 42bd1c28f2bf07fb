#ifndef COWHERD_SERVER_ETCD_MEMBER_PICKER_H_
#define COWHERD_SERVER_ETCD_MEMBER_PICKER_H_

#include <cstddef>
#include <vector>

#include "absl/time/time.h"

namespace cowherd {

// Which member of a cluster is asked next: each in turn, but one that failed is left in peace for a while.
// Pure; times are of any clock that does not go back. One thread at a time.
class MemberPicker {
 public:
  // members >= 1.
  MemberPicker(size_t members, absl::Duration rest)
      : rest_(rest), rests_until_(members, -absl::InfiniteDuration()) {}

  // Where all rest, the one that has rested longest.
  size_t Next(absl::Duration now);
  void Failed(size_t member, absl::Duration now) { rests_until_[member] = now + rest_; }
  void Answered(size_t member) { rests_until_[member] = -absl::InfiniteDuration(); }
  // None is known to answer.
  bool AllRest(absl::Duration now) const;

 private:
  const absl::Duration rest_;
  std::vector<absl::Duration> rests_until_;
  size_t last_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_ETCD_MEMBER_PICKER_H_
