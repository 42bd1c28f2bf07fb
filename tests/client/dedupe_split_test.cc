#include "client/dedupe_split.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kMiB = 1 << 20;

v1::DedupeRangesRequest Whole(uint64_t length, int destinations) {
  v1::DedupeRangesRequest request;
  request.mutable_source()->set_path("/s");
  request.mutable_source()->set_offset(4096);
  request.set_length(length);
  request.set_measure_shared(true);
  for (int i = 0; i < destinations; ++i) {
    v1::FilePosition* destination = request.add_destinations();
    destination->set_path(absl::StrCat("/d", i));
    destination->set_offset(8192);
  }
  return request;
}

v1::DedupeRangesResponse AllSame(const v1::DedupeRangesRequest& part) {
  v1::DedupeRangesResponse answer;
  for (int i = 0; i < part.destinations_size(); ++i) {
    v1::DestinationResult* result = answer.add_results();
    result->set_outcome(v1::DEDUPED);
    result->set_bytes_accepted(part.length());
    result->set_bytes_shared(part.length() / 2);
  }
  return answer;
}

TEST(DedupeSplit, AShortRequestIsOnePart) {
  const v1::DedupeRangesRequest whole = Whole(64 * kMiB, 4);
  DedupeSplit split(whole);
  v1::DedupeRangesRequest part;
  ASSERT_TRUE(split.Next(&part));
  EXPECT_EQ(part.SerializeAsString(), whole.SerializeAsString());
  ASSERT_TRUE(split.Add(AllSame(part)).ok());
  EXPECT_FALSE(split.Next(&part));
}

TEST(DedupeSplit, PartsCoverTheRangeWithoutGapOrOverlap) {
  const struct {
    uint64_t length;
    int destinations;
    uint64_t max_bytes_per_call;
    uint64_t part;
    size_t parts;
  } kCases[] = {{600 * kMiB, 1, 0, 256 * kMiB, 3},
                {600 * kMiB, 4, 0, 64 * kMiB, 10},
                // Never less than a comparison.
                {100 * kMiB, 1024, 0, 16 * kMiB, 7},
                {2048 * kMiB, 1, 1024 * kMiB, 1024 * kMiB, 2},
                // Whole comparisons, which start on whole blocks.
                {600 * kMiB, 1, 100 * kMiB, 200 * kMiB, 3},
                {300 * kMiB + 5, 1, 200'000, 256 * kMiB - 65536, 2}};
  for (const auto& c : kCases) {
    v1::DedupeRangesRequest whole = Whole(c.length, c.destinations);
    whole.set_max_bytes_per_call(c.max_bytes_per_call);
    DedupeSplit split(whole);
    v1::DedupeRangesRequest part;
    uint64_t done = 0;
    size_t parts = 0;
    while (split.Next(&part)) {
      EXPECT_EQ(part.source().offset(), 4096 + done);
      ASSERT_EQ(part.destinations_size(), c.destinations);
      EXPECT_EQ(part.destinations(c.destinations - 1).offset(), 8192 + done);
      EXPECT_EQ(part.max_bytes_per_call(), c.max_bytes_per_call);
      EXPECT_TRUE(part.measure_shared());
      const bool last = done + part.length() == c.length;
      EXPECT_TRUE(last || part.length() == c.part) << c.length;
      ASSERT_TRUE(split.Add(AllSame(part)).ok());
      done += part.length();
      ++parts;
      EXPECT_EQ(split.bytes_done(), done * static_cast<uint64_t>(c.destinations));
    }
    EXPECT_EQ(done, c.length);
    EXPECT_EQ(parts, c.parts) << c.length << " to " << c.destinations;
    const v1::DedupeRangesResponse result = split.Result();
    EXPECT_EQ(result.bytes_accepted(), c.length * static_cast<uint64_t>(c.destinations));
    EXPECT_EQ(result.bytes_requested(), result.bytes_accepted());
    for (int i = 0; i < c.destinations; ++i) {
      EXPECT_EQ(result.results(i).outcome(), v1::DEDUPED);
      EXPECT_EQ(result.results(i).destination().offset(), 8192u);
      EXPECT_EQ(result.results(i).bytes_accepted(), c.length);
    }
  }
}

TEST(DedupeSplit, ADestinationThatEndedIsLeftOutAndKeepsItsResult) {
  v1::DedupeRangesRequest whole = Whole(3 * kMiB, 3);
  whole.set_max_bytes_per_call(kMiB);
  DedupeSplit parts(whole, /*part_bytes=*/3 * kMiB);
  v1::DedupeRangesRequest part;

  ASSERT_TRUE(parts.Next(&part));
  ASSERT_EQ(part.length(), kMiB);
  v1::DedupeRangesResponse answer = AllSame(part);
  answer.mutable_results(1)->set_outcome(v1::DATA_DIFFERS);
  answer.mutable_results(1)->set_bytes_accepted(4096);
  answer.mutable_results(1)->set_bytes_shared(4096);
  ASSERT_TRUE(parts.Add(answer).ok());
  EXPECT_EQ(parts.bytes_done(), 5 * kMiB);  // two of 1 MiB, and all 3 MiB of the one that ended

  ASSERT_TRUE(parts.Next(&part));
  ASSERT_EQ(part.destinations_size(), 2);
  EXPECT_EQ(part.destinations(0).path(), "/d0");
  EXPECT_EQ(part.destinations(1).path(), "/d2");
  answer = AllSame(part);
  answer.mutable_results(1)->set_outcome(v1::FAILED);
  answer.mutable_results(1)->set_bytes_accepted(0);
  answer.mutable_results(1)->set_bytes_shared(0);
  answer.mutable_results(1)->mutable_error()->set_reason("EIO");
  answer.mutable_results(1)->mutable_error()->set_field("destinations[1].path");
  ASSERT_TRUE(parts.Add(answer).ok());

  ASSERT_TRUE(parts.Next(&part));
  ASSERT_EQ(part.destinations_size(), 1);
  EXPECT_EQ(part.source().offset(), 4096 + 2 * kMiB);
  ASSERT_TRUE(parts.Add(AllSame(part)).ok());
  EXPECT_FALSE(parts.Next(&part));

  const v1::DedupeRangesResponse result = parts.Result();
  EXPECT_EQ(result.results(0).outcome(), v1::DEDUPED);
  EXPECT_EQ(result.results(0).bytes_accepted(), 3 * kMiB);
  EXPECT_EQ(result.results(1).outcome(), v1::DATA_DIFFERS);
  EXPECT_EQ(result.results(1).bytes_accepted(), 4096u);
  EXPECT_FALSE(result.results(1).has_error());
  EXPECT_EQ(result.results(2).outcome(), v1::FAILED);
  EXPECT_EQ(result.results(2).bytes_accepted(), kMiB);
  EXPECT_EQ(result.results(2).error().reason(), "EIO");
  EXPECT_EQ(result.results(2).error().field(), "destinations[2].path");
  EXPECT_EQ(result.bytes_requested(), 9 * kMiB);
  EXPECT_EQ(result.bytes_accepted(), 4 * kMiB + 4096);
  EXPECT_EQ(result.bytes_shared(), 2 * kMiB + 4096);
}

TEST(DedupeSplit, NothingLeftEndsEarly) {
  v1::DedupeRangesRequest whole = Whole(600 * kMiB, 1);
  DedupeSplit split(whole);
  v1::DedupeRangesRequest part;
  ASSERT_TRUE(split.Next(&part));
  v1::DedupeRangesResponse answer = AllSame(part);
  answer.mutable_results(0)->set_outcome(v1::STOPPED);
  ASSERT_TRUE(split.Add(answer).ok());
  EXPECT_FALSE(split.Next(&part));
  EXPECT_EQ(split.bytes_done(), split.bytes_total());
}

TEST(DedupeSplit, APartThatWasNotTriedEndsItsDestinations) {
  const struct {
    absl::Status status;
    v1::DedupeOutcome outcome;
  } kCases[] = {{FieldError("source.path", "gone"), v1::FAILED},
                {ErrnoError(EIO, "open"), v1::FAILED},
                {absl::UnavailableError("lost"), v1::STOPPED},
                {absl::DeadlineExceededError("late"), v1::STOPPED},
                {absl::CancelledError("cancelled"), v1::STOPPED}};
  for (const auto& c : kCases) {
    DedupeSplit split(Whole(600 * kMiB, 1));
    v1::DedupeRangesRequest part;
    ASSERT_TRUE(split.Next(&part));
    EXPECT_FALSE(split.answered());
    ASSERT_TRUE(split.Add(AllSame(part)).ok());
    EXPECT_TRUE(split.answered());
    ASSERT_TRUE(split.Next(&part));
    split.Fail(c.status);
    EXPECT_FALSE(split.Next(&part));
    const v1::DestinationResult result = split.Result().results(0);
    EXPECT_EQ(result.outcome(), c.outcome) << c.status;
    EXPECT_EQ(result.bytes_accepted(), 256 * kMiB);
    EXPECT_EQ(result.error().message(), c.status.message());
  }
}

TEST(DedupeSplit, AnAnswerOfTheWrongShapeIsAnError) {
  DedupeSplit split(Whole(600 * kMiB, 2));
  v1::DedupeRangesRequest part;
  ASSERT_TRUE(split.Next(&part));
  v1::DedupeRangesResponse answer = AllSame(part);
  answer.add_results();
  EXPECT_EQ(ReasonOf(split.Add(answer)), "BAD_ANSWER");
  EXPECT_FALSE(split.answered());
  EXPECT_EQ(split.Result().bytes_accepted(), 0u);
}

}  // namespace
}  // namespace cowherd
