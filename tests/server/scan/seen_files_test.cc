#include "server/scan/seen_files.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::IsOk;
using testing::StatusIs;

std::string Saved(SeenFiles& files, bool all) {
  StateWriter writer(-1);
  files.Save(all, writer);
  return writer.text();
}

SeenFiles Loaded(const std::string& text, size_t budget = 1 << 10) {
  SeenFiles files(budget);
  StateReader reader(text);
  EXPECT_THAT(files.Load(reader), IsOk());
  EXPECT_TRUE(reader.at_end());
  return files;
}

SeenFiles Of(std::initializer_list<uint64_t> hashes) {
  SeenFiles files(1 << 10);
  for (uint64_t hash : hashes) files.Add(hash);
  return Loaded(Saved(files, false));
}

TEST(SeenFiles, EachFactTellsFilesApart) {
  const FileFacts facts{1, 2, 3, 4, 5, 6};
  const uint64_t hash = SeenFiles::HashOf("a", facts);
  EXPECT_EQ(SeenFiles::HashOf("a", facts), hash);
  EXPECT_NE(SeenFiles::HashOf("b", facts), hash);
  const auto changed = [&](auto change) {
    FileFacts other = facts;
    change(other);
    return SeenFiles::HashOf("a", other) != hash;
  };
  EXPECT_TRUE(changed([](FileFacts& f) { ++f.inode; }));
  EXPECT_TRUE(changed([](FileFacts& f) { ++f.size; }));
  EXPECT_TRUE(changed([](FileFacts& f) { ++f.modified_ns; }));
  EXPECT_TRUE(changed([](FileFacts& f) { ++f.changed_ns; }));
  // The number of a device may be another after each mount.
  EXPECT_FALSE(changed([](FileFacts& f) { ++f.device; }));
}

TEST(SeenFiles, AddedFilesAreMetByTheNextScan) {
  SeenFiles files = Of({30, 10, 20, 10});
  for (uint64_t hash : {10, 20, 30}) EXPECT_TRUE(files.Meet(hash));
  for (uint64_t hash : {0, 11, 31}) EXPECT_FALSE(files.Meet(hash));
  EXPECT_EQ(files.added(), 0U);
}

TEST(SeenFiles, ACompleteScanForgetsWhatItDidNotMeet) {
  SeenFiles files = Of({10, 20, 30});
  EXPECT_TRUE(files.Meet(20));
  files.Add(15);
  files.Add(40);
  SeenFiles unfinished = Loaded(Saved(files, true));
  for (uint64_t hash : {10, 15, 20, 30, 40}) EXPECT_TRUE(unfinished.Meet(hash));
  SeenFiles complete = Loaded(Saved(files, false));
  for (uint64_t hash : {15, 20, 40}) EXPECT_TRUE(complete.Meet(hash));
  for (uint64_t hash : {10, 30}) EXPECT_FALSE(complete.Meet(hash));
}

TEST(SeenFiles, StaysWithinItsBudget) {
  constexpr size_t kBudget = 1 << 20;
  constexpr uint64_t kFiles = 200000;
  const auto hash = [](uint64_t i) { return i * 0x9e3779b97f4a7c15 >> 16; };
  SeenFiles files(kBudget);
  for (uint64_t i = 0; i < kFiles; ++i) {
    files.Add(hash(i));
    ASSERT_LE(files.bytes(), kBudget);
  }
  EXPECT_EQ(files.added(), kFiles);
  EXPECT_GT(files.left_out(), 0U);
  EXPECT_LT(files.left_out(), kFiles / 4);
  const std::string saved = Saved(files, false);
  SeenFiles same = Loaded(saved, kBudget);
  SeenFiles smaller = Loaded(saved, kBudget * 2 / 3);
  EXPECT_LE(smaller.bytes(), kBudget * 2 / 3);
  uint64_t met = 0;
  for (uint64_t i = 0; i < kFiles; ++i) {
    met += same.Meet(hash(i)) ? 1 : 0;
    EXPECT_FALSE(same.Meet(hash(i) + 1));
    smaller.Meet(hash(i));
  }
  EXPECT_EQ(met, kFiles - files.left_out());
  EXPECT_EQ(Saved(same, false), saved);
}

// An eighth of ten million, in an eighth of the half of 96 MiB that a scan has for them by default.
TEST(SeenFiles, TenMillionFitIntoTheDefaultBudget) {
  constexpr uint64_t kFiles = 10000000 / 8;
  constexpr size_t kBudget = (48 << 20) / 8;
  SeenFiles files(kBudget);
  for (uint64_t i = 0; i < kFiles; ++i) files.Add(i * 0x9e3779b97f4a7c15 >> 16);
  EXPECT_EQ(files.left_out(), 0U);
  EXPECT_LE(files.bytes(), kBudget);
}

TEST(SeenFiles, WhatIsNotSuchASetIsTold) {
  SeenFiles files(1 << 10);
  StateWriter disordered(-1);
  for (uint64_t number : {2, 7, 5}) disordered.AddNumber(number);
  StateReader reader(disordered.text());
  EXPECT_THAT(files.Load(reader), StatusIs(absl::StatusCode::kDataLoss));
  StateReader empty{std::string()};
  EXPECT_THAT(files.Load(empty), StatusIs(absl::StatusCode::kDataLoss));
  StateWriter cut(-1);
  for (uint64_t number : {uint64_t{1} << 61, uint64_t{7}}) cut.AddNumber(number);
  StateReader short_reader(cut.text());
  EXPECT_THAT(files.Load(short_reader), StatusIs(absl::StatusCode::kDataLoss));
  StateReader passed_over(cut.text());
  EXPECT_THAT(SeenFiles::Skip(passed_over), StatusIs(absl::StatusCode::kDataLoss));
  StateWriter long_hash(-1);
  for (uint64_t number : {uint64_t{1}, uint64_t{1} << 48}) long_hash.AddNumber(number);
  StateReader long_reader(long_hash.text());
  EXPECT_THAT(files.Load(long_reader), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace cowherd
