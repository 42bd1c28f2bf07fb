#ifndef COWHERD_SERVER_ETCD_ELECTION_H_
#define COWHERD_SERVER_ETCD_ELECTION_H_

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/etcd/client.h"
#include "server/etcd/lease_clock.h"

namespace cowherd {

// That this process leads: it holds the leader key, which lives as long as its lease. Renews the lease on a
// thread of its own; ends for good when the lease is lost, or may be by this machine's clock, or on Resign.
// Any thread.
class Leadership {
 public:
  // The key was made by a transaction at `revision`.
  Leadership(EtcdClient& client, std::string key, int64_t revision, int64_t lease, LeaseClock clock);
  // Resigns.
  ~Leadership();
  Leadership(const Leadership&) = delete;
  Leadership& operator=(const Leadership&) = delete;

  const std::string& key() const { return key_; }
  // Of the key's creation: no other leader's is the same.
  int64_t revision() const { return revision_; }

  bool Holds() const { return Left() > absl::ZeroDuration(); }
  // How long it holds, should the lease not be renewed any more. 0: it is over.
  absl::Duration Left() const;
  // Returns once it is over, or Interrupt was called.
  void WaitUntilOver() const;
  // WaitUntilOver returns, and from now on at once. The leadership goes on.
  void Interrupt();
  // Ends it and gives the key up at once, so that another can lead. Waits for etcd a few seconds at most.
  void Resign();

 private:
  void KeepAlive();

  EtcdClient& client_;
  const std::string key_;
  const int64_t revision_;
  const int64_t lease_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  LeaseClock clock_;
  bool over_ = false;
  bool interrupted_ = false;
  bool resigned_ = false;
  std::thread thread_;
};

// Competes for the leader key. One thread campaigns; others may ask and stop.
class Election {
 public:
  struct Options {
    // Of the leader's key.
    std::string key;
    // Where others reach this process; the key's value.
    std::string address;
    // At least 3 s.
    absl::Duration lease = absl::Seconds(5);
  };

  Election(EtcdClient& client, Options options) : client_(client), options_(std::move(options)) {}

  // Waits until this process leads; while etcd does not answer or refuses us, too. CANCELLED: Stop.
  // FAILED_PRECONDITION "LEASE_TOO_SHORT": etcd grants no lease that is long enough.
  absl::StatusOr<std::unique_ptr<Leadership>> Campaign();

  // One attempt. UNAVAILABLE "NOT_LEADER": another leads.
  absl::StatusOr<std::unique_ptr<Leadership>> TryOnce();

  // Campaign ends, now and from now on.
  void Stop();

  // Who leads, as last seen. Empty: nobody is known to.
  std::string leader() const;
  // Whether etcd answered when the leader's key was looked for last; true before the first look.
  bool SeesKey() const;

 private:
  struct Seen {
    // Of the state below.
    int64_t revision = 0;
    absl::optional<etcdserverpb::KeyValue> key;
  };

  absl::StatusOr<Seen> Look();
  void SetLeader(const std::string& address);
  // False: stopped.
  bool Pause(absl::Duration time);

  EtcdClient& client_;
  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;
  EtcdClient::DeleteWatch* watch_ = nullptr;
  std::string leader_;
  bool sees_key_ = true;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_ETCD_ELECTION_H_
