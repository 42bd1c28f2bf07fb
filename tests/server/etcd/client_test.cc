// Calls to real members.
#include "server/etcd/client.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/time/clock.h"
#include "server/base/boot_clock.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

// Connecting takes longer than a connection is waited for, and this process has no gRPC server.
TEST(EtcdClientTest, ConnectsToAMemberThatWasSlowToAnswer) {
  absl::StatusOr<std::unique_ptr<EtcdCluster>> cluster = EtcdCluster::Start(1);
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ((*cluster)->Freeze(0), absl::OkStatus());
  const std::unique_ptr<EtcdClient> client = PlainEtcdClient((*cluster)->addresses());
  absl::Duration answered;
  std::thread asking([&] {
    EXPECT_EQ(client->GrantLease(absl::Seconds(60)).status(), absl::OkStatus());
    answered = SinceBoot();
  });
  absl::SleepFor(absl::Milliseconds(2'500));
  const absl::Duration thawed = SinceBoot();
  ASSERT_EQ((*cluster)->Thaw(0), absl::OkStatus());
  asking.join();
  EXPECT_LT(answered - thawed, absl::Milliseconds(2'500));
}

}  // namespace
}  // namespace cowherd
