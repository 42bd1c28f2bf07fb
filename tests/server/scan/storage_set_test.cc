#include "server/scan/storage_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace cowherd {
namespace {

using Ranges = std::vector<StorageSet::Range>;

TEST(StorageSetTest, AllIsMissingFromAnEmptySet) {
  const StorageSet set(1 << 20);
  EXPECT_EQ(set.Missing(10, 20), (Ranges{{10, 20}}));
  EXPECT_EQ(set.Missing(10, 10), Ranges{});
}

TEST(StorageSetTest, MissingIsWhatLiesBetween) {
  StorageSet set(1 << 20);
  set.Add(10, 20);
  set.Add(30, 40);
  EXPECT_EQ(set.Missing(0, 50), (Ranges{{0, 10}, {20, 30}, {40, 50}}));
  EXPECT_EQ(set.Missing(15, 35), (Ranges{{20, 30}}));
  EXPECT_EQ(set.Missing(12, 18), Ranges{});
}

TEST(StorageSetTest, WhatTouchesIsOneRange) {
  StorageSet set(1 << 20);
  set.Add(10, 20);
  set.Add(30, 40);
  set.Add(20, 30);
  EXPECT_EQ(set.ranges().size(), 1u);
  set.Add(0, 5);
  EXPECT_EQ(set.ranges().size(), 2u);
  set.Add(4, 100);
  EXPECT_EQ(set.ranges().size(), 1u);
  EXPECT_EQ(set.Missing(0, 101), (Ranges{{100, 101}}));
}

TEST(StorageSetTest, RemovingCutsRanges) {
  StorageSet set(1 << 20);
  set.Add(0, 100);
  set.Remove(40, 60);
  EXPECT_EQ(set.Missing(0, 100), (Ranges{{40, 60}}));
  set.Remove(0, 1000);
  EXPECT_EQ(set.ranges().size(), 0u);
}

TEST(StorageSetTest, TellsHowMuchOfARangeItHas) {
  StorageSet set(SIZE_MAX);
  set.Add(10, 20);
  set.Add(30, 40);
  EXPECT_EQ(set.LengthWithin(0, UINT64_MAX), 20u);
  EXPECT_EQ(set.LengthWithin(15, 32), 7u);
  EXPECT_EQ(set.LengthWithin(12, 13), 1u);
  EXPECT_EQ(set.LengthWithin(20, 30), 0u);
  EXPECT_EQ(set.LengthWithin(40, 50), 0u);
}

TEST(StorageSetTest, TheBudgetHolds) {
  StorageSet set(64 * 100);
  for (uint64_t i = 0; i < 1000; ++i) set.Add(i * 10, i * 10 + 5);
  EXPECT_EQ(set.ranges().size(), 100u);
  EXPECT_EQ(set.Missing(5000, 5005), (Ranges{{5000, 5005}}));
  // What touches needs no more room.
  set.Add(5, 8);
  EXPECT_EQ(set.Missing(0, 8), Ranges{});
}

TEST(StorageSetTest, RandomChangesAgainstAModel) {
  std::mt19937 random(1);
  StorageSet set(1 << 20);
  std::set<uint64_t> model;
  for (int step = 0; step < 2000; ++step) {
    const uint64_t begin = random() % 200;
    const uint64_t end = begin + random() % 20;
    if (random() % 3 != 0) {
      set.Add(begin, end);
      for (uint64_t i = begin; i < end; ++i) model.insert(i);
    } else {
      set.Remove(begin, end);
      for (uint64_t i = begin; i < end; ++i) model.erase(i);
    }
    std::set<uint64_t> missing;
    for (const auto& [from, to] : set.Missing(0, 220)) {
      for (uint64_t i = from; i < to; ++i) missing.insert(i);
    }
    for (uint64_t i = 0; i < 220; ++i) ASSERT_NE(missing.count(i), model.count(i)) << i;
  }
}

}  // namespace
}  // namespace cowherd
