// What decides, without a cluster.
#include <gtest/gtest.h>

#include "server/etcd/address.h"
#include "server/etcd/client.h"
#include "server/etcd/lease_clock.h"
#include "server/etcd/member_picker.h"

namespace cowherd {
namespace {

absl::Duration Sec(double seconds) { return absl::Seconds(seconds); }

TEST(LeaseClock, CountsFromWhenTheRequestWasSent) {
  struct Row {
    const char* what;
    // Keepalives answered after the grant of 5 s that was sent at 100 s: sent at, time to live.
    std::vector<std::pair<double, int>> renewed;
    double end;
    double next_keepalive;
  };
  const Row kRows[] = {
      {"none", {}, 104, 100 + 5.0 / 10},
      {"one", {{102, 5}}, 106, 102 + 5.0 / 10},
      {"an answer that came late counts from its request", {{102, 5}, {103.5, 5}}, 107.5, 103.5 + 5.0 / 10},
      {"answers out of order never shorten it", {{103, 5}, {102, 5}}, 107, 103 + 5.0 / 10},
      {"etcd gave more than asked", {{102, 10}}, 111, 102 + 10.0 / 10},
      {"etcd says that less is left", {{102, 3}}, 104, 100 + 5.0 / 10},
  };
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.what);
    LeaseClock clock(Sec(100), Sec(5));
    for (const auto& [sent, ttl] : row.renewed) clock.Renewed(Sec(sent), absl::Seconds(ttl));
    EXPECT_EQ(clock.end(), Sec(row.end));
    EXPECT_NEAR(absl::ToDoubleSeconds(clock.next_keepalive()), row.next_keepalive, 1e-6);
    EXPECT_TRUE(clock.Holds(Sec(row.end) - absl::Nanoseconds(1)));
    EXPECT_FALSE(clock.Holds(Sec(row.end)));
    // However long the machine slept.
    EXPECT_FALSE(clock.Holds(absl::Hours(1000)));
  }
}

TEST(MemberPicker, AsksEachInTurnAndSparesThoseThatFailed) {
  MemberPicker picker(3, Sec(2));
  EXPECT_EQ(picker.Next(Sec(0)), 1u);
  EXPECT_EQ(picker.Next(Sec(0)), 2u);
  EXPECT_EQ(picker.Next(Sec(0)), 0u);
  picker.Failed(1, Sec(10));
  EXPECT_EQ(picker.Next(Sec(10)), 2u);
  EXPECT_EQ(picker.Next(Sec(11)), 0u);
  EXPECT_EQ(picker.Next(Sec(11)), 2u);
  EXPECT_FALSE(picker.AllRest(Sec(11)));
  // Rested enough.
  EXPECT_EQ(picker.Next(Sec(12)), 0u);
  EXPECT_EQ(picker.Next(Sec(12)), 1u);
  // All failed: the one that did so first.
  picker.Failed(2, Sec(20));
  picker.Failed(0, Sec(20.5));
  picker.Failed(1, Sec(21));
  EXPECT_TRUE(picker.AllRest(Sec(21)));
  EXPECT_EQ(picker.Next(Sec(21)), 2u);
  picker.Answered(0);
  EXPECT_FALSE(picker.AllRest(Sec(21)));
  EXPECT_EQ(picker.Next(Sec(21)), 0u);
  MemberPicker only(1, Sec(2));
  only.Failed(0, Sec(1));
  EXPECT_EQ(only.Next(Sec(1)), 0u);
}

TEST(EtcdAddress, ReadsMembersAndPrefix) {
  EXPECT_TRUE(EtcdAddress::Is("etcd://a:1"));
  EXPECT_FALSE(EtcdAddress::Is("/var/lib/cowherd/jobs"));
  EXPECT_FALSE(EtcdAddress::Is("jobs"));
  const EtcdAddress address = EtcdAddress::Parse("etcd://a:2379,[::1]:2380/prod/cowherd").value();
  EXPECT_EQ(address.members, (std::vector<std::string>{"a:2379", "[::1]:2380"}));
  EXPECT_EQ(address.prefix, "/prod/cowherd/");
  EXPECT_EQ(EtcdAddress::Parse("etcd://a:1/")->prefix, "/cowherd/");
  EXPECT_EQ(EtcdAddress::Parse("etcd://a:1")->prefix, "/cowherd/");
  EXPECT_EQ(EtcdAddress::Parse("etcd://a:1/x/")->prefix, "/x/");
  for (const char* bad : {"etcd://", "etcd:///x", "etcd://a", "etcd://a:0", "etcd://a:x", "etcd://a:1,",
                          "etcd://:1", "etcd://a:1/b c", "a:1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(EtcdAddress::Parse(bad).status())) << bad;
  }
}

TEST(EndOfPrefix, IsTheFirstKeyAfter) {
  EXPECT_EQ(EndOfPrefix("/a/"), "/a0");
  EXPECT_EQ(EndOfPrefix("a\xff"), "b");
  // All keys from there on.
  EXPECT_EQ(EndOfPrefix("\xff"), std::string(1, '\0'));
}

}  // namespace
}  // namespace cowherd
