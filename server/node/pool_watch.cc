#include "server/node/pool_watch.h"

#include <utility>

namespace cowherd {

PoolWatch::PoolWatch(WorkPool& pool, std::chrono::milliseconds interval, std::chrono::milliseconds limit,
                     std::function<void(bool)> told)
    : pool_(pool), limit_(limit), told_(std::move(told)), thread_(interval, [this] { Look(); }) {}

void PoolWatch::Look() {
  if (taken_ && *done_) {
    if (!std::exchange(well_, true)) told_(true);
    given_ = Clock::now();
    done_ = std::make_shared<std::atomic<bool>>(false);
    taken_ = false;
  } else if (well_ && Clock::now() - given_ >= limit_) {
    well_ = false;
    told_(false);
  }
  // A queue that is full is waited for as well.
  if (!taken_) taken_ = pool_.Submit([done = done_] { *done = true; }).ok();
}

}  // namespace cowherd
