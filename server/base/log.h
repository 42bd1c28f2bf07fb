#ifndef COWHERD_SERVER_BASE_LOG_H_
#define COWHERD_SERVER_BASE_LOG_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

// One JSON object a line on standard error: "ts", "level", "msg", then the fields given. Nothing a caller
// passes can break a line or a terminal: values are ASCII, the rest is escaped, and bytes that are not UTF-8
// come as "<key>_base64". Any thread.
namespace cowherd {

// "OK", or code and message, without payloads.
std::string LogText(const absl::Status& status);

struct LogField {
  enum class Kind { kText, kNumber, kBool };

  LogField(absl::string_view key, absl::string_view value) : key(key), text(value) {}
  LogField(absl::string_view key, const char* value) : key(key), text(value) {}
  LogField(absl::string_view key, const std::string& value) : key(key), text(value) {}
  LogField(absl::string_view key, int64_t value) : key(key), number(value), kind(Kind::kNumber) {}
  LogField(absl::string_view key, uint64_t value) : LogField(key, static_cast<int64_t>(value)) {}
  LogField(absl::string_view key, int value) : LogField(key, static_cast<int64_t>(value)) {}
  LogField(absl::string_view key, unsigned value) : LogField(key, static_cast<int64_t>(value)) {}
  LogField(absl::string_view key, bool value) : key(key), number(value ? 1 : 0), kind(Kind::kBool) {}
  LogField(absl::string_view key, const absl::Status& status) : key(key), text(LogText(status)) {}

  absl::string_view key;
  std::string text;
  int64_t number = 0;
  Kind kind = Kind::kText;
};

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. Call once at start; before that, kInfo and no component.
void StartLog(absl::string_view component, LogLevel level);

// "debug", "info", "warning", "error".
absl::Status ParseLogLevel(absl::string_view text, LogLevel* level);

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

// For what may come for each file or range of a scan: of one message, 20 lines a minute are written, and the
// others are counted. `message` is a literal.
void LogFew(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

// Tells how many lines LogFew has left out since the last time, by message. At the end of a scan.
void LogLeftOut();

// The line that Log writes, without the newline. For tests.
std::string LogLine(absl::string_view timestamp, absl::string_view component, LogLevel level,
                    absl::string_view message, std::initializer_list<LogField> fields);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_LOG_H_
