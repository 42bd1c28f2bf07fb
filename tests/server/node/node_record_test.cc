#include "server/node/node_record.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using testing::HasReason;
using testing::IsOk;
using testing::StatusIs;

class NodeRecordTest : public ::testing::Test {
 protected:
  NodeRecordTest() { EXPECT_EQ(::mkdir(folder_.c_str(), 0700), 0); }

  std::string Read() const {
    std::ifstream in(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Write(const std::string& text) const { std::ofstream(file_, std::ios::binary) << text; }

  const std::string folder_ = absl::StrCat(::testing::TempDir(), "/record-", ::getpid(), "-",
                                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
  const std::string file_ = folder_ + "/node";
};

TEST_F(NodeRecordTest, IsTheSameAfterARestart) {
  std::string id;
  {
    const auto record = NodeRecord::Open(folder_);
    ASSERT_THAT(record, IsOk());
    id = (*record)->instance_id();
    EXPECT_EQ(id.size(), 32u);
    EXPECT_EQ((*record)->epoch(), 0u);
  }
  for (uint64_t epoch : {uint64_t{5}, uint64_t{1'700'000'000}, ~uint64_t{0}}) {
    const auto record = NodeRecord::Open(folder_);
    ASSERT_THAT(record, IsOk());
    EXPECT_EQ((*record)->instance_id(), id);
    ASSERT_THAT((*record)->KeepEpoch(epoch), IsOk());
    EXPECT_EQ((*record)->epoch(), epoch);
  }
  EXPECT_EQ((*NodeRecord::Open(folder_))->epoch(), ~uint64_t{0});
}

TEST_F(NodeRecordTest, WhatIsDamagedIsRefused) {
  ASSERT_THAT((*NodeRecord::Open(folder_))->KeepEpoch(12345), IsOk());
  const std::string whole = Read();
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    Write(flipped);
    const auto record = NodeRecord::Open(folder_);
    EXPECT_THAT(record, HasReason("STATE_CORRUPT")) << flipped;
    EXPECT_THAT(record, StatusIs(absl::StatusCode::kDataLoss));
  }
  for (size_t length = 0; length < whole.size(); ++length) {
    Write(whole.substr(0, length));
    EXPECT_THAT(NodeRecord::Open(folder_), HasReason("STATE_CORRUPT")) << length;
  }
  Write(whole + "\n");
  EXPECT_THAT(NodeRecord::Open(folder_), HasReason("STATE_CORRUPT"));
  Write(whole);
  EXPECT_EQ((*NodeRecord::Open(folder_))->epoch(), 12345u);
}

TEST_F(NodeRecordTest, ACrashWhileWritingLeavesTheOneBefore) {
  ASSERT_THAT((*NodeRecord::Open(folder_))->KeepEpoch(5), IsOk());
  std::ofstream(folder_ + "/node.new") << "cowherd-no";
  const auto record = NodeRecord::Open(folder_);
  ASSERT_THAT(record, IsOk());
  EXPECT_EQ((*record)->epoch(), 5u);
  EXPECT_THAT((*record)->KeepEpoch(6), IsOk());
}

TEST_F(NodeRecordTest, WhatCannotBeWrittenIsNotKept) {
  const auto record = NodeRecord::Open(folder_);
  ASSERT_THAT((*record)->KeepEpoch(5), IsOk());
  // Nothing can take the place of a folder.
  ASSERT_EQ(::mkdir((folder_ + "/node.new").c_str(), 0700), 0);
  const absl::Status status = (*record)->KeepEpoch(6);
  EXPECT_EQ(ErrnoOf(status), EISDIR);
  EXPECT_EQ((*record)->epoch(), 5u);
}

TEST_F(NodeRecordTest, IsOneProcesss) {
  const auto record = NodeRecord::Open(folder_);
  ASSERT_THAT(record, IsOk());
  EXPECT_THAT(NodeRecord::Open(folder_), HasReason("STATE_IN_USE"));
  EXPECT_THAT(NodeRecord::Open(folder_ + "/none"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(NodeRecordTest, NoTwoNodesAreOne) {
  std::set<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    ids.insert((*NodeRecord::Open(folder_))->instance_id());
    ASSERT_EQ(::unlink(file_.c_str()), 0);
  }
  EXPECT_EQ(ids.size(), 10u);
}

}  // namespace
}  // namespace cowherd
