#include "server/scan/recent_fingerprints.h"

#include <gtest/gtest.h>

#include <vector>

namespace cowherd {
namespace {

TEST(RecentFingerprintsTest, KeepsThoseUsedLastWithinTheBudget) {
  constexpr size_t kBudget = 64 << 10;
  RecentFingerprints sections(kBudget);
  for (uint64_t i = 0; i < 100; ++i) {
    sections.Keep(i, std::vector<uint64_t>(100, i));
    ASSERT_NE(sections.Find(0), nullptr) << "used again and again";
    EXPECT_LE(sections.bytes(), kBudget);
  }
  ASSERT_NE(sections.Find(99), nullptr);
  EXPECT_EQ(sections.Find(99)->front(), 99u);
  EXPECT_EQ(sections.Find(1), nullptr);
}

TEST(RecentFingerprintsTest, TheNewestStaysWhateverItsSize) {
  RecentFingerprints sections(1000);
  sections.Keep(1, std::vector<uint64_t>(10, 1));
  sections.Keep(2, std::vector<uint64_t>(1000, 2));
  EXPECT_EQ(sections.Find(1), nullptr);
  EXPECT_NE(sections.Find(2), nullptr);
}

TEST(RecentFingerprintsTest, WhatIsForgottenMayBeKeptAnew) {
  RecentFingerprints sections(1 << 20);
  for (uint64_t i = 0; i < 10; ++i) sections.Keep(i, std::vector<uint64_t>(10, i));
  const size_t bytes = sections.bytes();
  sections.Forget([](uint64_t address) { return address % 2 == 0; });
  EXPECT_EQ(sections.bytes(), bytes / 2);
  for (uint64_t i = 0; i < 10; ++i) EXPECT_EQ(sections.Find(i) != nullptr, i % 2 == 1) << i;
  sections.Keep(0, {77});
  ASSERT_NE(sections.Find(0), nullptr);
  EXPECT_EQ(sections.Find(0)->front(), 77u);
}

}  // namespace
}  // namespace cowherd
