#include "client/format.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace cowherd {
namespace {

// The length of the UTF-8 character at the start of `bytes`, and its code point; 0 if there is none. By RFC
// 3629: no overlong forms, no surrogates, at most U+10FFFF.
size_t Utf8Length(absl::string_view bytes, uint32_t* code_point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = byte(0);
  size_t length = 0;
  uint32_t least = 0;
  if (first < 0x80) {
    *code_point = first;
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    least = 0x80;
    *code_point = first & 0x1Fu;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    least = 0x800;
    *code_point = first & 0x0Fu;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    least = 0x10000;
    *code_point = first & 0x07u;
  } else {
    return 0;
  }
  if (bytes.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
    *code_point = (*code_point << 6) | (byte(i) & 0x3Fu);
  }
  const bool surrogate = *code_point >= 0xD800 && *code_point <= 0xDFFF;
  return *code_point < least || *code_point > 0x10FFFF || surrogate ? 0 : length;
}

// C0, DEL, C1; soft hyphen; Arabic letter mark; zero widths and direction marks; line and paragraph
// separators, embeddings and overrides; invisible operators and isolates; byte order mark; interlinear
// anchors; tags.
bool MustEscape(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0xAD || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
}

size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string EscapeName(absl::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    uint32_t code_point = 0;
    const size_t length = Utf8Length(bytes, &code_point);
    if (length == 1 && code_point == '\\') {
      text += "\\\\";
    } else if (length == 1 && code_point == '\n') {
      text += "\\n";
    } else if (length == 1 && code_point == '\t') {
      text += "\\t";
    } else if (length != 0 && !MustEscape(code_point)) {
      absl::StrAppend(&text, bytes.substr(0, length));
    } else {
      for (size_t i = 0; i < std::max<size_t>(length, 1); ++i) {
        absl::StrAppendFormat(&text, "\\x%02x", static_cast<unsigned char>(bytes[i]));
      }
    }
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return text;
}

std::string FormatSize(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // From here on one decimal would read 1024.0.
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  std::string number = absl::StrFormat("%.1f", value);
  if (number.size() > 2 && number.compare(number.size() - 2, 2, ".0") == 0) number.resize(number.size() - 2);
  return absl::StrCat(number, " ", kUnits[unit]);
}

std::string FormatSignedSize(int64_t bytes) {
  if (bytes >= 0) return FormatSize(static_cast<uint64_t>(bytes));
  return absl::StrCat("-", FormatSize(~static_cast<uint64_t>(bytes) + 1));
}

std::string FormatSpan(absl::Duration span) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(span));
  if (seconds < 60) return absl::StrCat(seconds, " s");
  if (seconds < 3600) return absl::StrFormat("%d m %02d s", seconds / 60, seconds % 60);
  if (seconds < 86400) return absl::StrFormat("%d h %02d m", seconds / 3600, seconds / 60 % 60);
  return absl::StrFormat("%d d %02d h", seconds / 86400, seconds / 3600 % 24);
}

std::string FormatTime(int64_t seconds_since_epoch) {
  if (seconds_since_epoch == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", absl::FromUnixSeconds(seconds_since_epoch),
                          absl::UTCTimeZone());
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const Column& column : columns_) {
    widths_.push_back(std::max(column.least_width, DisplayWidth(column.title)));
  }
}

void Table::Add(std::vector<std::string> cells) {
  for (size_t i = 0; i < widths_.size(); ++i) widths_[i] = std::max(widths_[i], DisplayWidth(cells[i]));
  rows_.push_back(std::move(cells));
}

void Table::Flush(std::ostream& out) {
  if (!titles_printed_) {
    std::vector<std::string> titles;
    for (const Column& column : columns_) titles.push_back(column.title);
    Print(out, titles);
    titles_printed_ = true;
  }
  for (const std::vector<std::string>& row : rows_) Print(out, row);
  rows_.clear();
}

void Table::Print(std::ostream& out, const std::vector<std::string>& cells) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string padding(widths_[i] - DisplayWidth(cells[i]), ' ');
    if (i != 0) line += "  ";
    line += columns_[i].right ? padding + cells[i] : cells[i] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out << line << '\n';
}

}  // namespace cowherd
