#ifndef COWHERD_SERVER_BASE_OPEN_FILES_H_
#define COWHERD_SERVER_BASE_OPEN_FILES_H_

#include <sys/resource.h>

namespace cowherd {

// Lets this process open as many files as it may: the usual soft limit of 1024 (setrlimit(2)) is for programs
// that use select(2).
inline void RaiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_OPEN_FILES_H_
