#ifndef COWHERD_CLIENT_FORMAT_H_
#define COWHERD_CLIENT_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Text for people. Pure.
namespace cowherd {

// Any bytes as text that cannot move a cursor or reorder a line: control characters, what is not UTF-8, and
// Unicode's line breaks, direction marks and invisible characters come as \n, \t or \xNN; a backslash
// comes as two. Printable UTF-8 stays.
std::string EscapeName(absl::string_view bytes);

// "0 B", "4 KiB", "1.5 MiB", "-2 GiB": one decimal at most, 1024-based.
std::string FormatSize(uint64_t bytes);
std::string FormatSignedSize(int64_t bytes);

// "3 s", "4 m 05 s", "2 h 07 m", "3 d 04 h". Rounded down; below 0 as 0.
std::string FormatSpan(absl::Duration span);

// "2024-01-31 12:00:00Z"; "-" for the zero time of an unset field.
std::string FormatTime(int64_t seconds_since_epoch);

// Rows in aligned columns, two blanks between them, no blanks at a line's end. A code point counts as one
// column wide.
class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;
    size_t least_width = 0;
  };
  explicit Table(std::vector<Column> columns);

  // `cells` are already safe to print; as many as columns.
  void Add(std::vector<std::string> cells);
  // Prints what was added since, the titles first on the first call. Rows of one call are aligned; widths
  // never shrink from call to call.
  void Flush(std::ostream& out);

 private:
  void Print(std::ostream& out, const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
  bool titles_printed_ = false;
};

}  // namespace cowherd

#endif  // COWHERD_CLIENT_FORMAT_H_
