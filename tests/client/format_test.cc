#include "client/format.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

namespace cowherd {
namespace {

TEST(EscapeName, LeavesPrintableTextAndEscapesTheRest) {
  const struct {
    absl::string_view bytes;
    absl::string_view text;
  } kCases[] = {
      {"", ""},
      {"/srv/a b.img", "/srv/a b.img"},
      {"/srv/gr\xc3\xbc\xc3\x9f", "/srv/gr\xc3\xbc\xc3\x9f"},
      {"\xe6\x97\xa5\xf0\x9f\x90\x84", "\xe6\x97\xa5\xf0\x9f\x90\x84"},
      {"a\\b", "a\\\\b"},
      {"a\nb\tc\rd", "a\\nb\\tc\\x0dd"},
      {"\x1b[2J", "\\x1b[2J"},
      {"\x7f", "\\x7f"},
      // C1: a terminal may take it for an escape sequence.
      {"\xc2\x9b"
       "2J",
       "\\xc2\\x9b2J"},
      // Right-to-left override, zero width space, line separator, byte order mark, tag.
      {"\xe2\x80\xae", "\\xe2\\x80\\xae"},
      {"\xe2\x80\x8b", "\\xe2\\x80\\x8b"},
      {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},
      {"\xef\xbb\xbf", "\\xef\\xbb\\xbf"},
      {"\xf3\xa0\x81\x81", "\\xf3\\xa0\\x81\\x81"},
      // Not UTF-8: latin-1, cut off, overlong, surrogate, above U+10FFFF.
      {"gr\xfc\xdf", "gr\\xfc\\xdf"},
      {"\xe2\x82", "\\xe2\\x82"},
      {"\xc0\xaf", "\\xc0\\xaf"},
      {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
      {"\xc3(", "\\xc3("},
  };
  for (const auto& c : kCases) EXPECT_EQ(EscapeName(c.bytes), c.text);
  EXPECT_EQ(EscapeName(absl::string_view("\0", 1)), "\\x00");
}

TEST(FormatSize, OneDecimalAtMost) {
  const struct {
    uint64_t bytes;
    absl::string_view text;
  } kCases[] = {{0, "0 B"},
                {1023, "1023 B"},
                {1024, "1 KiB"},
                {1536, "1.5 KiB"},
                {64u << 20, "64 MiB"},
                {(1u << 20) - 1, "1 MiB"},
                {uint64_t{5} << 40, "5 TiB"},
                {std::numeric_limits<uint64_t>::max(), "16 EiB"}};
  for (const auto& c : kCases) EXPECT_EQ(FormatSize(c.bytes), c.text);
}

TEST(FormatSignedSize, KeepsTheSign) {
  EXPECT_EQ(FormatSignedSize(2048), "2 KiB");
  EXPECT_EQ(FormatSignedSize(-1536), "-1.5 KiB");
  EXPECT_EQ(FormatSignedSize(std::numeric_limits<int64_t>::min()), "-8 EiB");
}

TEST(FormatSpan, TwoUnitsAtMost) {
  EXPECT_EQ(FormatSpan(absl::Seconds(-5)), "0 s");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(59999)), "59 s");
  EXPECT_EQ(FormatSpan(absl::Seconds(245)), "4 m 05 s");
  EXPECT_EQ(FormatSpan(absl::Minutes(127)), "2 h 07 m");
  EXPECT_EQ(FormatSpan(absl::Hours(76)), "3 d 04 h");
}

TEST(FormatTime, UtcOrDash) {
  EXPECT_EQ(FormatTime(0), "-");
  EXPECT_EQ(FormatTime(1700000000), "2023-11-14 22:13:20Z");
}

TEST(Table, AlignsByCodePointsAndKeepsWidths) {
  Table table({{"NAME"}, {"SIZE", true}, {"NOTE"}});
  table.Add({"\xc3\xbc", "1 B", ""});
  table.Add({"abcdefg", "10 KiB", "x"});
  std::ostringstream out;
  table.Flush(out);
  EXPECT_EQ(out.str(),
            "NAME       SIZE  NOTE\n"
            "\xc3\xbc           1 B\n"
            "abcdefg  10 KiB  x\n");
  out.str("");
  table.Add({"a", "2 B", "y"});
  table.Flush(out);
  EXPECT_EQ(out.str(), "a           2 B  y\n");
}

}  // namespace
}  // namespace cowherd
