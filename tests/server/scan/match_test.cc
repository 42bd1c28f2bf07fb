#include "server/scan/match.h"

#include <gtest/gtest.h>

#include <string>

namespace cowherd {
namespace {

// A file is a word: a letter is a block's fingerprint, '.' a hole.
std::vector<Fingerprint> Prints(const std::string& word) {
  std::vector<Fingerprint> prints;
  for (char c : word) prints.push_back(c == '.' ? kNoFingerprint : static_cast<Fingerprint>(c));
  return prints;
}

struct Case {
  const char* name;
  std::string source;
  std::string destination;
  uint64_t source_block;
  uint64_t destination_block;
  Match match;
  uint64_t floor = 0;
  uint64_t window_begin = 0;
  uint64_t window_end = 100;
  bool same_file = false;
};

class MatchTest : public ::testing::TestWithParam<Case> {};

TEST_P(MatchTest, Table) {
  const Case& c = GetParam();
  const std::vector<Fingerprint> source = Prints(c.source);
  const std::vector<Fingerprint> destination =
      Prints(c.destination.substr(c.window_begin, c.window_end - c.window_begin));
  const Match match =
      GrowMatch(c.source_block, c.destination_block, {c.window_begin, destination}, c.floor, c.same_file,
                [&](uint64_t b) { return b < source.size() ? source[b] : kNoFingerprint; });
  EXPECT_EQ(match.blocks, c.match.blocks);
  if (c.match.blocks == 0) return;
  EXPECT_EQ(match.source_block, c.match.source_block);
  EXPECT_EQ(match.destination_block, c.match.destination_block);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, MatchTest,
    ::testing::Values(
        Case{"Whole", "abcdef", "abcdef", 0, 0, {0, 0, 6}},
        Case{"FromTheMiddle", "abcdef", "abcdef", 3, 3, {0, 0, 6}},
        Case{"Shifted", "abcdef", "xxabcdef", 2, 4, {0, 2, 6}},
        Case{"ShiftedBack", "xxabcdef", "abcdef", 5, 3, {2, 0, 6}},
        Case{"EndsWhereTheyDiffer", "pqabcxy", "rsabczt", 3, 3, {2, 2, 3}},
        Case{"OneBlock", "xax", "yay", 1, 1, {1, 1, 1}}, Case{"StaleHit", "xbx", "yay", 1, 1, {0, 0, 0}},
        Case{"SourceShorter", "ab", "abab", 0, 0, {0, 0, 2}}, Case{"SourceGone", "", "ab", 0, 0, {0, 0, 0}},
        Case{"HolesMatchNothing", "ab..cd", "ab..cd", 0, 0, {0, 0, 2}},
        Case{"HoleHit", "..", "..", 0, 0, {0, 0, 0}},
        Case{"Floor", "abcdef", "abcdef", 4, 4, {3, 3, 3}, /*floor=*/3},
        Case{"WindowEnd", "abcdef", "abcdef", 2, 2, {0, 0, 4}, 0, 0, /*window_end=*/4},
        Case{"WindowBegin", "abcdef", "abcdef", 4, 4, {3, 3, 3}, 3, /*window_begin=*/3, 6},
        Case{"SameFileOneRunAfterTheOther", "abcabc", "abcabc", 0, 3, {0, 3, 3}, 0, 0, 100, true},
        Case{"SameFileNoOverlap", "aaaaaaaa", "aaaaaaaa", 0, 3, {0, 3, 3}, 0, 0, 100, true},
        Case{"SameFileGrownBackNoOverlap", "aaaaaaaa", "aaaaaaaa", 2, 6, {0, 4, 4}, 0, 0, 8, true},
        Case{"SameFileSourceBehind", "abcabc", "abcabc", 4, 1, {3, 0, 3}, 0, 0, 100, true},
        Case{"SamePlace", "abc", "abc", 1, 1, {0, 0, 0}, 0, 0, 100, true}),
    [](const auto& info) { return info.param.name; });

TEST(MatchTest, WithinOneFileRunsNeverOverlap) {
  const std::string word = "aabaabaabaaaabaabaa";
  const std::vector<Fingerprint> prints = Prints(word);
  for (uint64_t s = 0; s < word.size(); ++s) {
    for (uint64_t d = 0; d < word.size(); ++d) {
      const Match match = GrowMatch(s, d, {0, prints}, 0, true, [&](uint64_t b) {
        return b < prints.size() ? prints[b] : kNoFingerprint;
      });
      const uint64_t apart = match.source_block < match.destination_block
                                 ? match.destination_block - match.source_block
                                 : match.source_block - match.destination_block;
      EXPECT_LE(match.blocks, apart) << s << " " << d;
      EXPECT_EQ(word.substr(match.source_block, match.blocks),
                word.substr(match.destination_block, match.blocks));
    }
  }
}

}  // namespace
}  // namespace cowherd
