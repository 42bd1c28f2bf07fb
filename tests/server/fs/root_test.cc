#include "server/fs/root.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/base/status.h"

namespace cowherd {
namespace {

RootTable Table(const std::vector<std::string>& flags) {
  absl::StatusOr<RootTable> table = RootTable::Parse(flags);
  EXPECT_TRUE(table.ok()) << table.status();
  return *table;
}

TEST(RootTableParse, TakesNamesAndPaths) {
  const RootTable table = Table({"data=/srv/data", "a-B_1.x=/mnt/:/host/mnt/", "all=/:/host", "eq=/a=b"});
  ASSERT_EQ(table.roots().size(), 4u);
  EXPECT_EQ(table.roots()[0].name, "data");
  EXPECT_EQ(table.roots()[0].host_path, "/srv/data");
  EXPECT_EQ(table.roots()[0].local_path, "/srv/data");
  EXPECT_EQ(table.roots()[1].name, "a-B_1.x");
  EXPECT_EQ(table.roots()[1].host_path, "/mnt");
  EXPECT_EQ(table.roots()[1].local_path, "/host/mnt");
  EXPECT_EQ(table.roots()[2].host_path, "/");
  EXPECT_EQ(table.roots()[2].local_path, "/host");
  EXPECT_EQ(table.roots()[3].host_path, "/a=b");
}

TEST(RootTableParse, RefusesBadFlags) {
  const std::vector<std::vector<std::string>> cases = {
      {},
      {""},
      {"data"},
      {"/data"},
      {"=/data"},
      {"data="},
      {"data=data"},
      {"data=./data"},
      {"data=:/data"},
      {"data=/data:"},
      {"data=/data:local"},
      {"data=/a:/b:/c"},
      {"da ta=/data"},
      {"da/ta=/data"},
      {"d\xc3\xa4ta=/data"},
      {"data=/a//b"},
      {"data=//"},
      {"data=/a/../b"},
      {"data=/a/./b"},
      {"data=/a:/b/.."},
      {std::string("data=/a\0b", 9)},
      {"data=/" + std::string(256, 'x')},
      {"data=/a", "data=/b"},
      {"one=/a", "two=/a"},
      {"one=/a", "two=/a/:/b"},
  };
  for (const std::vector<std::string>& flags : cases) {
    const absl::StatusOr<RootTable> table = RootTable::Parse(flags);
    const std::string shown = flags.empty() ? "(none)" : flags.back();
    ASSERT_EQ(table.status().code(), absl::StatusCode::kInvalidArgument) << shown;
    EXPECT_EQ(FieldOf(table.status()), "--root") << shown;
  }
}

TEST(RootTableParse, TwoNamesMayShareALocalPath) { Table({"one=/a:/local", "two=/b:/local"}); }

TEST(RootTableResolve, TakesTheLongestRootByWholeParts) {
  const RootTable table = Table({"deep=/srv/data/deep", "data=/srv/data:/local", "mnt=/mnt"});
  struct Case {
    std::string path, root, relative;
  };
  const std::vector<Case> cases = {
      {"/srv/data", "data", ""},
      {"/srv/data/a", "data", "a"},
      {"/srv/data/a/b c", "data", "a/b c"},
      {"/srv/data/deep", "deep", ""},
      {"/srv/data/deep/x", "deep", "x"},
      {"/srv/data/deeper/x", "data", "deeper/x"},
      {"/srv/data/...", "data", "..."},
      {"/srv/data/..a/.b", "data", "..a/.b"},
      {"/srv/data/\xff\xfe\n", "data", "\xff\xfe\n"},
      {"/mnt/" + std::string(255, 'x'), "mnt", std::string(255, 'x')},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<RootedPath> path = table.Resolve(c.path);
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_EQ(path->root->name, c.root) << c.path;
    EXPECT_EQ(path->relative, c.relative) << c.path;
    EXPECT_EQ(HostPath(*path->root, path->relative), c.path);
  }
}

TEST(RootTableResolve, OrderOfRootsDoesNotMatter) {
  const RootTable table = Table({"all=/", "data=/srv/data", "deep=/srv/data/deep"});
  EXPECT_EQ(table.Resolve("/srv/data/deep/x")->root->name, "deep");
  EXPECT_EQ(table.Resolve("/srv/data/x")->root->name, "data");
  EXPECT_EQ(table.Resolve("/srv/database")->root->name, "all");
  EXPECT_EQ(table.Resolve("/srv/database")->relative, "srv/database");
  EXPECT_EQ(table.Resolve("/")->root->name, "all");
  EXPECT_EQ(table.Resolve("/")->relative, "");
  EXPECT_EQ(HostPath(*table.Resolve("/x")->root, "x"), "/x");
  EXPECT_EQ(HostPath(*table.Resolve("/")->root, ""), "/");
}

TEST(RootTableResolve, RefusesWhatIsOutside) {
  const RootTable table = Table({"data=/srv/data:/local"});
  for (const std::string path : {"/", "/srv", "/srv/dat", "/srv/database", "/srv/data2/x", "/local/x"}) {
    const absl::Status status = table.Resolve(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << path;
    EXPECT_EQ(ReasonOf(status), "OUTSIDE_ROOTS") << path;
  }
}

TEST(RootTableResolve, RefusesMalformedPaths) {
  const RootTable table = Table({"all=/"});
  std::string longest;
  while (longest.size() + 100 <= 4095) longest += "/" + std::string(99, 'x');
  longest += "/" + std::string(4095 - longest.size() - 1, 'y');
  ASSERT_EQ(longest.size(), 4095u);
  EXPECT_TRUE(table.Resolve(longest).ok());
  const std::vector<std::string> cases = {
      "",      "a",       "a/b",         "./a",
      "../a",  "//",      "//a",         "/a//b",
      "/a/",   "/.",      "/..",         "/a/.",
      "/a/..", "/a/../b", "/./a",        std::string("/a\0", 3),
      "/../a", "/a/./b",  longest + "y", "/" + std::string(256, 'x'),
  };
  for (const std::string& path : cases) {
    const absl::Status status = table.Resolve(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_EQ(ReasonOf(status), "INVALID_ARGUMENT") << path;
  }
}

TEST(RootTableFind, ByName) {
  const RootTable table = Table({"data=/srv/data", "mnt=/mnt"});
  ASSERT_TRUE(table.Find("mnt").ok());
  EXPECT_EQ((*table.Find("mnt"))->host_path, "/mnt");
  EXPECT_EQ(table.Find("mn").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(table.Find("").status()), "ROOT_UNKNOWN");
}

}  // namespace
}  // namespace cowherd
