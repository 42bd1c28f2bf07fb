#include "server/controller/store_pulse.h"

#include <gtest/gtest.h>

namespace cowherd {
namespace {

constexpr absl::Duration kPatience = StorePulse::kPatience;
constexpr absl::Duration kMemory = StorePulse::kMemory;
constexpr absl::Duration kInstant = absl::Nanoseconds(1);
const absl::Status kDown = absl::UnavailableError("down");

TEST(StorePulse, HangsWhileAnOperationTakesTooLong) {
  StorePulse pulse;
  EXPECT_FALSE(pulse.Hangs(absl::Hours(1)));
  const uint64_t slow = pulse.Begin(absl::Seconds(100));
  const absl::Duration late = absl::Seconds(100) + kPatience;
  EXPECT_FALSE(pulse.Hangs(late - kInstant));
  EXPECT_TRUE(pulse.Hangs(late));
  // Others that go well beside it do not help those that wait for it.
  pulse.End(pulse.Begin(late));
  EXPECT_TRUE(pulse.Hangs(late));
  pulse.End(slow);
  EXPECT_FALSE(pulse.Hangs(late));
}

TEST(StorePulse, FailsUntilAWriteWorks) {
  StorePulse pulse;
  EXPECT_FALSE(pulse.Fails(absl::Hours(1)));
  pulse.Wrote(kDown, absl::Seconds(100));
  pulse.Wrote(kDown, absl::Seconds(103));
  EXPECT_FALSE(pulse.Fails(absl::Seconds(100) + kPatience - kInstant));
  EXPECT_TRUE(pulse.Fails(absl::Seconds(100) + kPatience));
  pulse.Wrote(absl::OkStatus(), absl::Seconds(106));
  EXPECT_FALSE(pulse.Fails(absl::Seconds(106)));
}

TEST(StorePulse, WhatIsNotTriedAnyMoreSaysNothing) {
  StorePulse pulse;
  pulse.Wrote(kDown, absl::Seconds(100));
  pulse.Wrote(kDown, absl::Seconds(107));
  EXPECT_TRUE(pulse.Fails(absl::Seconds(107) + kMemory - kInstant));
  EXPECT_FALSE(pulse.Fails(absl::Seconds(107) + kMemory));
}

TEST(StorePulse, AnAnswerIsNoFailure) {
  for (const absl::Status& answer :
       {absl::NotFoundError(""), absl::AlreadyExistsError(""), absl::InvalidArgumentError("")}) {
    StorePulse pulse;
    pulse.Wrote(answer, absl::Seconds(100));
    EXPECT_FALSE(pulse.Fails(absl::Seconds(100) + kPatience)) << answer;
  }
}

}  // namespace
}  // namespace cowherd
