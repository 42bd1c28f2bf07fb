#include "server/scan/anchor_table.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace cowherd {
namespace {

TEST(AnchorTable, FirstValueIsKeptUntilPut) {
  AnchorTable table(1 << 20);
  EXPECT_FALSE(table.FindOrInsert(77, 5));
  EXPECT_EQ(*table.FindOrInsert(77, 9), 5u);
  table.Put(77, 9);
  EXPECT_EQ(*table.FindOrInsert(77, 1), 9u);
  table.Put(78, 2);
  EXPECT_EQ(*table.FindOrInsert(78, 1), 2u);
  EXPECT_EQ(table.entries(), 2u);
  EXPECT_EQ(table.sampling(), 0);
}

TEST(AnchorTable, StaysWithinItsBudgetAndKeepsWhatItSamples) {
  constexpr size_t kBudget = 1 << 20;
  AnchorTable table(kBudget);
  std::mt19937_64 random(1);
  std::vector<uint64_t> keys(1000000);
  for (uint64_t& key : keys) key = random();
  for (uint64_t key : keys) table.FindOrInsert(key, key + 1);
  EXPECT_GE(table.sampling(), 3);
  EXPECT_LE(table.bytes() * 3 / 2, kBudget);
  const uint64_t mask = (uint64_t{1} << table.sampling()) - 1;
  size_t anchors = 0;
  for (uint64_t key : keys) {
    if ((key & mask) != 0) {
      EXPECT_FALSE(table.FindOrInsert(key, 0));
      continue;
    }
    ++anchors;
    const auto value = table.FindOrInsert(key, 0);
    ASSERT_TRUE(value);
    EXPECT_EQ(*value, key + 1);
  }
  EXPECT_EQ(table.entries(), anchors);
}

}  // namespace
}  // namespace cowherd
