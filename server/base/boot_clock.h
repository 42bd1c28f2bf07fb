#ifndef COWHERD_SERVER_BASE_BOOT_CLOCK_H_
#define COWHERD_SERVER_BASE_BOOT_CLOCK_H_

#include <ctime>

#include "absl/time/time.h"

namespace cowherd {

// Time since the machine booted, time suspended included. Nobody can set it (CLOCK_BOOTTIME).
inline absl::Duration SinceBoot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return absl::DurationFromTimespec(now);
}

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_BOOT_CLOCK_H_
