#ifndef COWHERD_SERVER_ETCD_FENCED_WRITER_H_
#define COWHERD_SERVER_ETCD_FENCED_WRITER_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "server/base/work_pool.h"
#include "server/etcd/client.h"
#include "server/etcd/election.h"

namespace cowherd {

// Writes that take effect only while a leadership lasts, and once.
//
// Every transaction compares the create revision of the leader's key. And it replaces one of a few slot keys,
// comparing the revision that the slot had, with an id of its own: of several copies of one transaction,
// asked again because no answer came, the first makes the others fail, however late they come; the slot's
// value then tells which one it was.
class FencedWriter {
 public:
  using Batch = std::vector<etcdserverpb::RequestOp>;

  // etcd takes 128 operations; one is the slot.
  static constexpr size_t kMaxOps = 127;
  // etcd takes 1.5 MiB.
  static constexpr size_t kMaxBytes = size_t{1} << 20;

  // `prefix`: of the slot keys. Both must outlive the writer.
  FencedWriter(EtcdClient& client, const Leadership& leadership, const std::string& prefix);

  // Each batch in one transaction, in any order, several at a time. A batch has at most kMaxOps operations
  // and about kMaxBytes of keys and values. UNAVAILABLE "NOT_LEADER": the leadership is over; batches may
  // have been written before. Other errors: some batches were not written; but see InDoubt.
  absl::Status Write(const std::vector<Batch>& batches);

  // Of a write that failed, a batch may have been written all the same, or may be yet: it was refused after
  // it had not been answered. Until Settle succeeds.
  bool InDoubt() const;
  // Then what was in doubt has been written, or never will be. Errors: as Write.
  absl::Status Settle();

 private:
  struct Slot {
    std::string key;
    // 0: not there.
    int64_t revision = 0;
    // Transactions that were given up after a copy of them had not been answered: one may come yet.
    std::set<std::string> given_up;
  };

  std::string NewId();
  absl::Status LoadSlots();
  absl::Status WriteOne(Slot& slot, const Batch& batch, const std::string& id);

  EtcdClient& client_;
  const Leadership& leadership_;
  std::vector<Slot> slots_;
  bool loaded_ = false;
  absl::BitGen random_;
  WorkPool pool_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_ETCD_FENCED_WRITER_H_
