#include "server/scan/share_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "server/scan/cached_ranges.h"

namespace cowherd {
namespace {

using Kind = ShareQueue::Step::Kind;

constexpr uint64_t kMiB = 1 << 20;

// `source` and `destination` are inodes and, in MiB, places in storage.
Share Make(uint64_t source, uint64_t destination, uint64_t length = kMiB) {
  return {{{5, source}, 0}, {{5, destination}, 0}, length, destination * kMiB, source * kMiB};
}

std::shared_ptr<const OpenFile> AFile() {
  return std::make_shared<const OpenFile>(OpenFile{Fd(::open("/dev/null", O_RDONLY)), {}});
}

std::vector<ShareQueue::Step> TakeAll(ShareQueue& queue, bool brought_in = false) {
  const std::shared_ptr<const OpenFile> file = AFile();
  std::vector<ShareQueue::Step> steps;
  while (true) {
    const ShareQueue::Step step = queue.Next();
    if (step.kind == Kind::kEnd) return steps;
    for (size_t i = 0; step.kind == Kind::kBegin && i < step.count; ++i)
      queue.Begun(step.index + i, file, 0, brought_in ? 0 : queue.range(step.index + i).length);
    if (step.kind == Kind::kAwait) queue.Arrived(step.index);
    steps.push_back(step);
  }
}

TEST(ShareQueueTest, NothingEndsAtOnce) {
  ShareQueue queue({});
  EXPECT_EQ(queue.Next().kind, Kind::kEnd);
}

TEST(ShareQueueTest, RangesAreReadOnceInTheOrderOfStorage) {
  ShareQueue queue(GroupShares({Make(7, 3), Make(7, 1, kMiB), Make(2, 9)}));
  std::vector<uint64_t> read;
  for (const ShareQueue::Step& step : TakeAll(queue)) {
    if (step.kind == Kind::kBegin) read.push_back(queue.range(step.index).storage / kMiB);
  }
  EXPECT_EQ(read, (std::vector<uint64_t>{1, 2, 3, 7, 9}));
}

// Of large ranges; small ones would take the disk to and fro.
TEST(ShareQueueTest, WindowsAreReadOneAfterTheOther) {
  for (const uint64_t length : {16 * kMiB, kMiB / 2}) {
    std::vector<Share> shares;
    for (uint64_t i = 0; i < 64; ++i) shares.push_back(Make(100 * i, 100 * (100 + i), length));
    ShareQueue queue(GroupShares(shares));
    std::vector<uint64_t> read;
    for (const ShareQueue::Step& step : TakeAll(queue)) {
      if (step.kind == Kind::kBegin) read.push_back(queue.range(step.index).storage / kMiB / 100);
    }
    ASSERT_EQ(read.size(), 128u);
    if (length == 16 * kMiB) {
      EXPECT_EQ((std::vector<uint64_t>(read.begin(), read.begin() + 6)),
                (std::vector<uint64_t>{0, 100, 1, 101, 2, 102}));
    } else {
      EXPECT_TRUE(std::is_sorted(read.begin(), read.end()));
    }
  }
}

TEST(ShareQueueTest, AGroupIsSharedOnceAndWhenAllOfItIsRead) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < 300; ++i) shares.push_back(Make(i * 7 % 300, 300 + i * 11 % 300, 4096));
  ShareQueue queue(GroupShares(shares));
  std::set<size_t> begun;
  std::set<size_t> read;
  std::set<size_t> shared;
  for (const ShareQueue::Step& step : TakeAll(queue)) {
    if (step.kind == Kind::kBegin) {
      EXPECT_TRUE(begun.insert(step.index).second);
      continue;
    }
    if (step.kind == Kind::kAwait) {
      EXPECT_EQ(begun.count(step.index), 1u);
      EXPECT_TRUE(read.insert(step.index).second);
      continue;
    }
    EXPECT_TRUE(shared.insert(step.index).second);
    EXPECT_EQ(queue.RangesOf(step.index).size(), queue.group(step.index).places.size() + 1);
    for (const size_t range : queue.RangesOf(step.index)) EXPECT_EQ(read.count(range), 1u);
  }
  EXPECT_EQ(shared.size(), 300u);
  EXPECT_EQ(read.size(), 600u);
}

TEST(ShareQueueTest, WhatAnotherWorkerBeginsIsNotReady) {
  ShareQueue queue(GroupShares({Make(1, 2, 4096)}));
  const ShareQueue::Step first = queue.Next();
  const ShareQueue::Step second = queue.Next();
  queue.Begun(first.index, AFile(), 4096, 0);
  ShareQueue::Step third;
  std::thread other([&] { third = queue.Next(); });
  queue.Begun(second.index, nullptr, 0, 0);
  other.join();
  EXPECT_EQ(third.kind, Kind::kShare);
  EXPECT_EQ(queue.FileOf(second.index), nullptr);
  EXPECT_EQ(queue.Next().kind, Kind::kEnd);
}

TEST(ShareQueueTest, OneLongRangeIsBegunAtATime) {
  ShareQueue queue(GroupShares({Make(1, 2), Make(3, 4)}));
  for (int i = 0; i < 2; ++i) queue.Begun(queue.Next().index, AFile(), kMiB, 0);
  const ShareQueue::Step third = queue.Next();
  EXPECT_EQ(third.kind, Kind::kBegin);
  EXPECT_EQ(queue.Next().kind, Kind::kShare);
  ShareQueue::Step fourth;
  std::thread other([&] { fourth = queue.Next(); });
  queue.Begun(third.index, AFile(), kMiB, 0);
  other.join();
  EXPECT_EQ(fourth.kind, Kind::kBegin);
  EXPECT_EQ(queue.range(fourth.index).storage, 4 * kMiB);
}

TEST(ShareQueueTest, OneWorkerWaitsAndAnotherShares) {
  ShareQueue queue(GroupShares({Make(1, 2, 4096), Make(3, 4, 4096)}));
  // What is cached is not waited for.
  for (int i = 0; i < 2; ++i) queue.Begun(queue.Next().index, AFile(), 4096, 0);
  for (int i = 0; i < 2; ++i) queue.Begun(queue.Next().index, AFile(), 1024, 0);
  const ShareQueue::Step await = queue.Next();
  EXPECT_EQ(await.kind, Kind::kAwait);
  EXPECT_EQ(queue.range(await.index).storage, 3 * kMiB);
  EXPECT_EQ(queue.ReadOf(await.index), 1024u);
  EXPECT_EQ(queue.Next().kind, Kind::kShare);
  ShareQueue::Step next;
  std::thread other([&] { next = queue.Next(); });
  queue.Arrived(await.index);
  other.join();
  EXPECT_EQ(next.kind, Kind::kAwait);
  EXPECT_EQ(queue.range(next.index).storage, 4 * kMiB);
}

TEST(ShareQueueTest, ManyWorkersShareEachGroupOnce) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < 1000; ++i)
    shares.push_back(Make(i * 7 % 1000, 1000 + i, i % 3 == 0 ? kMiB : 4096));
  ShareQueue queue(GroupShares(shares));
  constexpr size_t kThreads = 64;
  std::vector<std::vector<ShareQueue::Step>> steps(kThreads);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (std::vector<ShareQueue::Step>& of_thread : steps) {
    threads.emplace_back([&] { of_thread = TakeAll(queue); });
  }
  for (std::thread& thread : threads) thread.join();
  std::multiset<size_t> shared;
  for (const std::vector<ShareQueue::Step>& of_thread : steps) {
    for (const ShareQueue::Step& step : of_thread) {
      if (step.kind == Kind::kShare) shared.insert(step.index);
    }
  }
  EXPECT_EQ(shared.size(), 1000u);
  EXPECT_EQ(std::set<size_t>(shared.begin(), shared.end()).size(), 1000u);
}

TEST(ShareQueueTest, WhatIsBegunAheadIsBounded) {
  const std::pair<uint64_t, size_t> cases[] = {{4096, 128}, {kMiB, 8}, {16 * kMiB, 2}};
  for (const auto& [length, most] : cases) {
    std::vector<Share> shares;
    for (uint64_t i = 0; i < 100; ++i) shares.push_back(Make(100 * i, 100 * i + 50, length));
    ShareQueue queue(GroupShares(shares));
    size_t begun = 0;
    size_t begun_most = 0;
    for (const ShareQueue::Step& step : TakeAll(queue)) {
      if (step.kind == Kind::kBegin) begun_most = std::max(begun_most, ++begun);
      if (step.kind == Kind::kAwait) --begun;
    }
    EXPECT_EQ(begun, 0u);
    EXPECT_EQ(begun_most, most) << length;
  }
}

TEST(ShareQueueTest, WhatIsReadAheadIsBounded) {
  std::vector<Share> shares;
  for (uint64_t i = 0; i < 200; ++i) shares.push_back(Make(2 * i, 2 * i + 1));
  ShareQueue queue(GroupShares(shares));
  uint64_t ready = 0;
  uint64_t most = 0;
  for (const ShareQueue::Step& step : TakeAll(queue)) {
    if (step.kind == Kind::kAwait) ready += kMiB;
    if (step.kind == Kind::kShare) ready -= 2 * kMiB;
    most = std::max(most, ready);
  }
  EXPECT_EQ(ready, 0u);
  EXPECT_GE(most, 64 * kMiB);
  EXPECT_LE(most, 66 * kMiB);
}

TEST(ShareQueueTest, OfWhatIsMovedTheFirstPlaceIsRead) {
  ShareQueue queue({{{Make(0, 4), Make(0, 5)}, /*move=*/true}});
  const std::vector<ShareQueue::Step> steps = TakeAll(queue);
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(queue.range(steps[0].index).file.inode, 4u);
  EXPECT_EQ(steps[2].kind, Kind::kShare);
  EXPECT_EQ(queue.RangesOf(steps[2].index).size(), 1u);
}

// How many ranges are begun at once, of these in one file: where they begin and how long they are.
std::vector<size_t> CountsOf(const std::vector<std::pair<uint64_t, uint64_t>>& ranges,
                             uint64_t together = UINT64_MAX) {
  std::vector<ShareGroup> groups;
  for (const auto& [offset, length] : ranges) {
    groups.push_back({{{{}, {{5, 1}, offset}, length, offset}}, /*move=*/true});
  }
  ShareQueue queue(groups, together);
  std::vector<size_t> counts;
  for (ShareQueue::Step step = queue.Next(); step.kind == Kind::kBegin; step = queue.Next()) {
    counts.push_back(step.count);
    // Cached.
    for (size_t i = 0; i < step.count; ++i)
      queue.Begun(step.index + i, AFile(), queue.range(step.index + i).length, 0);
  }
  return counts;
}

TEST(ShareQueueTest, ShortRangesThatFollowEachOtherAreBegunTogether) {
  constexpr uint64_t kKiB = 1024;
  using Counts = std::vector<size_t>;
  EXPECT_EQ(CountsOf({{0, 4 * kKiB}, {4 * kKiB, 64 * kKiB}, {68 * kKiB, 4 * kKiB}}), (Counts{3}));
  // A gap.
  EXPECT_EQ(CountsOf({{0, 4 * kKiB}, {8 * kKiB, 4 * kKiB}, {12 * kKiB, 4 * kKiB}}), (Counts{1, 2}));
  // A long one.
  EXPECT_EQ(CountsOf({{0, 4 * kKiB}, {4 * kKiB, 256 * kKiB}, {260 * kKiB, 4 * kKiB}, {264 * kKiB, 4 * kKiB}}),
            (Counts{1, 1, 2}));
  std::vector<std::pair<uint64_t, uint64_t>> many;
  for (uint64_t i = 0; i < 40; ++i) many.emplace_back(i * 64 * kKiB, 64 * kKiB);
  EXPECT_EQ(CountsOf(many), (Counts{16, 16, 8}));
  EXPECT_EQ(CountsOf({many.begin(), many.begin() + 5}, 128 * kKiB), (Counts{2, 2, 1}));
}

TEST(ShareQueueTest, RangesOfOtherFilesAreBegunAlone) {
  std::vector<ShareGroup> groups;
  for (uint64_t i = 0; i < 2; ++i) {
    groups.push_back({{{{}, {{5, i}, i * 4096}, 4096, i * 4096}}, /*move=*/true});
  }
  ShareQueue queue(groups);
  EXPECT_EQ(queue.Next().count, 1u);
}

TEST(ShareQueueTest, AGroupIsLetGoWhenItIsDone) {
  ShareQueue queue(GroupShares({Make(1, 2), Make(3, 4)}));
  for (const ShareQueue::Step& step : TakeAll(queue, /*brought_in=*/true)) {
    if (step.kind == Kind::kShare) {
      EXPECT_EQ(queue.Done(step.index).size(), 2u);
    }
  }
  EXPECT_TRUE(queue.AllDone().empty());
}

TEST(ShareQueueTest, SourcesThatOverlapAreLetGoAtTheEnd) {
  ShareQueue queue(GroupShares({Make(1, 2), Make(1, 3, 2 * kMiB)}));
  std::vector<size_t> groups;
  for (const ShareQueue::Step& step : TakeAll(queue, /*brought_in=*/true)) {
    if (step.kind == Kind::kShare) groups.push_back(step.index);
  }
  ASSERT_EQ(groups.size(), 2u);
  const auto place = queue.FileOf(queue.RangesOf(groups[0])[1]);
  ASSERT_NE(place, nullptr);
  const std::vector<CachedRange> first = queue.Done(groups[0]);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].file, place);
  EXPECT_EQ(first[0].length, queue.group(groups[0]).length());
  EXPECT_EQ(queue.FileOf(queue.RangesOf(groups[0])[1]), nullptr);
  EXPECT_NE(queue.FileOf(queue.RangesOf(groups[0])[0]), nullptr);
  EXPECT_EQ(queue.Done(groups[1]).size(), 1u);
  EXPECT_EQ(queue.AllDone().size(), 2u);
  EXPECT_TRUE(queue.AllDone().empty());
}

// A source overlaps one that was brought in: what is cached of it is no one else's.
TEST(ShareQueueTest, WhatOtherRangesBroughtInWasNotThereBefore) {
  constexpr uint64_t kLength = 100 * 4096;
  const auto let_go = [](uint64_t offset, uint64_t cached, bool first_is_brought_in) {
    Share first = Make(1, 2, kLength);
    Share second = Make(1, 3, kLength);
    second.source.offset = offset;
    second.source_storage += offset;
    ShareQueue queue(GroupShares({first, second}));
    std::vector<uint64_t> offsets;
    for (ShareQueue::Step step = queue.Next(); step.kind == Kind::kBegin; step = queue.Next()) {
      const ShareQueue::Range& range = queue.range(step.index);
      uint64_t before = kLength;
      if (range.file.inode == 1) before = range.offset > 0 ? cached : first_is_brought_in ? 0 : kLength;
      queue.Begun(step.index, AFile(), kLength, before);
    }
    for (const CachedRange& range : queue.AllDone()) offsets.push_back(range.offset / 4096);
    return offsets;
  };
  using Offsets = std::vector<uint64_t>;
  EXPECT_EQ(let_go(20 * 4096, kLength, true), (Offsets{0, 20}));
  EXPECT_EQ(let_go(80 * 4096, kLength, true), (Offsets{0}));
  EXPECT_EQ(let_go(80 * 4096, 20 * 4096, true), (Offsets{0, 80}));
  EXPECT_EQ(let_go(20 * 4096, kLength, false), (Offsets{}));
  EXPECT_EQ(let_go(20 * 4096, 0, false), (Offsets{20}));
}

TEST(ShareQueueTest, WhatWasCachedBeforeStays) {
  ShareQueue queue(GroupShares({Make(1, 2)}));
  for (const ShareQueue::Step& step : TakeAll(queue)) {
    if (step.kind == Kind::kShare) {
      EXPECT_TRUE(queue.Done(step.index).empty());
    }
  }
  EXPECT_TRUE(queue.AllDone().empty());
}

}  // namespace
}  // namespace cowherd
