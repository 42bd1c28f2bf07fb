#include "server/sched/filesystem_pauses.h"

#include "server/sched/backoff.h"

namespace cowherd {
namespace {

// Its failures before are forgotten when it was left in peace for so long.
constexpr absl::Duration kForgetAfter = absl::Hours(1);

}  // namespace

absl::Time FilesystemPauses::Failed(const Key& filesystem, const absl::Status& why, absl::Time now,
                                    absl::BitGenRef random) {
  for (auto it = pauses_.begin(); it != pauses_.end();) {
    it = it->second.until + kForgetAfter < now ? pauses_.erase(it) : std::next(it);
  }
  Pause& pause = pauses_[filesystem];
  ++pause.failures;
  pause.why = why;
  pause.until = now + Backoff(pause.failures, random);
  return pause.until;
}

bool FilesystemPauses::Worked(const Key& filesystem) { return pauses_.erase(filesystem) > 0; }

const FilesystemPauses::Pause* FilesystemPauses::Find(const Key& filesystem, absl::Time now) const {
  const auto found = pauses_.find(filesystem);
  return found == pauses_.end() || found->second.until <= now ? nullptr : &found->second;
}

size_t FilesystemPauses::count(absl::Time now) const {
  size_t count = 0;
  for (const auto& [filesystem, pause] : pauses_) count += pause.until > now ? 1 : 0;
  return count;
}

}  // namespace cowherd
