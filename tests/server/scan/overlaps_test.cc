#include "server/scan/overlaps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cowherd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kFreedPerMoved = 4;

// Extents that lie along one content: [begin, end) of it each, named by their order.
struct Piece {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t own = 0;   // blocks behind these that are of no other
  uint64_t dead = 0;  // and behind those some that no file refers to
};

uint64_t Address(size_t piece) { return (piece + 1) << 30; }

// Each of the pieces with each other.
std::vector<ExtentOverlap> OverlapsOf(const std::vector<Piece>& pieces) {
  std::vector<ExtentOverlap> overlaps;
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (size_t j = 0; j < pieces.size(); ++j) {
      const Piece& a = pieces[i];
      const Piece& b = pieces[j];
      const uint64_t begin = std::max(a.begin, b.begin);
      const uint64_t end = std::min(a.end, b.end);
      if (i == j || begin >= end) continue;
      const uint64_t live = a.end - a.begin + a.own;
      overlaps.push_back(
          {Address(i), live + a.dead, live, begin - a.begin, Address(j), begin - b.begin, end - begin});
    }
  }
  return overlaps;
}

std::vector<size_t> Kept(const std::vector<ExtentOverlap>& overlaps, size_t pieces,
                         uint64_t freed_per_moved = kFreedPerMoved) {
  const absl::flat_hash_set<uint64_t> keep = ExtentsToKeep(overlaps, freed_per_moved);
  std::vector<size_t> kept;
  for (size_t i = 0; i < pieces; ++i) {
    if (keep.contains(Address(i))) kept.push_back(i);
  }
  return kept;
}

std::vector<size_t> Kept(const std::vector<Piece>& pieces) { return Kept(OverlapsOf(pieces), pieces.size()); }

TEST(OverlapsTest, NothingOverlaps) { EXPECT_THAT(ExtentsToKeep({}, kFreedPerMoved), IsEmpty()); }

TEST(OverlapsTest, OneOfEqualOnesStays) { EXPECT_EQ(Kept({{0, 10}, {0, 10}, {0, 10}}).size(), 1u); }

TEST(OverlapsTest, AWholeStaysAndItsPartsGo) {
  EXPECT_THAT(Kept({{0, 4}, {0, 10}, {4, 10}}), ElementsAre(1));
}

// One of them is a whole copy of what the others hold in pieces.
TEST(OverlapsTest, AWholeStaysRatherThanPiecesThatOverlap) {
  EXPECT_THAT(Kept({{0, 1196}, {998, 1331}, {889, 1800}, {1196, 1800}, {0, 1800}, {1331, 1800}}),
              ElementsAre(4));
}

// Of what overlaps those stay that fit together, so that nothing stays twice.
TEST(OverlapsTest, WhatFitsTogetherStays) {
  EXPECT_THAT(Kept({{0, 50}, {50, 58}, {40, 70}, {70, 90}, {58, 90}}), ElementsAre(0, 1, 4));
}

TEST(OverlapsTest, WhatHasMuchOfItsOwnStaysAndOthersGoForIt) {
  EXPECT_THAT(Kept({{0, 10}, {0, 6, 3}, {6, 10, 2}}), ElementsAre(1, 2));
}

TEST(OverlapsTest, ALittleOfItsOwnIsMoved) {
  EXPECT_THAT(Kept({{0, 12, 4}, {0, 20}}), ElementsAre(1));
  EXPECT_THAT(Kept({{0, 12, 5}, {0, 20}}), ElementsAre(0, 1));
}

TEST(OverlapsTest, WhatNoFileRefersToNeedsNothing) {
  EXPECT_THAT(Kept({{0, 10, 0, 10}, {0, 12, 4}}), ElementsAre(1));
}

TEST(OverlapsTest, SomethingStaysHoweverMuchMayBeMoved) {
  const std::vector<Piece> pieces = {{0, 6}, {0, 10}, {4, 10}};
  EXPECT_THAT(Kept(OverlapsOf(pieces), pieces.size(), /*freed_per_moved=*/1), ElementsAre(1));
}

TEST(OverlapsTest, WhatIsOnlyNamedByOthersStays) {
  EXPECT_THAT(Kept({{Address(0), 10, 10, 0, Address(1), 5, 10}}, 2), ElementsAre(1));
}

// The second holds the first in two places; and a ring comes back to where it began at another place.
TEST(OverlapsTest, OfPlacesThatContradictEachOtherOneTells) {
  EXPECT_THAT(
      Kept({{Address(0), 10, 10, 0, Address(1), 0, 10}, {Address(0), 10, 10, 0, Address(1), 10, 10}}, 2),
      ElementsAre(1));
  const std::vector<ExtentOverlap> ring = {{Address(0), 10, 10, 0, Address(1), 0, 10},
                                           {Address(1), 10, 10, 0, Address(2), 0, 10},
                                           {Address(2), 10, 10, 1, Address(0), 0, 9}};
  EXPECT_EQ(Kept(ring, 3).size(), 1u);
}

// Both hold the row of zeros, at places that do not fit to what else they hold.
TEST(OverlapsTest, TheLongestOverlapTellsThePlace) {
  const std::vector<ExtentOverlap> overlaps = {{Address(2), 5, 5, 0, Address(0), 90, 5},
                                               {Address(2), 5, 5, 0, Address(1), 0, 5},
                                               {Address(0), 100, 100, 0, Address(1), 5, 100},
                                               {Address(1), 105, 105, 5, Address(0), 0, 100}};
  EXPECT_THAT(Kept(overlaps, 3), ElementsAre(1));
}

TEST(OverlapsTest, LinesAreApart) {
  std::vector<ExtentOverlap> overlaps;
  for (uint64_t i = 0; i < 1000; ++i) {
    overlaps.push_back({Address(2 * i), 20, 20, 0, Address(2 * i + 1), 5, 20});
    overlaps.push_back({Address(2 * i + 1), 25, 25, 5, Address(2 * i), 0, 20});
  }
  const std::vector<size_t> kept = Kept(overlaps, 2000);
  ASSERT_EQ(kept.size(), 1000u);
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(kept[i], 2 * i + 1);
}

}  // namespace
}  // namespace cowherd
