#include "client/size.h"

#include <gtest/gtest.h>

#include "server/base/status.h"

namespace cowherd {
namespace {

TEST(ParseSize, TakesBytesAndBinarySuffixes) {
  const struct {
    absl::string_view text;
    uint64_t bytes;
  } kCases[] = {{"0", 0},
                {"1", 1},
                {"4096", 4096},
                {"4k", 4096},
                {"4K", 4096},
                {"64m", 64u << 20},
                {"1G", 1u << 30},
                {"2t", uint64_t{2} << 40},
                {"007", 7},
                {"9223372036854775807", 9223372036854775807u},
                {"8388607t", uint64_t{8388607} << 40}};
  for (const auto& c : kCases) {
    const absl::StatusOr<uint64_t> bytes = ParseSize("--length", c.text);
    ASSERT_TRUE(bytes.ok()) << c.text << ": " << bytes.status();
    EXPECT_EQ(*bytes, c.bytes) << c.text;
  }
}

TEST(ParseSize, RefusesAllElseAndNamesTheArgument) {
  for (const absl::string_view text :
       {"", "k", "-1", "+1", "1.5m", " 1", "1 ", "4kb", "4KiB", "0x10", "1e3", "four", "9223372036854775808",
        "18446744073709551616", "99999999999999999999999", "8388608t", "9007199254740992k"}) {
    const absl::StatusOr<uint64_t> bytes = ParseSize("SRC_OFFSET", text);
    ASSERT_FALSE(bytes.ok()) << text;
    EXPECT_EQ(FieldOf(bytes.status()), "SRC_OFFSET");
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ParseTimeout, TakesSecondsAndDurations) {
  EXPECT_EQ(*ParseTimeout("t", "90"), absl::Seconds(90));
  EXPECT_EQ(*ParseTimeout("t", "1.5"), absl::Milliseconds(1500));
  EXPECT_EQ(*ParseTimeout("t", "500ms"), absl::Milliseconds(500));
  EXPECT_EQ(*ParseTimeout("t", "1h30m"), absl::Minutes(90));
}

TEST(ParseTimeout, RefusesAllElseAndNamesTheArgument) {
  for (const absl::string_view text : {"", "0", "-1", "inf", "nan", "5 minutes", "soon", "-3s"}) {
    const absl::StatusOr<absl::Duration> timeout = ParseTimeout("--timeout", text);
    ASSERT_FALSE(timeout.ok()) << text;
    EXPECT_EQ(FieldOf(timeout.status()), "--timeout");
  }
}

}  // namespace
}  // namespace cowherd
