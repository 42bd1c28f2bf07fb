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
  EXPECT_LE(table.bytes(), kBudget);
  // About as many as were seen.
  EXPECT_NEAR(static_cast<double>(table.keys_seen()), 1e6, 3e4);
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

// Probing goes on at the table's beginning, of which nothing is lost when it grows or keeps fewer.
TEST(AnchorTable, KeepsWhatGoesRoundItsEnd) {
  constexpr uint64_t kEnd = 8;  // keys
  for (uint64_t seed = 0; seed < 128; ++seed) {
    std::mt19937_64 random(seed);
    AnchorTable table(1 << 20);
    std::vector<uint64_t> keys;
    int sampling = 0;
    for (size_t bytes = 0; table.sampling() < 2;) {
      uint64_t key = random();
      if (keys.size() < kEnd) {
        // These belong to the last slots of a table of any size, and half of them are kept when it is full.
        key = key >> 44 << 44 | (0xfffff - random() % 4) << 24 | (key & 0xffffff);
        keys.push_back(key);
      }
      table.FindOrInsert(key, keys.size());
      if (bytes == table.bytes() && sampling == table.sampling()) continue;
      bytes = table.bytes();
      sampling = table.sampling();
      for (size_t i = 0; i < keys.size(); ++i) {
        const bool kept = (keys[i] & ((uint64_t{1} << sampling) - 1)) == 0;
        ASSERT_EQ(table.Find(keys[i]), kept ? absl::make_optional<uint64_t>(i + 1) : absl::nullopt) << seed;
      }
    }
  }
}

// The table grows where it is: none is lost, wherever it was, and what is not there is not found.
TEST(AnchorTable, KeepsAllWhileItGrows) {
  AnchorTable table(4 << 20);
  std::mt19937_64 random(2);
  std::vector<uint64_t> keys;
  EXPECT_EQ(table.keys_seen(), 0U);
  for (size_t bytes = 0; keys.size() < 190000;) {
    keys.push_back(random());
    EXPECT_FALSE(table.Find(keys.back()));
    table.FindOrInsert(keys.back(), keys.size());
    if (bytes == table.bytes()) continue;
    bytes = table.bytes();
    for (size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(table.Find(keys[i]), i + 1) << bytes;
  }
  EXPECT_EQ(table.entries(), keys.size());
  EXPECT_EQ(table.bytes(), size_t{4} << 20);
  EXPECT_EQ(table.sampling(), 0);
  EXPECT_EQ(table.keys_seen(), 0U);
}

}  // namespace
}  // namespace cowherd
