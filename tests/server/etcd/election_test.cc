// Leadership and fenced writes, on real members.
#include "server/etcd/election.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/boot_clock.h"
#include "server/base/status.h"
#include "server/etcd/fenced_writer.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

Election::Options Named(const std::string& address) {
  Election::Options options;
  options.key = "/t/leader";
  options.address = address;
  return options;
}

FencedWriter::Batch Put(const std::string& key, const std::string& value) {
  pb::RequestOp op;
  op.mutable_request_put()->set_key(key);
  op.mutable_request_put()->set_value(value);
  return {op};
}

class ElectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<EtcdCluster>> cluster = EtcdCluster::Start(3);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    client_ = PlainEtcdClient(cluster_->addresses());
  }

  std::string ValueAt(const std::string& key) {
    pb::RangeRequest request;
    request.set_key(key);
    const absl::StatusOr<pb::RangeResponse> response = client_->Range(request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() && response->kvs_size() == 1 ? response->kvs(0).value() : "";
  }

  std::unique_ptr<EtcdCluster> cluster_;
  std::unique_ptr<EtcdClient> client_;
};

TEST_F(ElectionTest, OneLeadsAndHandsOver) {
  Election a(*client_, Named("a:1"));
  Election b(*client_, Named("b:1"));
  std::unique_ptr<Leadership> first = a.Campaign().value();
  EXPECT_TRUE(first->Holds());
  EXPECT_EQ(a.leader(), "a:1");
  const absl::Status refused = b.TryOnce().status();
  EXPECT_EQ(ReasonOf(refused), "NOT_LEADER");
  EXPECT_EQ(LeaderOf(refused), "a:1");

  std::unique_ptr<Leadership> second;
  std::thread waiting([&] { second = b.Campaign().value(); });
  // Longer than the lease: it is kept alive.
  absl::SleepFor(absl::Seconds(6));
  EXPECT_TRUE(first->Holds());
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(b.leader(), "a:1");
  const absl::Duration began = SinceBoot();
  first->Resign();
  EXPECT_FALSE(first->Holds());
  waiting.join();
  EXPECT_LT(SinceBoot() - began, absl::Seconds(1));
  EXPECT_TRUE(second->Holds());
  EXPECT_NE(second->revision(), first->revision());
  EXPECT_EQ(b.leader(), "b:1");
}

TEST_F(ElectionTest, StopEndsACampaign) {
  Election a(*client_, Named("a:1"));
  const std::unique_ptr<Leadership> first = a.Campaign().value();
  Election b(*client_, Named("b:1"));
  std::thread waiting([&] { EXPECT_TRUE(absl::IsCancelled(b.Campaign().status())); });
  absl::SleepFor(absl::Seconds(1));
  const absl::Duration began = SinceBoot();
  b.Stop();
  waiting.join();
  EXPECT_LT(SinceBoot() - began, absl::Seconds(1));
  first->Resign();
  EXPECT_TRUE(absl::IsCancelled(b.Campaign().status()));
}

TEST_F(ElectionTest, LeadershipEndsByItsOwnClockWhenTheClusterIsGone) {
  Election a(*client_, Named("a:1"));
  const std::unique_ptr<Leadership> leadership = a.Campaign().value();
  for (size_t i = 0; i < 3; ++i) ASSERT_EQ(cluster_->Freeze(i), absl::OkStatus());
  const absl::Duration began = SinceBoot();
  FencedWriter writer(*client_, *leadership, "/t/slot/");
  leadership->WaitUntilOver();
  const absl::Duration took = SinceBoot() - began;
  // 5 s less the margin, since a keepalive at most a third of the lease before.
  EXPECT_LT(took, absl::Seconds(4.1));
  EXPECT_GT(took, absl::Seconds(2));
  EXPECT_EQ(ReasonOf(writer.Write({Put("/t/x", "late")})), "NOT_LEADER");
  for (size_t i = 0; i < 3; ++i) ASSERT_EQ(cluster_->Thaw(i), absl::OkStatus());
  EXPECT_EQ(ValueAt("/t/x"), "");
}

TEST_F(ElectionTest, WritesOfAFormerLeaderAreRefusedByEtcd) {
  Election a(*client_, Named("a:1"));
  Election b(*client_, Named("b:1"));
  const std::unique_ptr<Leadership> first = a.Campaign().value();
  FencedWriter old(*client_, *first, "/t/slot/");
  EXPECT_EQ(old.Write({Put("/t/x", "1"), Put("/t/y", "1")}), absl::OkStatus());
  // It loses its key, and does not know.
  pb::TxnRequest steal;
  steal.add_success()->mutable_request_delete_range()->set_key("/t/leader");
  ASSERT_TRUE(client_->RepeatableTxn(steal).ok());
  const std::unique_ptr<Leadership> second = b.Campaign().value();
  ASSERT_TRUE(first->Holds());
  FencedWriter writer(*client_, *second, "/t/slot/");
  EXPECT_EQ(writer.Write({Put("/t/x", "2")}), absl::OkStatus());
  EXPECT_EQ(ReasonOf(old.Write({Put("/t/x", "stale")})), "NOT_LEADER");
  EXPECT_EQ(ReasonOf(old.Write({Put("/t/x", "stale"), Put("/t/y", "stale")})), "NOT_LEADER");
  EXPECT_EQ(ValueAt("/t/x"), "2");
  EXPECT_EQ(ValueAt("/t/y"), "1");
}

// Answers get lost; each write is done all the same, and none twice.
TEST_F(ElectionTest, WritesComeBackSoonAndOnceWhenMembersDie) {
  Election a(*client_, Named("a:1"));
  const std::unique_ptr<Leadership> leadership = a.Campaign().value();
  FencedWriter writer(*client_, *leadership, "/t/slot/");
  absl::Duration longest = absl::ZeroDuration();
  int written = 0;
  const auto write_for = [&](absl::Duration time) {
    const absl::Duration end = SinceBoot() + time;
    while (SinceBoot() < end) {
      const absl::Duration began = SinceBoot();
      ASSERT_EQ(writer.Write({Put("/t/n", absl::StrCat(++written))}), absl::OkStatus());
      longest = std::max(longest, SinceBoot() - began);
    }
  };
  for (size_t member = 0; member < 3; ++member) {
    // One of the three is etcd's leader.
    ASSERT_EQ(cluster_->Kill(member), absl::OkStatus());
    write_for(absl::Seconds(3));
    ASSERT_EQ(cluster_->Restart(member), absl::OkStatus());
    write_for(absl::Seconds(3));
  }
  EXPECT_TRUE(leadership->Holds());
  EXPECT_LT(longest, absl::Seconds(3));
  RecordProperty("longest_write_ms", static_cast<int>(absl::ToInt64Milliseconds(longest)));
  EXPECT_EQ(ValueAt("/t/n"), absl::StrCat(written));
  pb::RangeRequest request;
  request.set_key("/t/n");
  // Its version counts its puts.
  EXPECT_EQ(client_->Range(request)->kvs(0).version(), written);
}

}  // namespace
}  // namespace cowherd
