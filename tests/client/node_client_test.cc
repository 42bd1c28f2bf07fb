#include "client/node_client.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "client/channel.h"
#include "server/base/status.h"
#include "tests/testing/fake_servers.h"

namespace cowherd {
namespace {

class NodeClientTest : public ::testing::Test {
 protected:
  // Gives requests of length 1 to `count`.
  NodeClient::NextRequest Requests(uint64_t count) {
    next_ = [this, count](v1::DedupeRangesRequest* request) {
      if (asked_ == count) return false;
      request->set_length(++asked_);
      request->add_destinations()->set_path("/d");
      return true;
    };
    return next_;
  }

  testing::FakeNode node_;
  testing::FakeServer server_{node_};
  NodeClient client_{*MakeChannel(server_.address(), {})};
  uint64_t asked_ = 0;
  std::function<bool(v1::DedupeRangesRequest*)> next_;
  std::vector<uint64_t> answers_;
};

TEST_F(NodeClientTest, AStreamAnswersInOrderWhateverTheWindow) {
  for (const size_t window : {1, 2, 16, 1000}) {
    asked_ = 0;
    answers_.clear();
    uint64_t most_unanswered = 0;
    const absl::Status status = client_.DedupeRangesStream(
        window, Requests(100),
        [&](absl::StatusOr<v1::DedupeRangesResponse> answer) {
          most_unanswered = std::max(most_unanswered, asked_ - answers_.size());
          answers_.push_back(answer->bytes_accepted());
          return true;
        },
        absl::InfiniteDuration());
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(answers_.size(), 100u);
    for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(answers_[i], i + 1);
    EXPECT_LE(most_unanswered, window);
  }
}

TEST_F(NodeClientTest, ARequestThatFailsDoesNotEndTheStream) {
  node_.dedupe = [](const v1::DedupeRangesRequest& request) -> absl::StatusOr<v1::DedupeRangesResponse> {
    if (request.length() == 2) return WithField(ErrnoError(EXDEV, "compare"), "source.path");
    return v1::DedupeRangesResponse();
  };
  std::vector<absl::Status> statuses;
  const absl::Status status = client_.DedupeRangesStream(
      4, Requests(3),
      [&](const absl::StatusOr<v1::DedupeRangesResponse>& answer) {
        statuses.push_back(answer.status());
        return true;
      },
      absl::InfiniteDuration());
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(statuses.size(), 3u);
  EXPECT_TRUE(statuses[0].ok());
  EXPECT_EQ(ErrnoOf(statuses[1]), EXDEV);
  EXPECT_EQ(FieldOf(statuses[1]), "source.path");
  EXPECT_TRUE(statuses[2].ok());
}

TEST_F(NodeClientTest, NoRequestIsFine) {
  const absl::Status status = client_.DedupeRangesStream(
      1, Requests(0), [](const absl::StatusOr<v1::DedupeRangesResponse>&) { return false; },
      absl::InfiniteDuration());
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(NodeClientTest, AnsweredStopsTheStream) {
  int seen = 0;
  const absl::Status status = client_.DedupeRangesStream(
      8, Requests(1000), [&](const absl::StatusOr<v1::DedupeRangesResponse>&) { return ++seen < 3; },
      absl::InfiniteDuration());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(seen, 3);
  EXPECT_LT(asked_, 1000u);
}

TEST_F(NodeClientTest, ABrokenStreamIsItsStatus) {
  node_.break_stream_at = 2;
  node_.break_with = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  int seen = 0;
  const absl::Status status = client_.DedupeRangesStream(
      1, Requests(5),
      [&](const absl::StatusOr<v1::DedupeRangesResponse>&) {
        ++seen;
        return true;
      },
      absl::InfiniteDuration());
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(seen, 2);
}

TEST_F(NodeClientTest, AReaderCanStop) {
  node_.found.resize(100);
  for (v1::FindDuplicatesResponse& event : node_.found) event.mutable_duplicate();
  int seen = 0;
  const absl::Status status = client_.FindDuplicates(
      v1::FindDuplicatesRequest(), [&](const v1::FindDuplicatesResponse&) { return ++seen < 5; },
      absl::InfiniteDuration());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(seen, 5);
}

TEST_F(NodeClientTest, RunTaskNeedsItsSummary) {
  node_.task_events.resize(2);
  node_.task_events[0].mutable_progress();
  node_.task_events[1].mutable_summary()->mutable_totals()->set_bytes_won(7);
  int64_t won = 0;
  const auto take = [&](const v1::RunTaskResponse& event) {
    won = event.summary().totals().bytes_won();
    return true;
  };
  EXPECT_TRUE(client_.RunTask(v1::RunTaskRequest(), take, absl::InfiniteDuration()).ok());
  EXPECT_EQ(won, 7);
  node_.task_events.pop_back();
  EXPECT_EQ(ReasonOf(client_.RunTask(v1::RunTaskRequest(), take, absl::InfiniteDuration())), "INCOMPLETE");
}

TEST_F(NodeClientTest, ErrorsKeepReasonFieldAndErrno) {
  node_.node = WithField(ErrnoError(EIO, "statfs"), "root");
  const absl::Status status = client_.GetNode(absl::Seconds(30)).status();
  EXPECT_EQ(ErrnoOf(status), EIO);
  EXPECT_EQ(ReasonOf(status), "EIO");
  EXPECT_EQ(FieldOf(status), "root");
  EXPECT_TRUE(client_.CancelTask(v1::CancelTaskRequest(), absl::Seconds(30)).ok());
}

TEST_F(NodeClientTest, TheTimeoutBoundsACall) {
  node_.hang = true;
  EXPECT_TRUE(absl::IsDeadlineExceeded(client_.GetNode(absl::Milliseconds(50)).status()));
}

TEST(MakeChannel, PlainTextStaysOnThisMachineUnlessAllowed) {
  for (const char* local : {"127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/x"}) {
    EXPECT_TRUE(MakeChannel(local, {}).ok()) << local;
  }
  for (const char* remote :
       {"10.0.0.1:1", "storage.example:1", "dns:///storage.example:1", "[2001:db8::1]:1"}) {
    EXPECT_EQ(FieldOf(MakeChannel(remote, {}).status()), "--allow_remote_plaintext") << remote;
    ChannelFlags allowed;
    allowed.allow_remote_plaintext = true;
    EXPECT_TRUE(MakeChannel(remote, allowed).ok()) << remote;
  }
  EXPECT_FALSE(MakeChannel("", {}).ok());
}

TEST(MakeChannel, HalfATlsSetNamesTheFlagMissing) {
  ChannelFlags flags;
  flags.tls.ca = "/nowhere/ca.pem";
  EXPECT_EQ(FieldOf(MakeChannel("127.0.0.1:1", flags).status()), "--tls_cert");
}

}  // namespace
}  // namespace cowherd
