#include "server/base/log.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasField;
using testing::IsOk;

std::string Line(std::initializer_list<LogField> fields) {
  return LogLine("2024-01-02T03:04:05.000000Z", "node", LogLevel::kInfo, "opened", fields);
}

TEST(LogTest, FieldsComeInOrder) {
  EXPECT_EQ(Line({{"path", "/a"}, {"n", 3}, {"big", uint64_t{1} << 40}, {"dry", true}}),
            R"({"ts":"2024-01-02T03:04:05.000000Z","level":"info","component":"node","msg":"opened",)"
            R"("path":"/a","n":3,"big":1099511627776,"dry":true})");
  EXPECT_EQ(LogLine("t", "", LogLevel::kError, "m", {}), R"({"ts":"t","level":"error","msg":"m"})");
}

class HostileNameTest : public ::testing::TestWithParam<std::string> {};

TEST_P(HostileNameTest, LineIsOneObjectThatGivesTheNameBack) {
  const std::string& name = GetParam();
  const std::string line = Line({{"path", name}, {"after", "x"}});
  for (char c : line) EXPECT_FALSE(c >= 0 && c < 0x20) << line;
  const auto parsed = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(parsed.is_object()) << line;
  EXPECT_EQ(parsed["after"], "x");
  std::string back;
  if (parsed.contains("path_base64")) {
    EXPECT_FALSE(parsed.contains("path"));
    ASSERT_TRUE(absl::Base64Unescape(parsed["path_base64"].get<std::string>(), &back));
  } else {
    back = parsed["path"].get<std::string>();
  }
  EXPECT_EQ(back, name);
}

INSTANTIATE_TEST_SUITE_P(Names, HostileNameTest,
                         ::testing::Values("plain", "", "a\nb", "a\r\n{\"level\":\"error\"}", "\"", "\\",
                                           "\\\"}", "\x1b[2J\x07\x7f", std::string("nul\0byte", 8),
                                           "caf\xc3\xa9", "\xff\xfe", "cut\xc3", "\xed\xa0\x80", "\xc0\xaf",
                                           "\xe2\x80\xa8line separator", "{0} %s %n"));

TEST(LogTest, HostileMessage) {
  const auto parsed = nlohmann::json::parse(LogLine("t", "", LogLevel::kInfo, "a\n\xff", {}), nullptr, false);
  std::string back;
  ASSERT_TRUE(absl::Base64Unescape(parsed["msg_base64"].get<std::string>(), &back));
  EXPECT_EQ(back, "a\n\xff");
}

TEST(LogTest, WritesOneLineToStandardErrorAndDropsWhatIsBelowTheLevel) {
  StartLog("node", LogLevel::kWarning);
  ::testing::internal::CaptureStderr();
  Log(LogLevel::kInfo, "dropped");
  Log(LogLevel::kWarning, "kept {} %s", {{"path", "a\nb"}, {"error", absl::NotFoundError("gone")}});
  const std::string written = ::testing::internal::GetCapturedStderr();
  ASSERT_FALSE(written.empty());
  EXPECT_EQ(written.find('\n'), written.size() - 1);
  const auto parsed = nlohmann::json::parse(written, nullptr, false);
  EXPECT_EQ(parsed["msg"], "kept {} %s");
  EXPECT_EQ(parsed["level"], "warning");
  EXPECT_EQ(parsed["component"], "node");
  EXPECT_EQ(parsed["path"], "a\nb");
  EXPECT_EQ(parsed["error"], "NOT_FOUND: gone");
  StartLog("", LogLevel::kInfo);
}

TEST(LogTest, AFloodIsCounted) {
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 100; ++i) LogFew(LogLevel::kWarning, "flood", {{"i", i}});
  LogLeftOut();
  LogLeftOut();
  const std::vector<std::string> lines =
      absl::StrSplit(::testing::internal::GetCapturedStderr(), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 21U);
  const auto last = nlohmann::json::parse(lines.back(), nullptr, false);
  EXPECT_EQ(last["like"], "flood");
  EXPECT_EQ(last["lines"], 80);
}

TEST(LogTest, ParsesLevels) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_THAT(ParseLogLevel("debug", &level), IsOk());
  EXPECT_EQ(level, LogLevel::kDebug);
  EXPECT_THAT(ParseLogLevel("error", &level), IsOk());
  EXPECT_EQ(level, LogLevel::kError);
  EXPECT_THAT(ParseLogLevel("loud", &level), HasField("--log_level"));
  EXPECT_EQ(level, LogLevel::kError);
}

}  // namespace
}  // namespace cowherd
