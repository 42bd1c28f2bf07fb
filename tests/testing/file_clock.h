#ifndef COWHERD_TESTS_TESTING_FILE_CLOCK_H_
#define COWHERD_TESTS_TESTING_FILE_CLOCK_H_

#include <ctime>

namespace cowherd {

// Waits until what changes from now on gets a later time than what changed before: files' times go by a clock
// of coarse steps, which may be more than one step behind. Some milliseconds. A scan looks again at files
// that changed within the step that it began in.
inline void LetFileClockStep() {
  timespec begin = {};
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &begin);
  do {
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while (now.tv_sec < begin.tv_sec || (now.tv_sec == begin.tv_sec && now.tv_nsec <= begin.tv_nsec));
}

}  // namespace cowherd

#endif  // COWHERD_TESTS_TESTING_FILE_CLOCK_H_
