#include "server/etcd/election.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/boot_clock.h"
#include "server/base/failpoint.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

// Of one keepalive. A member that has no leader looks for one only once in its election timeout, 1 s by
// default: long after there is one, which may be the last moment. Asked anew it answers at once.
constexpr absl::Duration kKeepaliveTry = absl::Milliseconds(500);
constexpr absl::Duration kKeepaliveAgain = absl::Milliseconds(100);
constexpr absl::Duration kCampaignAgain = absl::Milliseconds(500);
constexpr absl::Duration kRefusedAgain = absl::Seconds(5);

absl::Status Stopped() { return absl::CancelledError("the campaign was stopped"); }

}  // namespace

Leadership::Leadership(EtcdClient& client, std::string key, int64_t revision, int64_t lease, LeaseClock clock)
    : client_(client),
      key_(std::move(key)),
      revision_(revision),
      lease_(lease),
      clock_(clock),
      thread_([this] { KeepAlive(); }) {}

Leadership::~Leadership() {
  Resign();
  thread_.join();
}

absl::Duration Leadership::Left() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (over_) return absl::ZeroDuration();
  return std::max(clock_.end() - SinceBoot(), absl::ZeroDuration());
}

void Leadership::WaitUntilOver() const {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return over_ || interrupted_; });
}

void Leadership::Interrupt() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    interrupted_ = true;
  }
  changed_.notify_all();
}

void Leadership::Resign() {
  bool held = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    held = !std::exchange(over_, true);
    if (std::exchange(resigned_, true)) return;
  }
  changed_.notify_all();
  // Else etcd is out of reach, most likely, and the lease ends by itself about now.
  if (!held) return;
  // The key goes with the lease. If this fails, it goes when the lease has run out.
  if (absl::Status status = client_.RevokeLease(lease_); !status.ok() && !absl::IsNotFound(status)) {
    Log(LogLevel::kWarning, "leadership not given up early", {{"error", status}});
  }
}

void Leadership::KeepAlive() {
  std::unique_lock<std::mutex> lock(mutex_);
  absl::Duration next = clock_.next_keepalive();
  while (!over_) {
    absl::Duration now = SinceBoot();
    if (!clock_.Holds(now)) {
      Log(LogLevel::kError, "leadership lost: the lease could not be renewed in time");
      break;
    }
    if (now < next) {
      const absl::Duration wait = std::min(next, clock_.end()) - now;
      changed_.wait_for(lock, absl::ToChronoNanoseconds(wait), [this] { return over_; });
      continue;
    }
    const absl::Duration left = clock_.end() - now;
    lock.unlock();
    const absl::StatusOr<absl::Duration> ttl = client_.KeepAlive(lease_, std::min(left, kKeepaliveTry));
    lock.lock();
    if (!ttl.ok()) {
      Log(LogLevel::kWarning, "lease not renewed", {{"error", ttl.status()}});
      next = SinceBoot() + kKeepaliveAgain;
      continue;
    }
    if (*ttl <= absl::ZeroDuration()) {
      if (!over_) Log(LogLevel::kError, "leadership lost: the lease is gone");
      break;
    }
    clock_.Renewed(/*sent=*/now, *ttl);
    next = clock_.next_keepalive();
  }
  over_ = true;
  changed_.notify_all();
}

absl::StatusOr<Election::Seen> Election::Look() {
  pb::RangeRequest request;
  request.set_key(options_.key);
  absl::StatusOr<pb::RangeResponse> response = client_.Range(request);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    sees_key_ = response.ok();
  }
  if (!response.ok()) return response.status();
  Seen seen;
  seen.revision = response->header().revision();
  if (response->kvs_size() > 0) seen.key = response->kvs(0);
  SetLeader(seen.key ? seen.key->value() : "");
  return seen;
}

absl::StatusOr<std::unique_ptr<Leadership>> Election::TryOnce() {
  ASSIGN_OR_RETURN(const Seen seen, Look());
  if (seen.key) return NotLeader(seen.key->value());
  const absl::Duration sent = SinceBoot();
  ASSIGN_OR_RETURN(const pb::LeaseGrantResponse lease, client_.GrantLease(options_.lease));
  const absl::Duration ttl = absl::Seconds(lease.ttl());
  if (ttl <= LeaseClock::kMargin) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "LEASE_TOO_SHORT",
                     absl::StrCat("etcd granted a lease of ", lease.ttl(), " s; 3 s are needed"));
  }
  pb::TxnRequest claim;
  pb::Compare& absent = *claim.add_compare();
  absent.set_target(pb::Compare::CREATE);
  absent.set_key(options_.key);
  absent.set_create_revision(0);
  pb::PutRequest& put = *claim.add_success()->mutable_request_put();
  put.set_key(options_.key);
  put.set_value(options_.address);
  put.set_lease(lease.id());
  // Where the answer was lost the key tells who made it, by its lease; so this may be repeated.
  claim.add_failure()->mutable_request_range()->set_key(options_.key);
  const absl::StatusOr<pb::TxnResponse> claimed = client_.RepeatableTxn(claim);
  absl::optional<int64_t> revision;
  std::string other;
  if (claimed.ok() && claimed->succeeded()) {
    revision = claimed->header().revision();
  } else if (claimed.ok() && claimed->responses_size() == 1 &&
             claimed->responses(0).response_range().kvs_size() == 1) {
    const pb::KeyValue& key = claimed->responses(0).response_range().kvs(0);
    if (key.lease() == lease.id()) {
      revision = key.create_revision();
    } else {
      other = key.value();
    }
  }
  if (!revision) {
    // If this fails too the lease runs out by itself.
    client_.RevokeLease(lease.id()).IgnoreError();
    if (!claimed.ok()) return claimed.status();
    SetLeader(other);
    return NotLeader(other);
  }
  SetLeader(options_.address);
  return std::make_unique<Leadership>(client_, options_.key, *revision, lease.id(), LeaseClock(sent, ttl));
}

absl::StatusOr<std::unique_ptr<Leadership>> Election::Campaign() {
  for (;;) {
    // Also where one attempt is all that it would take.
    if (!Pause(absl::ZeroDuration())) return Stopped();
    absl::StatusOr<std::unique_ptr<Leadership>> won = TryOnce();
    if (won.ok() || ReasonOf(won.status()) == "LEASE_TOO_SHORT") return won;
    if (ReasonOf(won.status()) != "NOT_LEADER") {
      // What a person must mend takes a while; and to check a password costs etcd some time.
      const bool refused = absl::IsPermissionDenied(won.status());
      Log(refused ? LogLevel::kError : LogLevel::kWarning, "campaign failed", {{"error", won.status()}});
      if (!Pause(refused ? kRefusedAgain : kCampaignAgain)) return Stopped();
      continue;
    }
    const absl::StatusOr<Seen> seen = Look();
    if (!seen.ok() || !seen->key) {
      if (!Pause(absl::ZeroDuration())) return Stopped();
      continue;
    }
    EtcdClient::DeleteWatch watch(client_, options_.key, seen->revision + 1);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopped_) return Stopped();
      watch_ = &watch;
    }
    Crashpoint("etcd.watch.before");
    const absl::Duration began = SinceBoot();
    const bool deleted = watch.Wait(options_.lease);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      watch_ = nullptr;
    }
    // A stream that breaks at once must not make a busy loop.
    const bool broke = !deleted && SinceBoot() - began < kCampaignAgain;
    if (!Pause(broke ? kCampaignAgain : absl::ZeroDuration())) return Stopped();
  }
}

bool Election::Pause(absl::Duration time) {
  std::unique_lock<std::mutex> lock(mutex_);
  stopping_.wait_for(lock, absl::ToChronoNanoseconds(time), [this] { return stopped_; });
  return !stopped_;
}

void Election::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    if (watch_ != nullptr) watch_->Cancel();
  }
  stopping_.notify_all();
}

std::string Election::leader() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return leader_;
}

bool Election::SeesKey() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return sees_key_;
}

void Election::SetLeader(const std::string& address) {
  std::lock_guard<std::mutex> lock(mutex_);
  leader_ = address;
}

}  // namespace cowherd
