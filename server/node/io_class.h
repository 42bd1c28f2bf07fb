#ifndef COWHERD_SERVER_NODE_IO_CLASS_H_
#define COWHERD_SERVER_NODE_IO_CLASS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cowherd {

// How the kernel's I/O schedulers rank what a thread reads. bfq and, since Linux 5.14, mq-deadline heed it;
// "none" and kyber do not. An idle thread is served when nobody else asks, but never starved: at least once
// in 200 ms (bfq) or 10 s (mq-deadline). Commits and writeback are the kernel's own threads' and rank as
// ever.
enum class IoClass {
  kNone,  // as the thread was
  kBestEffort,
  kIdle,
};

// "none", "best-effort" or "idle".
absl::StatusOr<IoClass> ParseIoClass(absl::string_view name);

// The calling thread is of that class, and so are threads that it starts, while this lives.
class ScopedIoClass {
 public:
  explicit ScopedIoClass(IoClass io_class);
  ~ScopedIoClass();
  ScopedIoClass(const ScopedIoClass&) = delete;
  ScopedIoClass& operator=(const ScopedIoClass&) = delete;

 private:
  int before_ = -1;  // below 0: nothing was changed
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_NODE_IO_CLASS_H_
