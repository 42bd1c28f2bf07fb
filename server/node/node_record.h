#ifndef COWHERD_SERVER_NODE_NODE_RECORD_H_
#define COWHERD_SERVER_NODE_NODE_RECORD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/fd.h"

namespace cowherd {

// What a node keeps of itself over restarts: its instance id, and the highest epoch that gave it orders. A
// file of some 100 bytes with a checksum, replaced as a whole and flushed to the disk: a crash leaves the old
// or the new one. One thread at a time.
class NodeRecord {
 public:
  // Of the folder `state_dir`, which is there; made if there is none. It is this process's until the object
  // goes. ABORTED "STATE_IN_USE": another process has it. DATA_LOSS "STATE_CORRUPT": what is there is no
  // record: nothing says which epochs are over.
  static absl::StatusOr<std::unique_ptr<NodeRecord>> Open(const std::string& state_dir);

  const std::string& instance_id() const { return instance_id_; }
  uint64_t epoch() const { return epoch_; }

  // OK: it survives a crash of the machine. Otherwise the one before does.
  absl::Status KeepEpoch(uint64_t epoch);

 private:
  NodeRecord(Fd folder, Fd lock) : folder_(std::move(folder)), lock_(std::move(lock)) {}

  absl::Status Write(uint64_t epoch);

  const Fd folder_;
  const Fd lock_;
  std::string instance_id_;
  uint64_t epoch_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_NODE_RECORD_H_
