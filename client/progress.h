#ifndef COWHERD_CLIENT_PROGRESS_H_
#define COWHERD_CLIENT_PROGRESS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"

// How fast, and how long still.
namespace cowherd {

// Rate and time left from counters seen over the last 10 s. Pure: the caller tells the time.
class Progress {
 public:
  // At `now`, `done` of `total` bytes are done. 0: the total is not known. A `done` or `now` that goes back
  // starts over: another run.
  void Update(absl::Time now, uint64_t done, uint64_t total);

  // Bytes a second. Unset until 1 s has been seen.
  absl::optional<double> Rate() const;
  // Unset while it would be a guess: less than 3 s seen, nothing moves, or the total has grown in what was
  // seen.
  absl::optional<absl::Duration> TimeLeft() const;

  // " 45%  1.2 GiB of 2.6 GiB  310 MiB/s  4 s left"; what is not known is left out, and the percentage while
  // the total grows.
  std::string Line() const;

 private:
  struct Sample {
    absl::Time at;
    uint64_t done;
    uint64_t total;
  };
  bool TotalIsSteady() const;

  std::deque<Sample> samples_;
};

// One line on a terminal that is written over again and again. Nothing at all where `shown` is false.
class ProgressLine {
 public:
  // Lines are cut to `columns`. `out` must outlive this.
  ProgressLine(std::ostream& out, bool shown, size_t columns) : out_(out), shown_(shown), columns_(columns) {}
  // Clears the line.
  ~ProgressLine() { Clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // `text` is safe to print.
  void Show(absl::string_view text);
  // Before other output.
  void Clear();

 private:
  std::ostream& out_;
  const bool shown_;
  const size_t columns_;
  bool dirty_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_PROGRESS_H_
