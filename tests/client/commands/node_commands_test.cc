// dedupe, find, extents and node show, against a fake node.
#include <gtest/gtest.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/grpc_status.h"
#include "server/base/status.h"
#include "tests/client/commands/command_line.h"
#include "tests/testing/fake_servers.h"

namespace cowherd::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class NodeCommands : public ::testing::Test {
 protected:
  NodeCommands() { run.environment["COWHERD_NODE"] = server.address(); }

  FakeNode node;
  FakeServer server{node};
  CommandLine run;
};

TEST_F(NodeCommands, DedupeSendsAbsolutePathsAndPrintsATable) {
  run({"dedupe", "--length", "64m", "--max_bytes_per_call", "1m", "a", "4k", "../b", "0", "/srv/./c", "1g"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "DESTINATION      OFFSET  OUTCOME  ACCEPTED  NOTE\n"
            "/home/b               0  DEDUPED    64 MiB\n"
            "/srv/c       1073741824  DEDUPED    64 MiB\n"
            "2 of 2 destinations deduped: 128 MiB of 128 MiB accepted\n");
  EXPECT_EQ(run.code, 0);
  ASSERT_EQ(node.dedupes().size(), 1u);
  EXPECT_EQ(node.streams(), 0);
  const v1::DedupeRangesRequest request = node.dedupes()[0];
  EXPECT_EQ(request.source().path(), "/home/me/a");
  EXPECT_EQ(request.source().offset(), 4096u);
  EXPECT_EQ(request.length(), 64 * kMiB);
  EXPECT_EQ(request.max_bytes_per_call(), kMiB);
  EXPECT_FALSE(request.measure_shared());
}

TEST_F(NodeCommands, DedupeTakesAnyBytesAsPaths) {
  const std::string odd = "\xff\n\x1b[2J";
  run({"dedupe", "--length", "4k", "--measure", "--", "-a", "0", odd, "0", "[b,c]", "0", "find", "0"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "DESTINATION             OFFSET  OUTCOME  ACCEPTED  SHARED  NOTE\n"
            "/home/me/\\xff\\n\\x1b[2J       0  DEDUPED     4 KiB   4 KiB\n"
            "/home/me/[b,c]               0  DEDUPED     4 KiB   4 KiB\n"
            "/home/me/find                0  DEDUPED     4 KiB   4 KiB\n"
            "3 of 3 destinations deduped: 12 KiB of 12 KiB accepted, 12 KiB on shared storage\n");
  ASSERT_EQ(node.dedupes().size(), 1u);
  EXPECT_EQ(node.dedupes()[0].source().path(), "/home/me/-a");
  EXPECT_EQ(node.dedupes()[0].destinations(0).path(), "/home/me/" + odd);
  EXPECT_EQ(node.dedupes()[0].destinations(1).path(), "/home/me/[b,c]");
  EXPECT_TRUE(node.dedupes()[0].measure_shared());
}

TEST_F(NodeCommands, DedupeTellsEachOutcome) {
  node.dedupe = [](const v1::DedupeRangesRequest& request) {
    v1::DedupeRangesResponse response;
    for (const v1::FilePosition& destination : request.destinations()) {
      *response.add_results()->mutable_destination() = destination;
    }
    response.mutable_results(0)->set_outcome(v1::DATA_DIFFERS);
    response.mutable_results(0)->set_bytes_accepted(4096);
    response.mutable_results(1)->set_outcome(v1::FAILED);
    *response.mutable_results(1)->mutable_error() = ToErrorDetail(ErrnoError(EROFS, "share into /c"));
    response.mutable_results(2)->set_outcome(v1::STOPPED);
    *response.mutable_results(2)->mutable_error() = ToErrorDetail(
        MakeError(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline came"));
    response.set_bytes_requested(3 * request.length());
    response.set_bytes_accepted(4096);
    return response;
  };
  run({"dedupe", "--length", "64k", "/a", "0", "/b", "0", "/c", "0", "/d", "0"});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.out,
            "DESTINATION  OFFSET  OUTCOME       ACCEPTED  NOTE\n"
            "/b                0  DATA_DIFFERS     4 KiB  bytes differ in the comparison that starts 4096 "
            "bytes into "
            "the range\n"
            "/c                0  FAILED             0 B  EROFS: share into /c: the filesystem, mount or "
            "subvolume is "
            "read-only (EROFS)\n"
            "/d                0  STOPPED            0 B  DEADLINE_EXCEEDED: the deadline came\n"
            "0 of 3 destinations deduped: 4 KiB of 192 KiB accepted\n");
  EXPECT_EQ(
      run.err,
      "EROFS: next: mount it read-write, or leave read-only subvolumes and snapshots out\n"
      "DEADLINE_EXCEEDED: next: repeat it, with a longer --timeout, to do the rest; what is shared stays "
      "shared\n");
}

TEST_F(NodeCommands, DedupeAsJson) {
  run({"-o", "json", "dedupe", "--length", "4k", "/a", "0", "/b", "0"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out,
            "{\"results\":[{\"destination\":{\"path\":\"L2I=\",\"offset\":\"0\"},\"outcome\":\"DEDUPED\","
            "\"bytes_accepted\":\"4096\",\"bytes_shared\":\"0\"}],\"bytes_requested\":\"4096\","
            "\"bytes_accepted\":\"4096\",\"bytes_shared\":\"0\"}\n");
}

TEST_F(NodeCommands, ALongDedupeGoesInPartsAndReadsAsOne) {
  run({"dedupe", "--length", "600m", "/a", "0", "/b", "0"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "DESTINATION  OFFSET  OUTCOME  ACCEPTED  NOTE\n"
            "/b                0  DEDUPED   600 MiB\n"
            "1 of 1 destinations deduped: 600 MiB of 600 MiB accepted\n");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(node.streams(), 1);
  ASSERT_EQ(node.dedupes().size(), 3u);
  EXPECT_EQ(node.dedupes()[2].destinations(0).offset(), 512 * kMiB);
  EXPECT_EQ(node.dedupes()[2].length(), 88 * kMiB);
}

TEST_F(NodeCommands, ProgressIsForTerminalsOnly) {
  run.terminal = true;
  run({"dedupe", "--length", "600m", "/a", "0", "/b", "0"});
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(absl::StartsWith(run.err, "\r0 B of 600 MiB\x1b[K\r256 MiB of 600 MiB")) << run.err;
  EXPECT_TRUE(absl::EndsWith(run.err, "\r\x1b[K")) << run.err;
  EXPECT_FALSE(absl::StrContains(run.out, "\r"));
}

TEST_F(NodeCommands, ALostNodeInALongDedupeKeepsWhatWasDone) {
  node.break_stream_at = 1;
  node.break_with = grpc::Status(grpc::StatusCode::UNAVAILABLE, "going away");
  run({"dedupe", "--length", "600m", "/a", "0", "/b", "0"});
  EXPECT_EQ(run.code, 3);
  EXPECT_EQ(run.out,
            "DESTINATION  OFFSET  OUTCOME  ACCEPTED  NOTE\n"
            "/b                0  STOPPED   256 MiB  UNAVAILABLE: going away\n"
            "0 of 1 destinations deduped: 256 MiB of 600 MiB accepted\n");
  EXPECT_TRUE(absl::StrContains(run.err, "error: dedupe: going away\n")) << run.err;
}

TEST_F(NodeCommands, AStreamThatEndsTooEarlyIsAnError) {
  node.break_stream_at = 0;
  run({"dedupe", "--length", "600m", "/a", "0", "/b", "0"});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(absl::StrContains(run.err, "reason:  INCOMPLETE")) << run.err;
}

TEST_F(NodeCommands, NothingTriedIsTheCallsError) {
  node.dedupe = [](const v1::DedupeRangesRequest&) {
    return WithField(ErrnoError(ENOENT, "open /a"), "source.path");
  };
  const std::string expected =
      absl::StrCat("error: dedupe: open /a: no such file (ENOENT)\n  address: ", server.address(),
                   "\n  field:   source.path\n  reason:  ENOENT\n  errno:   ENOENT (2)\n"
                   "  next:    check the path; it is the path on the node's host\n");
  for (const char* length : {"4k", "600m"}) {
    run({"dedupe", "--length", length, "/a", "0", "/b", "0"});
    EXPECT_EQ(run.code, 1);
    EXPECT_EQ(run.out, "");
    EXPECT_EQ(run.err, expected);
  }
}

v1::FindDuplicatesResponse Duplicate(const std::string& source, const std::string& destination,
                                     uint64_t length) {
  v1::FindDuplicatesResponse event;
  event.mutable_duplicate()->mutable_source()->set_path(source);
  event.mutable_duplicate()->mutable_destination()->set_path(destination);
  event.mutable_duplicate()->mutable_destination()->set_offset(8192);
  event.mutable_duplicate()->set_length(length);
  return event;
}

TEST_F(NodeCommands, FindPrintsGroupsAndASummary) {
  v1::FindDuplicatesResponse progress;
  progress.mutable_progress()->set_bytes_scanned(kMiB);
  v1::FindDuplicatesResponse summary;
  summary.mutable_summary()->set_files_scanned(4);
  summary.mutable_summary()->set_bytes_scanned(4 * kMiB);
  summary.mutable_summary()->set_bytes_found(4 * kMiB);
  summary.mutable_summary()->set_duplicate_ranges(3);
  summary.mutable_summary()->set_duplicate_bytes(2 * kMiB + 16384);
  summary.mutable_summary()->mutable_elapsed()->set_seconds(65);
  summary.mutable_summary()->set_bytes_freeable(2 * kMiB);
  summary.mutable_summary()->set_bytes_held(4096);
  v1::FindDuplicatesResponse largest;
  v1::DuplicateGroup& group = *largest.mutable_largest()->add_groups();
  group.mutable_source()->set_path("/r/a");
  group.mutable_source()->set_offset(3 * kMiB / 2);
  group.add_destinations()->set_path("/r/b");
  v1::FilePosition& second = *group.add_destinations();
  second.set_path("/r/c\n");
  second.set_offset(8192);
  group.set_length(kMiB);
  group.set_copies(2);
  group.set_bytes_freeable(2 * kMiB);
  node.found = {Duplicate("/r/a", "/r/b", kMiB),  progress, Duplicate("/r/a", "/r/c\n", kMiB),
                Duplicate("/r/d", "/r/e", 16384), largest,  summary};
  run({"find", "--root", "r", "--min_extent_length", "16k", "--min_file_size", "1k", "--bytes_per_second",
       "1g", "--workers", "4", "--include", "*.img", "--include", "[ab]", "--exclude", "*.tmp", "/r", "x"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "1048576 (1 MiB)  /r/a 0\n"
            "    = /r/b 8192\n"
            "    = /r/c\\n 8192\n"
            "16384 (16 KiB)  /r/d 0\n"
            "    = /r/e 8192\n"
            "files:       0 read, 4 with possible duplicates by checksum, 0 skipped, 0 failed\n"
            "scanned:     4 MiB\n"
            "duplicates:  2 MiB in 3 ranges\n"
            "would free:  2 MiB; 0 B to be moved, 0 B to be read\n"
            "left:        4 KiB held by files outside the scan, immutable ones or too many\n"
            "time:        1 m 05 s\n"
            "\n"
            "LARGEST GROUPS: FREES  COPIES  LENGTH  SOURCE           FIRST COPIES\n"
            "                2 MiB       2   1 MiB  /r/a at 1.5 MiB  /r/b, /r/c\\n at 8 KiB\n");
  EXPECT_EQ(run.code, 0);
  ASSERT_EQ(node.finds().size(), 1u);
  EXPECT_EQ(
      node.finds()[0].ShortDebugString(),
      "scan { root: \"r\" paths: \"/r\" paths: \"/home/me/x\" options { include: \"*.img\" include: \"[ab]\" "
      "exclude: \"*.tmp\" min_extent_length: 16384 min_file_size: 1024 dry_run: true bytes_per_second: "
      "1073741824 workers: 4 } }");
}

TEST_F(NodeCommands, FindAsJsonIsALineAnEvent) {
  v1::FindDuplicatesResponse summary;
  summary.mutable_summary();
  node.found = {Duplicate("/a", "/b", 1), summary};
  run({"find", "--root", "r", "-o", "json"});
  EXPECT_EQ(run.code, 0);
  EXPECT_TRUE(absl::StartsWith(run.out, "{\"duplicate\":{\"source\":{\"path\":\"L2E=\",\"offset\":\"0\"}"))
      << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "}\n{\"summary\":{\"files_scanned\":\"0\"")) << run.out;
}

TEST_F(NodeCommands, FindThatEndsWithoutSummaryIsAnError) {
  node.found = {Duplicate("/a", "/b", 4096)};
  run({"find", "--root", "r"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "reason:  INCOMPLETE")) << run.err;
  node.find_status = MakeError(absl::StatusCode::kNotFound, "ROOT_UNKNOWN", "no root r");
  run({"find", "--root", "r"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "reason:  ROOT_UNKNOWN")) << run.err;
}

TEST_F(NodeCommands, ExtentsGoThroughAllPages) {
  node.extents = [](const v1::GetExtentsRequest& request) {
    v1::GetExtentsResponse response;
    response.set_file_size(3 * kMiB);
    v1::Extent* extent = response.add_extents();
    extent->set_offset(request.offset());
    extent->set_length(kMiB);
    if (request.offset() == 0) {
      extent->set_physical(123456789);
      extent->set_shared(true);
      extent->set_encoded(true);
      response.set_next_offset(2 * kMiB);
    } else {
      extent->set_delayed_allocation(true);
      extent->set_unwritten(true);
      extent->set_inline_data(true);
    }
    return response;
  };
  run({"extents", "f"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "      OFFSET        LENGTH        PHYSICAL  FLAGS\n"
            "           0       1048576       123456789  shared,encoded\n"
            "     2097152       1048576               -  inline,unwritten,not-on-disk-yet\n"
            "2 extents: 2 MiB with storage, 1 MiB shared, file size 3 MiB\n");
  EXPECT_EQ(run.code, 0);
  // A range that ends in the first page is not asked on.
  run({"extents", "--length", "2m", "f"});
  EXPECT_TRUE(absl::EndsWith(run.out, "1 extents: 1 MiB with storage, 1 MiB shared, file size 3 MiB\n"))
      << run.out;
}

TEST_F(NodeCommands, ExtentsRefuseToGoRoundForEver) {
  node.extents = [](const v1::GetExtentsRequest&) {
    v1::GetExtentsResponse response;
    response.set_next_offset(4096);
    return response;
  };
  run({"extents", "f"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "reason:  BAD_ANSWER")) << run.err;
}

TEST_F(NodeCommands, NodeShowAsksTheNode) {
  v1::Node answer;
  answer.set_name("storage-7");
  answer.set_version("0.1.0");
  answer.set_kernel("6.1.0");
  (*answer.mutable_labels())["zone"] = "a";
  (*answer.mutable_labels())["disk"] = "nvme";
  answer.mutable_started()->set_seconds(1700000000);
  answer.set_running_tasks(1);
  answer.set_max_tasks(2);
  v1::Root* data = answer.add_roots();
  data->set_name("data");
  data->set_path("/srv/\xff");
  data->set_filesystem("btrfs");
  data->set_uuid("12-34");
  data->set_size_bytes(uint64_t{1} << 40);
  data->set_free_bytes(uint64_t{1} << 39);
  data->set_block_size(4096);
  data->set_dedupe_supported(true);
  data->set_read_only(true);
  v1::Root* gone = answer.add_roots();
  gone->set_name("gone");
  gone->set_path("/mnt/x");
  gone->mutable_error()->set_reason("ROOT_ABSENT");
  gone->mutable_error()->set_message("nothing is mounted there");
  answer.set_profile("walk");
  answer.add_capabilities("CAP_DAC_OVERRIDE");
  v1::Lack* lack = answer.mutable_roots(0)->add_lacks();
  lack->set_capability("CAP_SYS_ADMIN");
  lack->set_loses("read-only snapshots are not shared");
  lack = answer.mutable_roots(0)->add_lacks();
  lack->set_capability("CAP_X");
  lack->set_loses("\x1b all");
  lack->set_needed(true);
  node.node = answer;
  run({"node", "show", "--node", server.address()});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "name:        storage-7\n"
            "version:     0.1.0\n"
            "kernel:      6.1.0\n"
            "labels:      disk=nvme,zone=a\n"
            "started:     2023-11-14 22:13:20Z\n"
            "tasks:       1 running, at most 2\n"
            "rights:      walk: CAP_DAC_OVERRIDE\n"
            "without:     CAP_SYS_ADMIN on data: read-only snapshots are not shared\n"
            "lacks:       CAP_X on data: \\x1b all\n"
            "\n"
            "ROOT  PATH       TYPE    SIZE     FREE  BLOCK  DEDUPE  UUID   NOTE\n"
            "data  /srv/\\xff  btrfs  1 TiB  512 GiB  4 KiB  yes     12-34  read-only\n"
            "gone  /mnt/x     -          -        -      -  -       -      ROOT_ABSENT: nothing is mounted "
            "there\n");
  EXPECT_EQ(run.code, 0);
}

TEST_F(NodeCommands, NoAnswerUntilTheDeadlineIsExitCodeThree) {
  node.hang = true;
  run({"node", "show", "--timeout", "100ms"});
  EXPECT_EQ(run.code, 3);
  EXPECT_TRUE(
      absl::StrContains(run.err, "next:    check that the server runs, or repeat with a longer --timeout"))
      << run.err;
}

TEST(NodeCommandsWithoutNode, UnreachableIsExitCodeThree) {
  std::string address;
  {
    FakeNode node;
    FakeServer server(node);
    address = server.address();
  }
  const std::vector<std::vector<std::string>> kCommands = {
      {"dedupe", "--length", "4k", "/a", "0", "/b", "0"},
      {"dedupe", "--length", "600m", "/a", "0", "/b", "0"},
      {"find", "--root", "r"},
      {"extents", "/a"},
      {"node", "show"}};
  for (const std::vector<std::string>& command : kCommands) {
    CommandLine run;
    run.environment["COWHERD_NODE"] = address;
    run(command);
    EXPECT_EQ(run.code, 3) << command[0] << run.err;
    EXPECT_TRUE(
        absl::StrContains(run.err, absl::StrCat("\n  address: ", address, "\n  reason:  UNAVAILABLE\n")))
        << run.err;
    EXPECT_EQ(run.out, "");
  }
}

}  // namespace
}  // namespace cowherd::testing
