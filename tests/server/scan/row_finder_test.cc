#include "server/scan/row_finder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace cowherd {
namespace {

std::vector<uint64_t> Join(std::vector<uint64_t> a, const std::vector<uint64_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<uint64_t> Row(size_t blocks, uint64_t fingerprint) {
  return std::vector<uint64_t>(blocks, fingerprint);
}

uint64_t BlocksOf(const std::vector<BlockRun>& runs) {
  uint64_t blocks = 0;
  for (const BlockRun& run : runs) blocks += run.blocks;
  return blocks;
}

bool NoneIsShared(uint64_t, uint64_t) { return false; }
bool AllIsShared(uint64_t, uint64_t) { return true; }

TEST(RowFinderTest, NoRowsAreLeftAlone) {
  RowFinder rows(1);
  std::vector<uint64_t> fingerprints = {1, 2, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4};
  const std::vector<uint64_t> before = fingerprints;
  EXPECT_TRUE(rows.Take(0, fingerprints, NoneIsShared).empty());
  EXPECT_EQ(fingerprints, before);
}

TEST(RowFinderTest, ARowIsSharedWithItsOwnBeginning) {
  RowFinder rows(1);
  std::vector<uint64_t> fingerprints = Join({7}, Row(80, 5));
  const std::vector<BlockRun> runs = rows.Take(4096, fingerprints, NoneIsShared);
  EXPECT_EQ(BlocksOf(runs), 70u);
  uint64_t at = 11;
  for (const BlockRun& run : runs) {
    EXPECT_EQ(run.block, at);
    EXPECT_EQ(run.source_extent, 4096u);
    EXPECT_EQ(run.source_block, 1u);
    EXPECT_LE(run.blocks, 10u);
    at += run.blocks;
  }
  EXPECT_EQ(fingerprints, Join({7}, Row(80, 0)));
}

TEST(RowFinderTest, LaterRowsShareWithTheFirst) {
  RowFinder rows(1);
  std::vector<uint64_t> first = Row(80, 5);
  rows.Take(0, first, NoneIsShared);
  std::vector<uint64_t> second = Row(25, 5);
  const std::vector<BlockRun> runs = rows.Take(1 << 20, second, NoneIsShared);
  EXPECT_EQ(BlocksOf(runs), 25u);
  EXPECT_EQ(runs.size(), 3u);
  for (const BlockRun& run : runs) EXPECT_EQ(run.source_extent, 0u);
}

TEST(RowFinderTest, AMuchLongerRowTakesThePlace) {
  RowFinder rows(1);
  std::vector<uint64_t> first = Row(9, 5);
  rows.Take(0, first, NoneIsShared);
  std::vector<uint64_t> second = Row(4096, 5);
  const std::vector<BlockRun> runs = rows.Take(1 << 20, second, NoneIsShared);
  EXPECT_EQ(BlocksOf(runs), 4096u - 256u);
  EXPECT_EQ(runs.size(), 15u);
  EXPECT_EQ(runs[0].source_extent, uint64_t{1} << 20);
}

TEST(RowFinderTest, ALongerPieceIsKeptOnceMuchWasSeen) {
  RowFinder rows(1);
  uint64_t kept = 0;
  size_t pieces = 0;
  for (uint64_t section = 0; section < 100; ++section) {
    std::vector<uint64_t> fingerprints = Row(64, 5);
    const std::vector<BlockRun> runs = rows.Take(section << 22, fingerprints, NoneIsShared);
    kept += 64 - BlocksOf(runs);
    pieces = runs.size();
  }
  EXPECT_EQ(pieces, 2u);
  EXPECT_LE(kept, 6400u / 16);
}

TEST(RowFinderTest, PiecesAreNotShorterThanTheLeastLength) {
  RowFinder rows(16);
  std::vector<uint64_t> fingerprints = Row(100, 5);
  const std::vector<BlockRun> runs = rows.Take(0, fingerprints, NoneIsShared);
  EXPECT_EQ(BlocksOf(runs), 80u);  // 16 are kept, and 4 are left
  for (const BlockRun& run : runs) EXPECT_EQ(run.blocks, 16u);
  RowFinder longer(1000);
  fingerprints = Row(100, 5);
  EXPECT_TRUE(longer.Take(0, fingerprints, NoneIsShared).empty());
  EXPECT_EQ(fingerprints, Row(100, 5));
}

TEST(RowFinderTest, WhatAnEarlierScanKeptStaysWhole) {
  RowFinder rows(1);
  std::vector<uint64_t> fingerprints = Row(20, 5);
  EXPECT_TRUE(rows.Take(0, fingerprints, AllIsShared).empty());
  EXPECT_EQ(fingerprints, Row(20, 0));
  // It kept a longer one later on, and what is not much longer was another's.
  fingerprints = Row(40, 5);
  EXPECT_TRUE(rows.Take(1 << 20, fingerprints, AllIsShared).empty());
  fingerprints = Row(50, 5);
  EXPECT_EQ(BlocksOf(rows.Take(2 << 20, fingerprints, AllIsShared)), 50u);
  // More than is ever kept.
  fingerprints = Row(1000, 6);
  EXPECT_EQ(BlocksOf(rows.Take(3 << 20, fingerprints, AllIsShared)), 875u);
  const auto first_is_not = [](uint64_t first, uint64_t) { return first > 0; };
  fingerprints = Row(80, 7);
  EXPECT_EQ(BlocksOf(rows.Take(4 << 20, fingerprints, first_is_not)), 70u);
}

TEST(RowFinderTest, TheNextRowTakesThePlaceOfWhatIsForgotten) {
  RowFinder rows(1);
  std::vector<uint64_t> fingerprints = Join(Row(80, 5), Row(80, 6));
  rows.Take(0, fingerprints, NoneIsShared);
  rows.Forget([](uint64_t address) { return address == 4096; });
  fingerprints = Row(80, 5);
  EXPECT_EQ(BlocksOf(rows.Take(1 << 20, fingerprints, NoneIsShared)), 80u);
  rows.Forget([](uint64_t address) { return address == 0; });
  for (const uint64_t kind : {5, 6}) {
    fingerprints = Row(80, kind);
    const std::vector<BlockRun> runs = rows.Take(kind << 22, fingerprints, NoneIsShared);
    EXPECT_EQ(BlocksOf(runs), 70u);
    EXPECT_EQ(runs[0].source_extent, kind << 22);
  }
}

TEST(RowFinderTest, RunsWithinOneRow) {
  const std::vector<uint64_t> fingerprints = {1, 5, 5, 5, 5, 2, 5, 5};
  EXPECT_TRUE(RowFinder::IsWithinRow({3, 4096, 1, 2}, 4096, fingerprints));
  EXPECT_FALSE(RowFinder::IsWithinRow({3, 8192, 1, 2}, 4096, fingerprints));
  EXPECT_FALSE(RowFinder::IsWithinRow({6, 4096, 1, 2}, 4096, fingerprints));
  EXPECT_FALSE(RowFinder::IsWithinRow({1, 4096, 6, 2}, 4096, fingerprints));
}

TEST(RowFinderTest, NoPieceIsItsOwnSource) {
  RowFinder rows(3);
  for (uint64_t section = 0; section < 50; ++section) {
    const uint64_t address = section << 22;
    std::vector<uint64_t> fingerprints =
        Join(Row(section * 7 % 61, 5), Join({1}, Row(section * 13 % 300, 5)));
    for (const BlockRun& run : rows.Take(address, fingerprints, NoneIsShared)) {
      EXPECT_GE(run.blocks, 3u);
      const uint64_t source_end = run.source_extent / 4096 + run.source_block + run.blocks;
      EXPECT_LE(source_end, address / 4096 + run.block);
    }
  }
}

}  // namespace
}  // namespace cowherd
