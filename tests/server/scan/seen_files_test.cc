#include "server/scan/seen_files.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::IsOk;
using testing::StatusIs;

std::string Saved(const SeenFiles& files, bool all) {
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
  SeenFiles files(4 * sizeof(uint64_t));
  for (uint64_t hash = 1; hash <= 6; ++hash) files.Add(hash);
  EXPECT_EQ(files.left_out(), 2U);
  SeenFiles smaller = Loaded(Saved(files, false), 2 * sizeof(uint64_t));
  EXPECT_TRUE(smaller.Meet(2));
  EXPECT_FALSE(smaller.Meet(3));
}

TEST(SeenFiles, WhatIsSavedFitsIntoTheHeadOfAState) {
  SeenFiles files(size_t{1} << 30);
  for (uint64_t hash = 0; hash < kMaxHeadBytes / sizeof(hash) + 1; ++hash) files.Add(hash);
  // Their number takes the place of one.
  EXPECT_EQ(files.left_out(), 2U);
  StateWriter writer(-1);
  files.Save(false, writer);
  EXPECT_EQ(writer.size(), kMaxHeadBytes);
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
  for (uint64_t number : {uint64_t{1} << 60, uint64_t{7}}) cut.AddNumber(number);
  StateReader short_reader(cut.text());
  EXPECT_THAT(files.Load(short_reader), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace cowherd
