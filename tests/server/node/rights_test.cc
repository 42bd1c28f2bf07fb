#include "server/node/rights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/testing/status_matchers.h"

namespace cowherd {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;

constexpr char kHostMap[] = "         0          0 4294967295\n";

std::string Status(const std::string& effective) {
  return absl::StrCat("Name:\tcowherd-node\nCapPrm:\t000001ffffffffff\nCapEff:\t", effective,
                      "\nThreads:\t3\n");
}

Rights Parse(const std::string& effective, const std::string& map = kHostMap) {
  const absl::StatusOr<Rights> rights = ParseRights(Status(effective), map);
  EXPECT_THAT(rights, IsOk());
  return rights.value_or(Rights());
}

// Bits of linux/capability.h: 1 DAC_OVERRIDE, 2 DAC_READ_SEARCH, 3 FOWNER, 17 SYS_RAWIO, 21 SYS_ADMIN.
constexpr char kFull[] = "0000000000200004";
constexpr char kFullNoatime[] = "000000000020000c";
constexpr char kWalk[] = "0000000000000002";
constexpr char kEstimate[] = "0000000000000004";
constexpr char kPrivileged[] = "000001ffffffffff";
constexpr char kNone[] = "0000000000000000";

FsFacts On(const std::string& type, bool read_only = false) {
  FsFacts facts;
  facts.type = type;
  facts.dedupe_supported = type == "btrfs" || type == "xfs";
  facts.read_only = read_only;
  facts.noatime = true;
  return facts;
}

// Capabilities; with a "!" those that are needed.
std::vector<std::string> Lacking(const Rights& rights, const FsFacts& facts) {
  std::vector<std::string> names;
  for (const Lack& lack : LacksOf(rights, facts)) {
    EXPECT_NE(lack.loses, "");
    names.push_back(lack.capability + (lack.needed ? "!" : ""));
  }
  return names;
}

TEST(ParseRights, ReadsTheEffectiveSet) {
  const Rights rights = Parse(kFull);
  EXPECT_TRUE(rights.sys_admin);
  EXPECT_TRUE(rights.dac_read_search);
  EXPECT_FALSE(rights.dac_override);
  EXPECT_FALSE(rights.fowner);
  EXPECT_FALSE(rights.in_user_namespace);
  EXPECT_THAT(CapabilitiesOf(rights), ElementsAre("CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"));
}

TEST(ParseRights, SeesAUserNamespace) {
  EXPECT_TRUE(Parse(kPrivileged, "         0      65536      65536\n").in_user_namespace);
  EXPECT_TRUE(Parse(kPrivileged, "0 0 1000\n1000 5000 10\n").in_user_namespace);
  EXPECT_TRUE(Parse(kPrivileged, "").in_user_namespace);
}

TEST(ParseRights, RefusesOtherTexts) {
  EXPECT_FALSE(ParseRights("", kHostMap).ok());
  EXPECT_FALSE(ParseRights("CapEff:\tnonsense\n", kHostMap).ok());
}

TEST(ProfileOf, IsTheManifests) {
  EXPECT_EQ(ProfileOf(Parse(kFull)), "full");
  EXPECT_EQ(ProfileOf(Parse(kFullNoatime)), "full-noatime");
  EXPECT_EQ(ProfileOf(Parse(kWalk)), "walk");
  EXPECT_EQ(ProfileOf(Parse(kEstimate)), "estimate");
  EXPECT_EQ(ProfileOf(Parse(kPrivileged)), "privileged");
  EXPECT_EQ(ProfileOf(Parse(kNone)), "own-files");
  EXPECT_EQ(ProfileOf(Parse(kPrivileged, "0 65536 65536\n")), "own-files");
}

TEST(LacksOf, NothingWithTheFullProfile) {
  for (const char* type : {"btrfs", "xfs"}) {
    EXPECT_THAT(Lacking(Parse(kFull), On(type)), ElementsAre());
    EXPECT_THAT(Lacking(Parse(kPrivileged), On(type)), ElementsAre());
  }
}

TEST(LacksOf, WalkGivesUpChecksumsAndSnapshots) {
  EXPECT_THAT(Lacking(Parse(kWalk), On("btrfs")), ElementsAre("CAP_SYS_ADMIN", "CAP_SYS_ADMIN"));
  EXPECT_THAT(Lacking(Parse(kWalk), On("xfs")), ElementsAre("CAP_SYS_ADMIN"));
}

TEST(LacksOf, AnEstimateNeedsAReadOnlyRoot) {
  EXPECT_THAT(Lacking(Parse(kEstimate), On("btrfs", /*read_only=*/true)), ElementsAre("CAP_SYS_ADMIN"));
  EXPECT_THAT(Lacking(Parse(kEstimate), On("btrfs")), ElementsAre("CAP_SYS_ADMIN!", "CAP_SYS_ADMIN"));
  EXPECT_THAT(Lacking(Parse(kEstimate), On("xfs")), ElementsAre("CAP_SYS_ADMIN!", "CAP_SYS_ADMIN"));
}

TEST(LacksOf, WithoutAnyAllIsLost) {
  const auto all = ElementsAre("CAP_DAC_READ_SEARCH!", "CAP_SYS_ADMIN!", "CAP_SYS_ADMIN");
  EXPECT_THAT(Lacking(Parse(kNone), On("btrfs")), all);
  EXPECT_THAT(Lacking(Parse(kPrivileged, "0 65536 65536\n"), On("btrfs")), all);
}

TEST(LacksOf, AccessTimesMatterWhereTheMountKeepsThem) {
  FsFacts facts = On("xfs");
  facts.noatime = false;
  EXPECT_THAT(Lacking(Parse(kFull), facts), ElementsAre("CAP_FOWNER"));
  EXPECT_THAT(Lacking(Parse(kFullNoatime), facts), ElementsAre());
  facts.read_only = true;
  EXPECT_THAT(Lacking(Parse(kFull), facts), ElementsAre());
}

TEST(LacksOf, AFilesystemThatCannotShareIsNoMatterOfRights) {
  EXPECT_THAT(Lacking(Parse(kNone), On("0xef53")), ElementsAre());
}

}  // namespace
}  // namespace cowherd
