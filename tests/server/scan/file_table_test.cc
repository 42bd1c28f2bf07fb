#include "server/scan/file_table.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace cowherd {
namespace {

constexpr uint32_t kBlock = 4096;

uint64_t Mix(uint64_t number) { return XXH3_64bits(&number, sizeof(number)); }

TEST(FileTableTest, EveryBlockLeadsToItsFile) {
  FileTable table(1 << 20, kBlock);
  const uint64_t a = table.Add("a", {1, 10}, 3 * kBlock + 1, Mix(1));
  const uint64_t b = table.Add("b", {1, 11}, 1, Mix(2));
  EXPECT_NE(a, b);
  for (uint64_t block = 0; block < 4; ++block) {
    ASSERT_NE(table.Find(a + block * kBlock), nullptr);
    EXPECT_EQ(table.Find(a + block * kBlock)->path, "a");
  }
  ASSERT_NE(table.Find(b), nullptr);
  EXPECT_EQ(table.Find(b)->path, "b");
  EXPECT_EQ(table.Find(b)->key, (FileKey{1, 11}));
  EXPECT_EQ(table.Find(b + kBlock), nullptr);
}

TEST(FileTableTest, TheBudgetHoldsAndCopiesAreKeptTogether) {
  constexpr size_t kBudget = 1 << 20;
  constexpr uint64_t kFiles = 100000;
  FileTable table(kBudget, kBlock);
  std::vector<uint64_t> first;
  std::vector<uint64_t> second;
  for (uint64_t i = 0; i < kFiles; ++i) {
    first.push_back(table.Add(absl::StrCat("directory/original", i), {1, i}, kBlock, Mix(i)));
    second.push_back(table.Add(absl::StrCat("directory/copy", i), {2, i}, kBlock, Mix(i)));
    ASSERT_LE(table.bytes(), kBudget);
  }
  uint64_t kept = 0;
  for (uint64_t i = 0; i < kFiles; ++i) {
    const bool there = table.Find(first[i]) != nullptr;
    EXPECT_EQ(there, table.Find(second[i]) != nullptr) << i;
    if (there) {
      EXPECT_EQ(table.Find(first[i])->path, absl::StrCat("directory/original", i));
      ++kept;
    }
  }
  EXPECT_GT(kept, 1000u);
  EXPECT_EQ(table.files(), 2 * kept);
}

TEST(FileTableTest, LargeFilesStay) {
  FileTable table(1 << 20, kBlock);
  const uint64_t large = table.Add("large", {1, 1}, uint64_t{1} << 40, Mix(1));
  for (uint64_t i = 0; i < 50000; ++i) table.Add(absl::StrCat("small", i), {1, i}, kBlock, Mix(i));
  ASSERT_NE(table.Find(large + 12345 * kBlock), nullptr);
  EXPECT_EQ(table.Find(large + 12345 * kBlock)->path, "large");
}

FileTable Loaded(const FileTable& saved, uint64_t then, uint64_t now, size_t budget = 1 << 20) {
  StateWriter writer(-1);
  saved.Save(writer);
  StateReader reader(writer.text());
  FileTable table(budget, kBlock);
  EXPECT_EQ(table.Load(reader, then, now), absl::OkStatus());
  EXPECT_TRUE(reader.at_end());
  return table;
}

TEST(FileTableTest, GoesOnWhereAnEarlierScanEnded) {
  FileTable saved(1 << 20, kBlock);
  const uint64_t a = saved.Add("a", {7, 10}, 3 * kBlock, Mix(1));
  const uint64_t b = saved.Add("b", {8, 10}, kBlock, Mix(2));
  FileTable same = Loaded(saved, 7, 7);
  EXPECT_EQ(same.Find(a + kBlock)->path, "a");
  EXPECT_EQ(same.Find(b)->key, (FileKey{8, 10}));
  EXPECT_GT(same.Add("c", {7, 12}, 1, Mix(3)), b);
  // The device has another number, and who knows what 8 is now.
  const FileTable moved = Loaded(saved, 7, 9);
  EXPECT_EQ(moved.Find(a)->key, (FileKey{9, 10}));
  EXPECT_EQ(moved.Find(b), nullptr);
}

TEST(FileTableTest, FilesThatAreLookedAtAnewAreForgotten) {
  FileTable saved(1 << 20, kBlock);
  const uint64_t a = saved.Add("a", {7, 10}, 3 * kBlock, Mix(1));
  const uint64_t b = saved.Add("b", {7, 11}, kBlock, Mix(2));
  FileTable table = Loaded(saved, 7, 7);
  table.Forget({7, 10});
  table.Forget({7, 12});
  EXPECT_EQ(table.Find(a), nullptr);
  EXPECT_NE(table.Find(b), nullptr);
  const uint64_t again = table.Add("a", {7, 10}, 3 * kBlock, Mix(1));
  const FileTable next = Loaded(table, 7, 7);
  EXPECT_EQ(next.Find(a), nullptr);
  EXPECT_NE(next.Find(again), nullptr);
  EXPECT_EQ(next.files(), 2U);
}

TEST(FileTableTest, ASmallerBudgetHoldsForWhatIsLoaded) {
  FileTable saved(8 << 20, kBlock);
  for (uint64_t i = 0; i < 20000; ++i) saved.Add(absl::StrCat("directory/file", i), {1, i}, kBlock, Mix(i));
  EXPECT_EQ(saved.files(), 20000U);
  const FileTable table = Loaded(saved, 1, 1, 1 << 18);
  EXPECT_LE(table.bytes(), size_t{1} << 18);
  EXPECT_GT(table.files(), 100U);
}

TEST(FileTableTest, WhatIsNoTableIsTold) {
  FileTable saved(1 << 20, kBlock);
  for (uint64_t i = 0; i < 3; ++i) saved.Add(absl::StrCat(i), {1, i}, kBlock, Mix(i));
  StateWriter writer(-1);
  saved.Save(writer);
  for (size_t size = 0; size < writer.text().size(); ++size) {
    StateReader reader(writer.text().substr(0, size));
    FileTable table(1 << 20, kBlock);
    EXPECT_TRUE(absl::IsDataLoss(table.Load(reader, 1, 1))) << size;
  }
}

}  // namespace
}  // namespace cowherd
