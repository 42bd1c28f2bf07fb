#ifndef COWHERD_SERVER_SCHED_FILESYSTEM_PAUSES_H_
#define COWHERD_SERVER_SCHED_FILESYSTEM_PAUSES_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/random/bit_gen_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace cowherd {

// Filesystems that failed a task in a way that would fail the next one too: full, over quota, read-only, a
// broken disk. Nothing is started on one until its pause ends. In memory: after a restart, the next failure
// pauses it again. Pure but for `random`.
class FilesystemPauses {
 public:
  struct Pause {
    absl::Time until;
    // In a row.
    uint32_t failures = 0;
    absl::Status why;
  };
  // Node and uuid.
  using Key = std::pair<std::string, std::string>;

  // Returns until when it is paused: longer with each failure in a row.
  absl::Time Failed(const Key& filesystem, const absl::Status& why, absl::Time now, absl::BitGenRef random);
  // A task of it was done. True: it had failed before.
  bool Worked(const Key& filesystem);

  // Null: not paused.
  const Pause* Find(const Key& filesystem, absl::Time now) const;
  size_t count(absl::Time now) const;
  // Those that were not cleared by a success, paused now or not.
  const std::map<Key, Pause>& all() const { return pauses_; }

 private:
  std::map<Key, Pause> pauses_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_FILESYSTEM_PAUSES_H_
