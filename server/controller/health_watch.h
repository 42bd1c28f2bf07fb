#ifndef COWHERD_SERVER_CONTROLLER_HEALTH_WATCH_H_
#define COWHERD_SERVER_CONTROLLER_HEALTH_WATCH_H_

#include <functional>
#include <map>
#include <string>

#include "absl/types/optional.h"
#include "server/base/repeating_thread.h"
#include "server/serving/serving.h"

namespace cowherd {

// Tells the health service how the names that it is asked for are, again and again, on a thread of its own.
class HealthWatch {
 public:
  // Whether each name is SERVING. Must not block.
  using Look = std::function<std::map<std::string, bool>()>;

  // The first look is over when this returns. `serving` must outlive it.
  HealthWatch(Serving& serving, Look look);

 private:
  void Tell();

  Serving& serving_;
  const Look look_;
  // What was told last.
  std::map<std::string, bool> told_;
  absl::optional<RepeatingThread> thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_CONTROLLER_HEALTH_WATCH_H_
