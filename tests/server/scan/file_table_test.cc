#include "server/scan/file_table.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/scan/run_finder.h"

namespace cowherd {
namespace {

constexpr uint32_t kBlock = 4096;

uint64_t Mix(uint64_t number) { return XXH3_64bits(&number, sizeof(number)); }

// Adds a file, and tells its address.
uint64_t Add(FileTable& table, absl::string_view path, const FileKey& key, uint64_t size,
             uint64_t first_fingerprint) {
  const uint64_t address = table.Place(size).value();
  table.Add(address, path, key, size, first_fingerprint);
  return address;
}

TEST(FileTableTest, EveryBlockLeadsToItsFile) {
  FileTable table(1 << 20, kBlock);
  const uint64_t a = Add(table, "a", {1, 10}, 3 * kBlock + 1, Mix(1));
  const uint64_t b = Add(table, "b", {1, 11}, 1, Mix(2));
  EXPECT_NE(a, b);
  for (uint64_t block = 0; block < 4; ++block) {
    ASSERT_TRUE(table.Find(a + block * kBlock));
    EXPECT_EQ(table.Find(a + block * kBlock)->path, "a");
  }
  ASSERT_TRUE(table.Find(b));
  EXPECT_EQ(table.Find(b)->path, "b");
  EXPECT_EQ(table.Find(b)->key, (FileKey{1, 11}));
  EXPECT_FALSE(table.Find(b + kBlock));
}

TEST(FileTableTest, TheBudgetHoldsAndCopiesAreKeptTogether) {
  constexpr size_t kBudget = 1 << 20;
  constexpr uint64_t kFiles = 100000;
  FileTable table(kBudget, kBlock);
  std::vector<uint64_t> first;
  std::vector<uint64_t> second;
  for (uint64_t i = 0; i < kFiles; ++i) {
    first.push_back(Add(table, absl::StrCat("directory/original", i), {1, i}, kBlock, Mix(i)));
    second.push_back(Add(table, absl::StrCat("directory/copy", i), {2, i}, kBlock, Mix(i)));
    ASSERT_LE(table.bytes(), kBudget);
  }
  uint64_t kept = 0;
  for (uint64_t i = 0; i < kFiles; ++i) {
    const bool there = table.Find(first[i]).has_value();
    EXPECT_EQ(there, table.Find(second[i]).has_value()) << i;
    if (there) {
      EXPECT_EQ(table.Find(first[i])->path, absl::StrCat("directory/original", i));
      ++kept;
    }
  }
  EXPECT_GT(kept, 5000u);
  EXPECT_EQ(table.files(), 2 * kept);
  EXPECT_NEAR(static_cast<double>(table.files_seen()), 2 * kFiles, kFiles / 10.0);
}

// Half of them copies of the other half, in many directories: none is lost.
TEST(FileTableTest, HoldsManySmallFiles) {
  constexpr size_t kBudget = 13 << 20;
  constexpr uint64_t kFiles = 200000;
  const auto path = [](uint64_t i) {
    return absl::StrCat("home/user", i / 5000, "/project", i / 100, "/source_file_", i, ".txt");
  };
  FileTable table(kBudget, kBlock);
  std::vector<uint64_t> addresses;
  for (uint64_t i = 0; i < kFiles; ++i) {
    addresses.push_back(Add(table, path(i), {1, i}, 2 * kBlock, Mix(i / 2)));
    ASSERT_LE(table.bytes(), kBudget);
  }
  EXPECT_EQ(table.files(), kFiles);
  EXPECT_EQ(table.files_seen(), 0U);
  for (uint64_t i = 0; i < kFiles; ++i) ASSERT_EQ(table.Find(addresses[i])->path, path(i));
  // As much as another needs is taken away.
  table.SetBudget(kBudget / 3);
  EXPECT_LE(table.bytes(), kBudget / 3);
  EXPECT_GT(table.files(), kFiles / 8);
  for (uint64_t i = 0; i < kFiles; ++i) {
    const absl::optional<FileTable::File> file = table.Find(addresses[i]);
    ASSERT_TRUE(!file || file->path == path(i));
  }
}

TEST(FileTableTest, TheRowEndsWhereAddressesDo) {
  FileTable table(1 << 20, kBlock);
  EXPECT_FALSE(table.Place(kMaxAddress + 1));
  EXPECT_FALSE(table.Place(UINT64_MAX));
  const uint64_t large = Add(table, "large", {1, 1}, kMaxAddress - kBlock, Mix(1));
  EXPECT_FALSE(table.Place(kBlock + 1));
  const uint64_t last = Add(table, "last", {1, 2}, kBlock, Mix(2));
  EXPECT_EQ(table.end(), kMaxAddress);
  EXPECT_EQ(table.Find(large + kMaxAddress - 2 * kBlock)->path, "large");
  EXPECT_EQ(table.Find(last)->path, "last");
  EXPECT_FALSE(table.Place(1));
}

TEST(FileTableTest, LargeFilesStay) {
  FileTable table(1 << 20, kBlock);
  const uint64_t large = Add(table, "large", {1, 1}, uint64_t{1} << 40, Mix(1));
  for (uint64_t i = 0; i < 50000; ++i) Add(table, absl::StrCat("small", i), {1, i}, kBlock, Mix(i));
  ASSERT_TRUE(table.Find(large + 12345 * kBlock));
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
  const uint64_t a = Add(saved, "a", {7, 10}, 3 * kBlock, Mix(1));
  const uint64_t b = Add(saved, "b", {8, 10}, kBlock, Mix(2));
  FileTable same = Loaded(saved, 7, 7);
  EXPECT_EQ(same.Find(a + kBlock)->path, "a");
  EXPECT_EQ(same.Find(b)->key, (FileKey{8, 10}));
  EXPECT_GT(Add(same, "c", {7, 12}, 1, Mix(3)), b);
  // The device has another number, and who knows what 8 is now.
  const FileTable moved = Loaded(saved, 7, 9);
  EXPECT_EQ(moved.Find(a)->key, (FileKey{9, 10}));
  EXPECT_FALSE(moved.Find(b));
}

TEST(FileTableTest, FilesThatAreLookedAtAnewAreForgotten) {
  FileTable saved(1 << 20, kBlock);
  const uint64_t a = Add(saved, "a", {7, 10}, 3 * kBlock, Mix(1));
  const uint64_t b = Add(saved, "b", {7, 11}, kBlock, Mix(2));
  FileTable table = Loaded(saved, 7, 7);
  table.Forget({7, 10});
  table.Forget({7, 12});
  EXPECT_FALSE(table.Find(a));
  EXPECT_TRUE(table.Find(b));
  const uint64_t again = Add(table, "a", {7, 10}, 3 * kBlock, Mix(1));
  const FileTable next = Loaded(table, 7, 7);
  EXPECT_FALSE(next.Find(a));
  EXPECT_TRUE(next.Find(again));
  EXPECT_EQ(next.files(), 2U);
}

TEST(FileTableTest, ASmallerBudgetHoldsForWhatIsLoaded) {
  FileTable saved(8 << 20, kBlock);
  for (uint64_t i = 0; i < 20000; ++i) Add(saved, absl::StrCat("directory/file", i), {1, i}, kBlock, Mix(i));
  EXPECT_EQ(saved.files(), 20000U);
  FileTable table = Loaded(saved, 1, 1, 1 << 18);
  EXPECT_LE(table.bytes(), size_t{1} << 18);
  EXPECT_GT(table.files(), 2000U);
  // What is loaded is found by its key also when it has moved up.
  const size_t before = table.files();
  for (uint64_t i = 0; i < 20000; ++i) table.Forget({1, i});
  EXPECT_EQ(table.files(), before);
  EXPECT_EQ(Loaded(table, 1, 1).files(), 0U);
}

TEST(FileTableTest, WhatIsNoTableIsTold) {
  FileTable saved(1 << 20, kBlock);
  for (uint64_t i = 0; i < 3; ++i) Add(saved, absl::StrCat(i), {1, i}, kBlock, Mix(i));
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
