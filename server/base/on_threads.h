#ifndef COWHERD_SERVER_BASE_ON_THREADS_H_
#define COWHERD_SERVER_BASE_ON_THREADS_H_

#include <cstddef>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace cowherd {

// Calls `work` with each number below `count` (1 or more), all at once: with 0 on this thread, with others on
// threads of their own. Returns when all calls have.
inline void OnThreads(size_t count, absl::FunctionRef<void(size_t)> work) {
  std::vector<std::thread> others;
  for (size_t i = 1; i < count; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& thread : others) thread.join();
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_ON_THREADS_H_
