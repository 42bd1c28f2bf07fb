#ifndef COWHERD_SERVER_ETCD_LEASE_CLOCK_H_
#define COWHERD_SERVER_ETCD_LEASE_CLOCK_H_

#include "absl/time/time.h"

namespace cowherd {

// How long a leader may believe in its lease. etcd counts from when it renewed the lease, which is after the
// request was sent: so the leader counts from there, and ends a second early for clocks that run apart. Pure;
// times are since boot, suspended or not (SinceBoot).
class LeaseClock {
 public:
  static constexpr absl::Duration kMargin = absl::Seconds(1);

  // In the time to live, while all goes well: when etcd's own leader dies just before the next one, this
  // leader has most of its lease left to wait for etcd's election, which takes one to two seconds with etcd's
  // defaults.
  static constexpr int kKeepalives = 10;

  // The lease was granted for `ttl` by a request sent at `sent`. ttl > kMargin.
  LeaseClock(absl::Duration sent, absl::Duration ttl) { Renewed(sent, ttl); }

  // A keepalive sent at `sent` was answered with this time to live. Answers may come late or out of order:
  // the end never moves back.
  void Renewed(absl::Duration sent, absl::Duration ttl) {
    if (sent + ttl - kMargin <= end_) return;
    end_ = sent + ttl - kMargin;
    next_keepalive_ = sent + ttl / kKeepalives;
  }

  bool Holds(absl::Duration now) const { return now < end_; }
  // Leadership ends here unless renewed.
  absl::Duration end() const { return end_; }
  // When to send the next keepalive, as long as none has failed.
  absl::Duration next_keepalive() const { return next_keepalive_; }

 private:
  absl::Duration end_ = -absl::InfiniteDuration();
  absl::Duration next_keepalive_ = -absl::InfiniteDuration();
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_ETCD_LEASE_CLOCK_H_
