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

}  // namespace
}  // namespace cowherd
