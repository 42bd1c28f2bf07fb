#include "server/dedupe/request.h"

#include <functional>
#include <limits>
#include <string>

#include "server/fs/extent_ops.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasField;
using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();

class RequestTest : public ::testing::Test {
 protected:
  RequestTest() {
    request_.mutable_source()->set_path("/data/a");
    request_.mutable_source()->set_offset(4096);
    request_.set_length(8192);
    request_.add_destinations()->set_path("/data/\xff\xfe");
    request_.mutable_destinations(0)->set_offset(12288);
  }

  absl::StatusOr<DedupeRequest> Check() { return CheckRequest(request_, roots_); }

  const RootTable roots_ = *RootTable::Parse({"data=/data"});
  v1::DedupeRangesRequest request_;
};

TEST_F(RequestTest, Good) {
  const absl::StatusOr<DedupeRequest> checked = Check();
  ASSERT_THAT(checked, IsOk());
  EXPECT_EQ(checked->source.path.relative, "a");
  EXPECT_EQ(checked->source.path.root->name, "data");
  EXPECT_EQ(checked->source.offset, 4096U);
  EXPECT_EQ(checked->length, 8192U);
  ASSERT_EQ(checked->destinations.size(), 1U);
  EXPECT_EQ(checked->destinations[0].path.relative, "\xff\xfe");
  EXPECT_EQ(checked->destinations[0].offset, 12288U);
  EXPECT_EQ(checked->max_bytes_per_call, uint64_t{16} << 20);
  EXPECT_FALSE(checked->measure_shared);
}

TEST_F(RequestTest, EachFaultNamesItsField) {
  struct Case {
    const char* field;
    std::function<void(v1::DedupeRangesRequest&)> spoil;
  };
  const Case cases[] = {
      {"length", [](auto& r) { r.set_length(0); }},
      {"source", [](auto& r) { r.clear_source(); }},
      {"source.path", [](auto& r) { r.mutable_source()->set_path(""); }},
      {"source.path", [](auto& r) { r.mutable_source()->set_path("data/a"); }},
      {"source.path", [](auto& r) { r.mutable_source()->set_path("/data/../etc/passwd"); }},
      {"source.path", [](auto& r) { r.mutable_source()->set_path(std::string("/data/a\0b", 9)); }},
      {"source.offset", [](auto& r) { r.mutable_source()->set_offset(kMaxOffset - 8191); }},
      {"source.offset", [](auto& r) { r.mutable_source()->set_offset(UINT64_MAX); }},
      {"source.offset", [](auto& r) { r.set_length(UINT64_MAX); }},
      {"destinations", [](auto& r) { r.clear_destinations(); }},
      {"destinations",
       [](auto& r) {
         while (r.destinations_size() < 1025) *r.add_destinations() = r.destinations(0);
       }},
      {"destinations[1].path", [](auto& r) { r.add_destinations()->set_path("/data/b/"); }},
      {"destinations[0].offset", [](auto& r) { r.mutable_destinations(0)->set_offset(kMaxOffset); }},
      {"max_bytes_per_call", [](auto& r) { r.set_max_bytes_per_call((128 << 10) - 1); }},
      {"max_bytes_per_call", [](auto& r) { r.set_max_bytes_per_call(kMaxDedupeLength + 1); }},
  };
  const v1::DedupeRangesRequest good = request_;
  for (const Case& spoilt : cases) {
    request_ = good;
    spoilt.spoil(request_);
    EXPECT_THAT(Check(), HasField(spoilt.field)) << request_.ShortDebugString();
    EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument)) << request_.ShortDebugString();
  }
}

TEST_F(RequestTest, OutsideTheRootsIsDenied) {
  request_.add_destinations()->set_path("/etc/passwd");
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Check(), HasReason("OUTSIDE_ROOTS"));
  EXPECT_THAT(Check(), HasField("destinations[1].path"));
}

TEST_F(RequestTest, Limits) {
  while (request_.destinations_size() < 1024) *request_.add_destinations() = request_.destinations(0);
  request_.set_max_bytes_per_call(128 << 10);
  request_.mutable_source()->set_offset(kMaxOffset - 8192);
  ASSERT_THAT(Check(), IsOk());
  EXPECT_EQ(Check()->max_bytes_per_call, uint64_t{128} << 10);
  request_.set_max_bytes_per_call(kMaxDedupeLength);
  EXPECT_EQ(Check()->max_bytes_per_call, kMaxDedupeLength);
}

// A call that ended within a block would make the next one begin there, which the kernel refuses.
TEST_F(RequestTest, CallsEndAtBlocks) {
  request_.set_max_bytes_per_call(200000);
  EXPECT_EQ(Check()->max_bytes_per_call, uint64_t{192} << 10);
}

}  // namespace
}  // namespace cowherd
