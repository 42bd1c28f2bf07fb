#ifndef COWHERD_SERVER_SCHED_TASK_KEY_H_
#define COWHERD_SERVER_SCHED_TASK_KEY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>

namespace cowherd {

// Names a task among all of this controller's.
struct TaskKey {
  // Its job's sequence.
  uint64_t job = 0;
  // Within its job.
  uint32_t number = 0;

  friend bool operator<(const TaskKey& a, const TaskKey& b) {
    return std::tie(a.job, a.number) < std::tie(b.job, b.number);
  }
  friend bool operator==(const TaskKey& a, const TaskKey& b) {
    return a.job == b.job && a.number == b.number;
  }
};

struct TaskKeyHash {
  size_t operator()(const TaskKey& key) const {
    return std::hash<uint64_t>()(key.job * 0x9e3779b97f4a7c15 + key.number);
  }
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_TASK_KEY_H_
