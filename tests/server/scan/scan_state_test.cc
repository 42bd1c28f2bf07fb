#include "server/scan/scan_state.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/scan/storage_progress.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

namespace fs = std::filesystem;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

std::string Content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class ScanStateTest : public ::testing::Test {
 protected:
  ScanStateTest() {
    std::string name = absl::StrCat(::testing::TempDir(), "/scan_state.XXXXXX");
    directory_ = ::mkdtemp(&name[0]);
  }
  ~ScanStateTest() override { fs::remove_all(directory_); }

  std::unique_ptr<ScanStateFile> Open(const std::string& key = "key") {
    auto file = ScanStateFile::Open(directory_, "uuid", key);
    EXPECT_THAT(file, IsOk());
    return file.ok() ? *std::move(file) : nullptr;
  }

  static void Save(ScanStateFile& file, const std::string& head, const std::string& body) {
    EXPECT_THAT(file.Save(head, [&](StateWriter& writer) { writer.AddText(body); }), IsOk());
  }

  // Head and body as one text.
  static absl::StatusOr<std::string> Read(ScanStateFile& file) {
    absl::StatusOr<std::string> head = file.ReadHead();
    if (!head.ok()) return head;
    std::string body;
    absl::Status status = file.CheckBody();
    if (!status.ok()) return status;
    status = file.ReadBody([&](StateReader& reader) {
      absl::StatusOr<std::string> text = reader.TakeText(1 << 20);
      if (text.ok()) body = *text;
      return text.status();
    });
    if (!status.ok()) return status;
    return absl::StrCat(*head, "|", body);
  }

  std::vector<fs::path> Files(const std::string& extension) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(directory_ / "uuid")) {
      if (entry.path().extension() == extension) files.push_back(entry.path());
    }
    return files;
  }

  fs::path directory_;
};

TEST_F(ScanStateTest, NoHeadIsSavedThatIsTooLongToBeRead) {
  const std::unique_ptr<ScanStateFile> file = Open();
  const std::string longest(kMaxHeadBytes, 'h');
  Save(*file, longest, "body");
  EXPECT_THAT(file->Save(longest + "h", [](StateWriter&) {}), StatusIs(absl::StatusCode::kOutOfRange));
  const auto head = file->ReadHead();
  ASSERT_THAT(head, IsOk());
  EXPECT_EQ(*head == longest, true);
}

TEST_F(ScanStateTest, KeepsWhatWasSavedLast) {
  EXPECT_THAT(Open()->ReadHead(), StatusIs(absl::StatusCode::kNotFound));
  Save(*Open(), "head", "body");
  EXPECT_EQ(*Read(*Open()), "head|body");
  Save(*Open(), "", std::string(3 << 20, 'x'));
  EXPECT_THAT(Read(*Open()), StatusIs(absl::StatusCode::kDataLoss));  // a text longer than asked for
  EXPECT_EQ(*Open()->ReadHead(), "");
  Open()->Discard();
  EXPECT_THAT(Open()->ReadHead(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ScanStateTest, OnlyTheOwnerMayRead) {
  Save(*Open(), "head", "body");
  struct stat stat;
  ASSERT_EQ(::stat((directory_ / "uuid").c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777, 0700U);
  ASSERT_EQ(::stat(Files(".state").at(0).c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0777, 0600U);
}

TEST_F(ScanStateTest, EveryFlippedBitIsTold) {
  Save(*Open(), "a head", "and a body");
  const fs::path path = Files(".state").at(0);
  const std::string good = Content(path);
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      std::ofstream(path, std::ios::binary) << bad;
      EXPECT_THAT(Read(*Open()), StatusIs(absl::StatusCode::kDataLoss)) << "byte " << at << ", bit " << bit;
    }
  }
  std::ofstream(path, std::ios::binary) << good;
  EXPECT_EQ(*Read(*Open()), "a head|and a body");
}

TEST_F(ScanStateTest, EveryLengthButTheRightOneIsTold) {
  Save(*Open(), "a head", "and a body");
  const fs::path path = Files(".state").at(0);
  const std::string good = Content(path);
  for (size_t size = 0; size < good.size(); ++size) {
    std::ofstream(path, std::ios::binary) << good.substr(0, size);
    EXPECT_THAT(Read(*Open()), StatusIs(absl::StatusCode::kDataLoss)) << size << " bytes";
  }
  std::ofstream(path, std::ios::binary) << good << '\0';
  EXPECT_THAT(Read(*Open()), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ScanStateTest, AnotherScansStateIsToldByItsKey) {
  Save(*Open("one"), "1", "");
  const fs::path one = Files(".state").at(0);
  Save(*Open("two"), "2", "");
  EXPECT_EQ(*Read(*Open("one")), "1|");
  EXPECT_EQ(*Read(*Open("two")), "2|");
  for (const fs::path& path : Files(".state")) {
    if (path != one) fs::copy_file(path, one, fs::copy_options::overwrite_existing);
  }
  EXPECT_THAT(Read(*Open("one")), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(ScanStateTest, OneScanAtATime) {
  std::unique_ptr<ScanStateFile> first = Open();
  EXPECT_THAT(ScanStateFile::Open(directory_, "uuid", "key"), HasReason("STATE_IN_USE"));
  EXPECT_NE(Open("another"), nullptr);
  first.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(ScanStateTest, WhatACrashLeftUnfinishedIsSweptAndWhatIsInUseStays) {
  std::unique_ptr<ScanStateFile> used = Open("used");
  Save(*used, "used", "");
  const std::string used_name = Files(".state").at(0).stem();
  Save(*Open("crashed"), "crashed", "");
  for (const fs::path& path : Files(".state")) fs::copy_file(path, fs::path(path).replace_extension(".new"));
  std::ofstream(directory_ / "uuid" / "mine.new") << "not a state";
  ASSERT_EQ(Files(".new").size(), 3U);
  Open("third");
  EXPECT_EQ(Files(".state").size(), 2U);
  std::vector<std::string> left;
  for (const fs::path& path : Files(".new")) left.push_back(path.stem());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (std::vector<std::string>{used_name, "mine"}));
}

TEST_F(ScanStateTest, StatesUsedLastAreKept) {
  for (int i = 0; i < 20; ++i) Save(*Open(absl::StrCat("scan ", i)), absl::StrCat(i), "");
  for (int i = 0; i < 4; ++i)
    EXPECT_THAT(Open(absl::StrCat("scan ", i))->ReadHead(), StatusIs(absl::StatusCode::kNotFound));
  for (int i = 4; i < 20; ++i) EXPECT_THAT(Open(absl::StrCat("scan ", i))->ReadHead(), IsOk());
}

TEST_F(ScanStateTest, AFolderThatCannotBeMadeIsAnError) {
  EXPECT_THAT(ScanStateFile::Open(directory_ / "not" / "there", "uuid", "key"), testing::HasErrno(ENOENT));
  EXPECT_THAT(MakeStateDir(directory_ / "not" / "there"), testing::HasErrno(ENOENT));
  EXPECT_THAT(MakeStateDir(directory_ / "made"), IsOk());
  std::ofstream(directory_ / "file") << "x";
  EXPECT_THAT(ScanStateFile::Open(directory_ / "file", "uuid", "key"), testing::HasErrno(ENOTDIR));
}

TEST(StateKey, TellsScansApart) {
  ScanRequest request;
  request.paths = {"a", "b"};
  const std::string key = StateKey("kind", "uuid", {5, 256}, request);
  EXPECT_EQ(StateKey("kind", "uuid", {5, 256}, request), key);
  EXPECT_NE(StateKey("kin", "duuid", {5, 256}, request), key);
  EXPECT_NE(StateKey("kind", "uuid", {6, 256}, request), key);
  EXPECT_NE(StateKey("kind", "uuid", {5, 257}, request), key);
  const auto changed = [&](auto change) {
    ScanRequest other = request;
    change(other);
    return StateKey("kind", "uuid", {5, 256}, other) != key;
  };
  EXPECT_TRUE(changed([](ScanRequest& r) { r.paths = {"ab"}; }));
  EXPECT_TRUE(changed([](ScanRequest& r) { r.paths = {"a"}, r.include = {"b"}; }));
  EXPECT_TRUE(changed([](ScanRequest& r) { r.exclude = {"*.tmp"}; }));
  EXPECT_TRUE(changed([](ScanRequest& r) { r.min_extent_length = 1; }));
  EXPECT_TRUE(changed([](ScanRequest& r) { r.min_file_size = 1; }));
  EXPECT_TRUE(changed([](ScanRequest& r) { r.min_freed_per_moved = 1; }));
  EXPECT_TRUE(changed([](ScanRequest& r) { r.max_extents_per_file = 1; }));
  // How fast, or whether to use it, is not what the state is about.
  EXPECT_FALSE(changed([](ScanRequest& r) { r.workers = 7, r.bytes_per_second = 7, r.full_scan = true; }));
}

TEST(StorageProgress, ComesBackAsItWas) {
  StorageProgress progress;
  progress.base = 7;
  progress.target = 9;
  progress.next = 1 << 20;
  progress.indexed = 12345;
  progress.open = {{4096, 5}, {8192, 0}};
  const std::string text = EncodeProgress(progress);
  const absl::StatusOr<StorageProgress> decoded = DecodeProgress(text);
  ASSERT_THAT(decoded, IsOk());
  EXPECT_EQ(decoded->base, 7U);
  EXPECT_EQ(decoded->target, 9U);
  EXPECT_EQ(decoded->next, 1U << 20);
  EXPECT_EQ(decoded->indexed, 12345U);
  EXPECT_EQ(decoded->open, progress.open);
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_THAT(DecodeProgress(text.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss));
  }
  EXPECT_THAT(DecodeProgress(text + "x"), StatusIs(absl::StatusCode::kDataLoss));
  progress.target = 6;
  EXPECT_THAT(DecodeProgress(EncodeProgress(progress)), StatusIs(absl::StatusCode::kDataLoss));
}

class StorageStateTest : public ScanStateTest {
 protected:
  static constexpr uint64_t kMuch = uint64_t{1} << 50;  // bytes in use
};

TEST_F(StorageStateTest, AnchorsComeBackIntoALargerOrSmallerTable) {
  AnchorTable saved(8 << 20);
  uint64_t key = 1;
  for (uint64_t i = 0; i < 200000; ++i) {
    key = key * 6364136223846793005 + 1442695040888963407;
    saved.FindOrInsert(key, i);
  }
  StorageProgress progress;
  progress.target = 5;
  const std::unique_ptr<ScanStateFile> file = Open();
  StorageState(file.get(), saved, std::chrono::minutes(1)).Save(progress);
  for (size_t budget : {1 << 20, 8 << 20, 64 << 20}) {
    AnchorTable loaded(budget);
    StorageState state(file.get(), loaded, std::chrono::minutes(1));
    EXPECT_EQ(state.Load(5, kMuch).target, 5U);
    ASSERT_TRUE(state.LoadAnchors());
    EXPECT_LE(loaded.bytes(), std::max<size_t>(budget, 1 << 20));
    EXPECT_GE(loaded.sampling(), saved.sampling());
    size_t expected = 0;
    saved.ForEach([&](uint64_t k, uint64_t value) {
      if ((k & ((uint64_t{1} << loaded.sampling()) - 1)) != 0) return;
      ++expected;
      EXPECT_EQ(loaded.FindOrInsert(k, 0), value);
    });
    EXPECT_EQ(loaded.entries(), expected);
  }
}

TEST_F(StorageStateTest, OfALaterGenerationIsNotTrusted) {
  AnchorTable anchors(1 << 20);
  StorageProgress progress;
  progress.target = 100;
  const std::unique_ptr<ScanStateFile> file = Open();
  StorageState state(file.get(), anchors, std::chrono::minutes(1));
  state.Save(progress);
  EXPECT_EQ(state.Load(100, kMuch).target, 100U);
  EXPECT_EQ(state.Load(99, kMuch).target, 0U);
  EXPECT_TRUE(Files(".state").empty());
}

TEST_F(StorageStateTest, OfMuchMoreThanIsInUseIsBegunAnew) {
  AnchorTable anchors(1 << 20);
  StorageProgress progress;
  progress.target = 100;
  progress.indexed = 2000;
  const std::unique_ptr<ScanStateFile> file = Open();
  StorageState state(file.get(), anchors, std::chrono::minutes(1));
  state.Save(progress);
  EXPECT_EQ(state.Load(100, 1000).target, 100U);
  EXPECT_EQ(state.Load(100, 999).target, 0U);
  EXPECT_TRUE(Files(".state").empty());
}

TEST_F(StorageStateTest, TornAnchorsAreNotTrusted) {
  AnchorTable anchors(1 << 20);
  anchors.Put(77, 1);
  StorageProgress progress;
  progress.target = 1;
  StorageState(Open().get(), anchors, std::chrono::minutes(1)).Save(progress);
  const fs::path path = Files(".state").at(0);
  std::string text = Content(path);
  text.back() = static_cast<char>(text.back() ^ 1);
  std::ofstream(path, std::ios::binary) << text;
  AnchorTable loaded(1 << 20);
  const std::unique_ptr<ScanStateFile> file = Open();
  StorageState state(file.get(), loaded, std::chrono::minutes(1));
  EXPECT_EQ(state.Load(1, kMuch).target, 1U);
  EXPECT_FALSE(state.LoadAnchors());
  EXPECT_EQ(loaded.entries(), 0U);
  EXPECT_TRUE(Files(".state").empty());
}

TEST_F(StorageStateTest, CheckpointsKeepTheirDistance) {
  AnchorTable anchors(1 << 20);
  const std::unique_ptr<ScanStateFile> file = Open();
  StorageState state(file.get(), anchors, std::chrono::minutes(1));
  const auto now = std::chrono::steady_clock::now();
  EXPECT_FALSE(state.CheckpointDue(now));
  EXPECT_TRUE(state.CheckpointDue(now + std::chrono::minutes(1)));
  state.Save({});
  EXPECT_FALSE(state.CheckpointDue(now + std::chrono::seconds(59)));
  EXPECT_FALSE(
      StorageState(nullptr, anchors, std::chrono::minutes(1)).CheckpointDue(now + std::chrono::hours(1)));
}

}  // namespace
}  // namespace cowherd
