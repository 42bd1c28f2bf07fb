#include "server/dedupe/totals_book.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace cowherd {
namespace {

TEST(TotalsBookTest, RunningAndEndedWorkCounts) {
  TotalsBook book;
  EXPECT_TRUE(book.Sums().empty());
  auto first = book.Open("data");
  auto second = book.Open("data");
  auto other = book.Open("more");
  first->Update([](Totals& t) { t.bytes_requested = 10; });
  second->Update([](Totals& t) { t.bytes_requested = 5; });
  other->Update([](Totals& t) { t.bytes_won = -3; });
  EXPECT_EQ(book.Sums()["data"].bytes_requested, 15U);
  EXPECT_EQ(book.Sums()["more"].bytes_won, -3);
  first.reset();
  EXPECT_EQ(book.Sums()["data"].bytes_requested, 15U);
  second->Update([](Totals& t) { t.bytes_requested += 1; });
  second.reset();
  book.Open("data")->Update([](Totals& t) { t.bytes_requested = 100; });
  EXPECT_EQ(book.Sums()["data"].bytes_requested, 116U);
}

TEST(TotalsBookTest, EveryFieldIsSummed) {
  TotalsBook book;
  Totals once;
  uint64_t n = 0;
  for (const TotalsCounter& counter : TotalsCounters()) once.*counter.value = ++n;
  once.bytes_won = -10;
  for (int round = 0; round < 2; ++round) {
    book.Open("data")->Update([&](Totals& t) { t = once; });
  }
  EXPECT_EQ(book.Sums()["data"], once + once);
}

TEST(TotalsBookTest, SumsNeverShrinkWhileWorkComesAndGoes) {
  TotalsBook book;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 200; ++j) book.Open("data")->Update([](Totals& t) { ++t.files_scanned; });
    });
  }
  uint64_t seen = 0;
  while (seen < 800) {
    const uint64_t now = book.Sums()["data"].files_scanned;
    ASSERT_GE(now, seen);
    seen = now;
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace cowherd
