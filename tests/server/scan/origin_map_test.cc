#include "server/scan/origin_map.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

namespace cowherd {
namespace {

using Pieces = std::vector<std::tuple<uint64_t, uint64_t, uint64_t>>;

Pieces Find(const OriginMap& map, uint64_t address, uint64_t length) {
  Pieces pieces;
  for (const OriginMap::Piece& piece : map.Find(address, length)) {
    pieces.emplace_back(piece.address, piece.length, piece.origin);
  }
  return pieces;
}

TEST(OriginMapTest, WhatSharesWithNoOtherIsItsOwnOrigin) {
  OriginMap map(1 << 20);
  EXPECT_EQ(Find(map, 10, 5), (Pieces{{10, 5, 10}}));
  map.Add(100, 10, 0);
  EXPECT_EQ(Find(map, 10, 5), (Pieces{{10, 5, 10}}));
  EXPECT_EQ(Find(map, 110, 5), (Pieces{{110, 5, 110}}));
}

TEST(OriginMapTest, PiecesAreCutWhereTheyShareOtherwise) {
  OriginMap map(1 << 20);
  map.Add(100, 10, 0);
  map.Add(120, 10, 50);
  EXPECT_EQ(Find(map, 95, 40),
            (Pieces{{95, 5, 95}, {100, 10, 0}, {110, 10, 110}, {120, 10, 50}, {130, 5, 130}}));
  EXPECT_EQ(Find(map, 103, 2), (Pieces{{103, 2, 3}}));
}

TEST(OriginMapTest, WhatGoesOnIsOnePlace) {
  OriginMap map(1 << 20);
  map.Add(100, 10, 0);
  map.Add(110, 10, 10);
  map.Add(120, 10, 5);
  EXPECT_EQ(map.places(), 2u);
  EXPECT_EQ(Find(map, 100, 30), (Pieces{{100, 20, 0}, {120, 10, 5}}));
}

TEST(OriginMapTest, KnownPlacesStay) {
  OriginMap map(1 << 20);
  map.Add(100, 10, 0);
  map.Add(95, 6, 50);
  map.Add(105, 20, 50);
  map.Add(90, 40, 50);
  EXPECT_EQ(map.places(), 1u);
  EXPECT_EQ(Find(map, 100, 10), (Pieces{{100, 10, 0}}));
}

TEST(OriginMapTest, WhatIsForgottenIsItsOwnOriginAgain) {
  OriginMap map(1 << 20);
  map.Add(100, 10, 0);
  map.Add(120, 10, 50);
  map.Forget([](uint64_t origin, uint64_t length) { return origin <= 55 && 55 < origin + length; });
  EXPECT_EQ(Find(map, 100, 30), (Pieces{{100, 10, 0}, {110, 20, 110}}));
}

TEST(OriginMapTest, TheBudgetHolds) {
  OriginMap map(80 * 100);
  for (uint64_t i = 0; i < 1000; ++i) map.Add(10000 + i * 10, 5, i);
  EXPECT_EQ(map.places(), 100u);
  EXPECT_EQ(Find(map, 10000, 5), (Pieces{{10000, 5, 0}}));
  EXPECT_EQ(Find(map, 19990, 5), (Pieces{{19990, 5, 19990}}));
}

}  // namespace
}  // namespace cowherd
