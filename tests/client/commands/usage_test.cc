#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/client/commands/command_line.h"

namespace cowherd::testing {
namespace {

TEST(Usage, Version) {
  CommandLine run;
  run({"--version"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out, "cowherd 0.1.0\n");
  EXPECT_EQ(run.err, "");
}

TEST(Usage, EveryCommandHasHelpWithAnExample) {
  const std::vector<std::vector<std::string>> kCommands = {{},
                                                           {"dedupe"},
                                                           {"find"},
                                                           {"extents"},
                                                           {"node", "list"},
                                                           {"node", "show"},
                                                           {"node", "pause"},
                                                           {"node", "drain"},
                                                           {"node", "resume"},
                                                           {"cluster", "show"},
                                                           {"cluster", "pause"},
                                                           {"cluster", "drain"},
                                                           {"cluster", "resume"},
                                                           {"node", "window", "set"},
                                                           {"node", "window", "clear"},
                                                           {"node", "window", "list"},
                                                           {"job", "create"},
                                                           {"job", "list"},
                                                           {"job", "get"},
                                                           {"job", "watch"},
                                                           {"job", "cancel"},
                                                           {"job", "pause"},
                                                           {"job", "resume"},
                                                           {"job", "delete"},
                                                           {"schedule", "create"},
                                                           {"schedule", "get"},
                                                           {"schedule", "list"},
                                                           {"schedule", "update"},
                                                           {"schedule", "suspend"},
                                                           {"schedule", "resume"},
                                                           {"schedule", "run"},
                                                           {"schedule", "delete"}};
  for (std::vector<std::string> command : kCommands) {
    std::string name = "cowherd";
    for (const std::string& word : command) name += " " + word;
    command.push_back("--help");
    CommandLine run;
    run(command);
    EXPECT_EQ(run.code, 0) << name;
    EXPECT_TRUE(absl::StrContains(run.out, "Usage: " + name)) << run.out;
    EXPECT_TRUE(absl::StrContains(run.out, "Examples:\n  " + name)) << run.out;
    EXPECT_EQ(run.err, "");
  }
}

TEST(Usage, AMistakeIsExitCodeTwoAndNamesTheArgument) {
  const struct {
    std::vector<std::string> args;
    std::string err;
  } kCases[] = {
      {{}, "error: A subcommand is required\nSee cowherd --help.\n"},
      {{"frob"}, "error: unknown or one too many: frob\nSee cowherd --help.\n"},
      {{"dedupe", "--lenght", "4k", "a", "0", "b", "0"},
       "error: unknown or one too many: --lenght\nSee cowherd dedupe --help.\n"},
      {{"dedupe", "--length", "4k", "a", "0"},
       "error: DST DST_OFFSET is required\nSee cowherd dedupe --help.\n"},
      {{"dedupe", "--length", "4k", "a", "0", "b"},
       "error: DST_OFFSET: missing after b; each DST needs its offset\nSee cowherd dedupe --help.\n"},
      {{"dedupe", "--length", "0", "a", "0", "b", "0"},
       "error: --length: must be above 0\nSee cowherd dedupe --help.\n"},
      {{"dedupe", "--length", "4k", "", "0", "b", "0"},
       "error: SRC: empty; name a file\nSee cowherd dedupe --help.\n"},
      {{"dedupe", "--length", "4k", "--max_bytes_per_call", "64k", "a", "0", "b", "0"},
       "error: --max_bytes_per_call: must be from 128k to 1g\nSee cowherd dedupe --help.\n"},
      {{"dedupe", "--length", "4000000t", "a", "0", "b", "0", "b", "0", "b", "0", "b", "0", "b", "0"},
       "error: --length: too large for that many destinations\nSee cowherd dedupe --help.\n"},
      {{"find", "PATH"}, "error: --root is required\nSee cowherd find --help.\n"},
      {{"find", "--root", "r", "--workers", "65"},
       "error: --workers: Value 65 not in range 1 to 64\nSee cowherd find --help.\n"},
      {{"find", "--root", "r", "--min_freed_per_moved", "0"},
       "error: --min_freed_per_moved: Value 0 not in range 1 to 4294967295\nSee cowherd find --help.\n"},
      {{"job", "create", "--all", "--max_extents_per_file", "-1"},
       "error: --max_extents_per_file: Value -1 not in range 1 to 4294967295\nSee cowherd job "
       "create "
       "--help.\n"},
      {{"extents", "a", "b"}, "error: unknown or one too many: b\nSee cowherd extents --help.\n"},
      {{"node", "show", "n", "--node", "127.0.0.1:1"},
       "error: --node excludes NAME\nSee cowherd node show --help.\n"},
      {{"job", "create"},
       "error: --all, --name, --label: say which nodes by exactly one of them\nSee cowherd job create "
       "--help.\n"},
      {{"job", "create", "--all", "--name", "n"},
       "error: --all, --name, --label: say which nodes by exactly one of them\nSee cowherd job create "
       "--help.\n"},
      {{"job", "create", "--label", "zone"},
       "error: --label: \"zone\" is not key=value\nSee cowherd job create --help.\n"},
      {{"job", "create", "--label", "a=1", "--label", "a=2"},
       "error: --label: \"a\" is given twice\nSee cowherd job create --help.\n"},
      {{"job", "create", "--all", "--path", "data"},
       "error: --path: data is not absolute; the nodes do not know this directory\nSee cowherd job create "
       "--help.\n"},
      {{"job", "create", "--all", "--path", "/srv/link/.."},
       "error: --path: /srv/link/.. has \"..\" in it\nSee cowherd job create --help.\n"},
      {{"job", "create", "--ranges", "f", "--full"},
       "error: --full: does not go with --ranges\nSee cowherd job create --help.\n"},
      {{"job", "create", "--ranges", "f", "--dry_run"},
       "error: --dry_run: does not go with --ranges\nSee cowherd job create --help.\n"},
      {{"job", "create", "--ranges", "/nowhere/f"},
       "error: --ranges: read /nowhere/f: no such file (ENOENT)\nSee cowherd job create --help.\n"},
      {{"job", "list", "--state", "done"},
       "error: --state: done is not one of pending, running, paused, succeeded, failed, cancelled\n"
       "See cowherd job list --help.\n"},
      {{"job", "get"}, "error: ID is required\nSee cowherd job get --help.\n"},
      {{"node", "list", "--timeout", "soon"},
       "error: --timeout: \"soon\" is not a time above 0; give seconds, or a number with ms, s, m or h, such "
       "as 90 "
       "or 5m\nSee cowherd node list --help.\n"},
      {{"node", "list", "-o", "xml"},
       "error: --output: xml not in {table,json}\nSee cowherd node list --help.\n"},
      {{"node", "list", "--controller", "storage.example:7400"},
       "error: --allow_remote_plaintext: storage.example:7400 is not on this machine, and without TLS anyone "
       "on the "
       "way could read and change the call; give --tls_cert, --tls_key and --tls_ca, or "
       "--allow_remote_plaintext if "
       "the network is trusted\nSee cowherd node list --help.\n"},
      {{"node", "list", "--tls_cert", "/nowhere/c"},
       "error: --tls_cert: open /nowhere/c: no such file (ENOENT)\nSee cowherd node list --help.\n"},
      {{"extents", "--offset", "1\x1b[2J", "f"},
       "error: --offset: \"1\\x1b[2J\" is not a size; give bytes, or a number with k, m, g or t "
       "(1024-based), such "
       "as 4096 or 64m\nSee cowherd extents --help.\n"},
  };
  for (const auto& c : kCases) {
    CommandLine run;
    run(c.args);
    EXPECT_EQ(run.code, 2) << c.err;
    EXPECT_EQ(run.err, c.err);
    EXPECT_EQ(run.out, "");
  }
}

TEST(Usage, EachBadSizeIsNamed) {
  const struct {
    std::vector<std::string> args;
    std::string argument;
  } kCases[] = {
      {{"dedupe", "--length", "x", "a", "0", "b", "0"}, "--length"},
      {{"dedupe", "--length", "1", "a", "x", "b", "0"}, "SRC_OFFSET"},
      {{"dedupe", "--length", "1", "a", "0", "b", "0", "c", "x"}, "DST_OFFSET of destination 2"},
      {{"dedupe", "--length", "1", "--max_bytes_per_call", "x", "a", "0", "b", "0"}, "--max_bytes_per_call"},
      {{"extents", "--length", "x", "f"}, "--length"},
      {{"find", "--root", "r", "--min_extent_length", "x"}, "--min_extent_length"},
      {{"find", "--root", "r", "--min_file_size", "x"}, "--min_file_size"},
      {{"job", "create", "--all", "--bytes_per_second", "x"}, "--bytes_per_second"},
  };
  for (const auto& c : kCases) {
    CommandLine run;
    run(c.args);
    EXPECT_EQ(run.code, 2);
    EXPECT_TRUE(absl::StartsWith(run.err, "error: " + c.argument + ": \"x\" is not a size")) << run.err;
  }
}

TEST(Usage, MoreDestinationsThanOneCallTakesAreRefused) {
  std::vector<std::string> args = {"dedupe", "--length", "4k", "/s", "0"};
  for (int i = 0; i < 1025; ++i) {
    args.push_back("/d");
    args.push_back("0");
  }
  CommandLine run;
  run(args);
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(run.err,
            "error: DST: 1025 destinations; one call takes at most 1024: make several\nSee cowherd dedupe "
            "--help.\n");
}

}  // namespace
}  // namespace cowherd::testing
