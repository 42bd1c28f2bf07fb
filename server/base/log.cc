#include "server/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/base/log_limit.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

using Json = nlohmann::ordered_json;

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

spdlog::level::level_enum SpdLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

bool IsUtf8(absl::string_view text) {
  try {
    const std::string dumped = Json(std::string(text)).dump();
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

// Never destroyed: threads may log while the process ends.
struct Sink {
  std::string component;
  std::shared_ptr<spdlog::logger> logger;
};

Sink& TheSink() {
  static Sink* const sink = [] {
    auto* made = new Sink{
        "", std::make_shared<spdlog::logger>("cowherd", std::make_shared<spdlog::sinks::stderr_sink_mt>())};
    made->logger->set_pattern("%v");
    made->logger->set_level(spdlog::level::info);
    made->logger->flush_on(spdlog::level::debug);
    return made;
  }();
  return *sink;
}

struct Limit {
  std::mutex mutex;
  LogLimit log_limit;
};

Limit& TheLimit() {
  static Limit* const limit = new Limit;
  return *limit;
}

void TellLeftOut(absl::string_view message, uint64_t lines) {
  Log(LogLevel::kWarning, "lines were left out of the log", {{"like", message}, {"lines", lines}});
}

void Put(Json& line, absl::string_view key, absl::string_view text) {
  if (IsUtf8(text)) {
    line[std::string(key)] = std::string(text);
  } else {
    line[absl::StrCat(key, "_base64")] = absl::Base64Escape(text);
  }
}

}  // namespace

std::string LogText(const absl::Status& status) {
  if (status.ok()) return "OK";
  return absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message());
}

std::string LogLine(absl::string_view timestamp, absl::string_view component, LogLevel level,
                    absl::string_view message, std::initializer_list<LogField> fields) {
  Json line;
  line["ts"] = std::string(timestamp);
  line["level"] = std::string(LevelName(level));
  if (!component.empty()) line["component"] = std::string(component);
  Put(line, "msg", message);
  for (const LogField& field : fields) {
    switch (field.kind) {
      case LogField::Kind::kText:
        Put(line, field.key, field.text);
        break;
      case LogField::Kind::kNumber:
        line[std::string(field.key)] = field.number;
        break;
      case LogField::Kind::kBool:
        line[std::string(field.key)] = field.number != 0;
        break;
    }
  }
  // All but ASCII is escaped: among the rest are characters that move a terminal's cursor or turn lines
  // around.
  return line.dump(-1, ' ', /*ensure_ascii=*/true);
}

void StartLog(absl::string_view component, LogLevel level) {
  TheSink().component = std::string(component);
  TheSink().logger->set_level(SpdLevel(level));
}

absl::Status ParseLogLevel(absl::string_view text, LogLevel* level) {
  for (LogLevel candidate : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (LevelName(candidate) == text) {
      *level = candidate;
      return absl::OkStatus();
    }
  }
  return FieldError("--log_level", absl::StrCat("\"", text, "\" is none of debug, info, warning, error"));
}

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  Sink& sink = TheSink();
  if (!sink.logger->should_log(SpdLevel(level))) return;
  const std::string now = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  sink.logger->log(SpdLevel(level), LogLine(now, sink.component, level, message, fields));
}

void LogFew(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  Limit& limit = TheLimit();
  uint64_t left_out = 0;
  {
    std::lock_guard<std::mutex> lock(limit.mutex);
    const absl::optional<uint64_t> taken = limit.log_limit.Take(message, absl::Now());
    if (!taken) return;
    left_out = *taken;
  }
  if (left_out > 0) TellLeftOut(message, left_out);
  Log(level, message, fields);
}

void LogLeftOut() {
  Limit& limit = TheLimit();
  std::map<std::string, uint64_t> left_out;
  {
    std::lock_guard<std::mutex> lock(limit.mutex);
    left_out = limit.log_limit.TakeLeftOut();
  }
  for (const auto& [message, lines] : left_out) TellLeftOut(message, lines);
}

}  // namespace cowherd
