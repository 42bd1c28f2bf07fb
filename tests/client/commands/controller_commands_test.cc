// job and node list, against a fake controller.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "tests/client/commands/command_line.h"
#include "tests/testing/fake_servers.h"

namespace cowherd::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Each is a later one.
v1::Job MakeJob(v1::JobState state) {
  static uint64_t revision = 0;
  v1::Job job;
  job.set_id("7f3a");
  job.set_revision(++revision);
  job.set_state(state);
  job.mutable_spec()->set_display_name("nightly");
  job.mutable_spec()->mutable_scan()->mutable_nodes()->set_all(true);
  job.mutable_created()->set_seconds(1700000000);
  v1::TaskTotals& totals = *job.mutable_totals();
  totals.set_files_scanned(10);
  totals.set_files_read(4);
  totals.set_files_unchanged(3);
  totals.set_bytes_unchanged(kMiB);
  totals.set_bytes_scanned(10 * kMiB);
  totals.set_bytes_found(20 * kMiB);
  totals.set_duplicate_ranges(2);
  totals.set_duplicate_bytes(4 * kMiB);
  totals.set_bytes_freeable(3 * kMiB + 512 * 1024);
  totals.set_bytes_moved(512 * 1024);
  totals.set_bytes_read(9 * kMiB);
  totals.set_bytes_unprofitable(8192);
  totals.set_bytes_fragmenting(4096);
  totals.set_work_planned(9 * kMiB);
  totals.set_work_done(2 * kMiB);
  totals.set_rate_wait_ns(2'500'000'000);
  totals.set_bytes_requested(4 * kMiB);
  totals.set_bytes_accepted(3 * kMiB);
  totals.set_bytes_won(-4096);
  totals.set_ranges_deduped(1);
  totals.set_ranges_differ(1);
  totals.mutable_elapsed()->set_seconds(3);
  v1::Task* task = job.add_tasks();
  task->set_id("7f3a-0");
  task->set_node("n1");
  task->set_root("data");
  task->set_state(v1::TASK_RUNNING);
  task->set_attempt(1);
  *task->mutable_totals() = totals;
  task = job.add_tasks();
  task->set_id("7f3a-1");
  task->set_node("n2");
  task->set_state(v1::TASK_WAITING);
  task->mutable_next_attempt()->set_seconds(1700000060);
  task->mutable_error()->set_reason("UNAVAILABLE");
  task->mutable_error()->set_message("node is down");
  return job;
}

constexpr char kJobText[] =
    "created:     2023-11-14 22:13:20Z\n"
    "started:     -\n"
    "ended:       -\n"
    "files:       4 read, 6 with possible duplicates by checksum, 0 skipped, 0 failed\n"
    "scanned:     10 MiB of 20 MiB\n"
    "unchanged:   1 MiB in 3 files, not looked at again: an earlier scan did (--full looks at all)\n"
    "duplicates:  4 MiB in 2 ranges\n"
    "planned:     3.5 MiB to go free; 512 KiB to be moved, 9 MiB to be read\n"
    "sharing:     2 MiB of 9 MiB read to be compared or moved\n"
    "left:        8 KiB not worth moving what is unique, 4 KiB would split a file too often\n"
    "accepted:    3 MiB of 4 MiB requested\n"
    "ranges:      1 deduped, 1 differ, 0 failed\n"
    "space won:   -4 KiB\n"
    "held back:   2 s by the rate, 0 s by I/O pressure (all threads added up)\n"
    "time:        3 s\n"
    "\n"
    "NODE  ROOT  STATE    TRY  SCANNED  DUPLICATE  PLANNED  ACCEPTED     WON  NOTE\n"
    "n1    data  RUNNING    1   10 MiB      4 MiB  3.5 MiB     3 MiB  -4 KiB\n"
    "n2    -     WAITING    0      0 B        0 B      0 B       0 B     0 B  UNAVAILABLE: node is down; "
    "next try "
    "2023-11-14 "
    "22:14:20Z\n";

// Told once by a watch.
constexpr char kWaits[] = "job 7f3a: n2 waits: UNAVAILABLE: node is down; next try 2023-11-14 22:14:20Z\n";

class ControllerCommands : public ::testing::Test {
 protected:
  ControllerCommands() { run.environment["COWHERD_CONTROLLER"] = server.address(); }

  FakeController controller;
  FakeServer server{controller};
  CommandLine run;
};

TEST_F(ControllerCommands, CreateFillsInTheSpec) {
  controller.job = MakeJob(v1::PENDING);
  run({"job",
       "create",
       "--label",
       "zone=a",
       "--label",
       "disk=",
       "--root",
       "data",
       "--path",
       "/srv/[x]/",
       "--exclude",
       "*.tmp",
       "--min_extent_length",
       "1m",
       "--dry_run",
       "--full",
       "--bytes_per_second",
       "200m",
       "--workers",
       "2",
       "--min_freed_per_moved",
       "8",
       "--max_extents_per_file",
       "1000",
       "--display_name",
       "[nightly]",
       "--on_lost_node",
       "give_up",
       "--request_id",
       "id-1"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out, "job 7f3a: created\nFollow it: cowherd job watch 7f3a\n");
  EXPECT_EQ(run.code, 0);
  ASSERT_EQ(controller.creates().size(), 1u);
  EXPECT_EQ(
      controller.creates()[0].ShortDebugString(),
      "spec { display_name: \"[nightly]\" scan { nodes { labels { labels { key: \"disk\" value: \"\" } "
      "labels { "
      "key: \"zone\" value: \"a\" } } } roots: \"data\" paths: \"/srv/[x]\" options { exclude: \"*.tmp\" "
      "min_extent_length: 1048576 dry_run: true bytes_per_second: 209715200 workers: 2 min_freed_per_moved: "
      "8 "
      "max_extents_per_file: 1000 full_scan: true } } on_lost_node: LOST_NODE_GIVE_UP } request_id: "
      "\"id-1\"");
}

TEST_F(ControllerCommands, CreateSelectsNodesByNameOrAll) {
  controller.job = MakeJob(v1::PENDING);
  run({"job", "create", "--name", "n1", "n2", "--name", "n3"});
  run({"job", "create", "--all"});
  ASSERT_EQ(controller.creates().size(), 2u);
  EXPECT_EQ(controller.creates()[0].spec().scan().nodes().ShortDebugString(),
            "names { names: \"n1\" names: \"n2\" names: \"n3\" }");
  EXPECT_TRUE(controller.creates()[1].spec().scan().nodes().all());
  // Each has an id of its own, a random UUID.
  const std::string first = controller.creates()[0].request_id();
  EXPECT_NE(first, controller.creates()[1].request_id());
  ASSERT_EQ(first.size(), 36u);
  EXPECT_EQ(first[14], '4');
  EXPECT_TRUE(absl::StrContains("89ab", first.substr(19, 1))) << first;
  EXPECT_EQ(first.find_first_not_of("0123456789abcdef-"), std::string::npos);
}

TEST_F(ControllerCommands, CreateFromAFileOfRanges) {
  const std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/ranges.json");
  std::ofstream(path) << R"({"nodes": [{"node": "n1", "ranges": {"requests": [{"length": 65536,
      "source": {"path": "L2EvYg=="}, "destinations": [{"path": "L2EvYw==", "offset": "4096"}]}]}}]})";
  controller.job = MakeJob(v1::PENDING);
  run({"job", "create", "--ranges", path});
  EXPECT_EQ(run.code, 0) << run.err;
  ASSERT_EQ(controller.creates().size(), 1u);
  EXPECT_EQ(
      controller.creates()[0].spec().ranges().ShortDebugString(),
      "nodes { node: \"n1\" ranges { requests { source { path: \"/a/b\" } length: 65536 destinations { path: "
      "\"/a/c\" offset: 4096 } } } }");
  std::ofstream(path) << R"({"nods": []})";
  run({"job", "create", "--ranges", path});
  EXPECT_EQ(run.code, 2);
  EXPECT_TRUE(absl::StartsWith(run.err, absl::StrCat("error: --ranges: ", path, " is not the JSON of a ")))
      << run.err;
  EXPECT_TRUE(absl::StrContains(run.err, "nods")) << run.err;
}

TEST_F(ControllerCommands, CreateAndWaitTellsHowItEnded) {
  const struct {
    v1::JobState state;
    std::string text;
    int code;
  } kCases[] = {
      {v1::SUCCEEDED, "SUCCEEDED", 0}, {v1::JOB_FAILED, "FAILED", 1}, {v1::CANCELLED, "CANCELLED", 1}};
  for (const auto& c : kCases) {
    controller.job = MakeJob(v1::PENDING);
    controller.watches = {
        {{MakeJob(v1::PENDING), MakeJob(v1::RUNNING), MakeJob(v1::RUNNING), MakeJob(c.state)},
         absl::OkStatus()}};
    run({"job", "create", "--all", "--wait"});
    EXPECT_EQ(run.err, "");
    EXPECT_EQ(run.out, absl::StrCat("job 7f3a: created\njob 7f3a: PENDING\n", kWaits,
                                    "job 7f3a: RUNNING\n"
                                    "job:         7f3a\nname:        nightly\nstate:       ",
                                    c.text, "\n", kJobText));
    EXPECT_EQ(run.code, c.code);
  }
}

TEST_F(ControllerCommands, WatchTellsEachTryThatFails) {
  const v1::Job first = MakeJob(v1::RUNNING);
  v1::Job second = MakeJob(v1::RUNNING);
  v1::Task& task = *second.mutable_tasks(1);
  task.set_root("data");
  task.mutable_error()->set_reason("ENOSPC");
  task.mutable_error()->set_message("full");
  task.mutable_next_attempt()->set_seconds(1700000120);
  v1::Job failed = second;
  failed.set_revision(second.revision() + 1);
  failed.set_state(v1::JOB_FAILED);
  failed.mutable_tasks(1)->set_state(v1::TASK_FAILED);
  failed.mutable_tasks(1)->clear_next_attempt();
  controller.watches = {{{first, second, second, failed}, absl::OkStatus()}};
  run({"job", "watch", "7f3a"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StartsWith(
      run.out, absl::StrCat("job 7f3a: RUNNING\n", kWaits,
                            "job 7f3a: n2/data waits: ENOSPC: full; next try 2023-11-14 22:15:20Z\n"
                            "job:         7f3a\n")))
      << run.out;
  EXPECT_TRUE(absl::StrContains(
      run.out, "FAILED     0      0 B        0 B      0 B       0 B     0 B  ENOSPC: full\n"))
      << run.out;
}

TEST_F(ControllerCommands, WatchGoesOnWhenTheControllerComesBack) {
  controller.watches = {{{MakeJob(v1::RUNNING)}, absl::UnavailableError("restart")},
                        {{}, absl::UnavailableError("still starting")},
                        {{MakeJob(v1::RUNNING), MakeJob(v1::SUCCEEDED)}, absl::OkStatus()}};
  run({"job", "watch", "7f3a"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "the controller is gone; trying to reach it again\n");
  ASSERT_EQ(run.slept.size(), 2u);
  EXPECT_LE(run.slept[0], absl::Milliseconds(200));
  EXPECT_GE(run.slept[1], absl::Milliseconds(200));
  EXPECT_TRUE(absl::StartsWith(run.out, absl::StrCat("job 7f3a: RUNNING\n", kWaits, "job:         7f3a\n")))
      << run.out;
}

TEST_F(ControllerCommands, WatchGivesUpInTheEnd) {
  controller.watches = {{{MakeJob(v1::RUNNING)}, absl::OkStatus()}};
  for (int i = 0; i < 20; ++i) controller.watches.push_back({{}, absl::OkStatus()});
  run({"job", "watch", "7f3a"});
  EXPECT_EQ(run.code, 3);
  EXPECT_EQ(run.slept.size(), 12u);
  EXPECT_TRUE(absl::StrContains(run.err, "job 7f3a was RUNNING when last seen\n")) << run.err;
}

TEST_F(ControllerCommands, WatchOfAnUnknownJob) {
  controller.watches = {{{}, MakeError(absl::StatusCode::kNotFound, "JOB_UNKNOWN", "no job 1")}};
  run({"job", "watch", "1"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "next:    look for its id: cowherd job list")) << run.err;
}

TEST_F(ControllerCommands, WatchAsJsonIsALineAChange) {
  controller.watches = {{{MakeJob(v1::RUNNING), MakeJob(v1::SUCCEEDED)}, absl::OkStatus()}};
  run({"job", "watch", "7f3a", "-o", "json"});
  EXPECT_EQ(run.code, 0);
  const size_t second = run.out.find("}\n{\"id\":\"7f3a\"");
  ASSERT_NE(second, std::string::npos) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out.substr(0, second), "\"state\":\"RUNNING\""));
  EXPECT_TRUE(absl::StrContains(run.out.substr(second), "\"state\":\"SUCCEEDED\""));
}

TEST_F(ControllerCommands, WatchShowsProgressOnATerminal) {
  run.terminal = true;
  controller.watches = {{{MakeJob(v1::RUNNING), MakeJob(v1::SUCCEEDED)}, absl::OkStatus()}};
  run({"job", "watch", "7f3a"});
  EXPECT_TRUE(absl::StrContains(run.err, "\rRUNNING  tasks 0/2  finding  10 MiB\x1b[K")) << run.err;
  EXPECT_TRUE(absl::EndsWith(run.err, "\r\x1b[K")) << run.err;
}

TEST_F(ControllerCommands, ExplicitRangesThatDifferAreExitCodeOne) {
  v1::Job job;
  job.set_id("8");
  job.set_state(v1::SUCCEEDED);
  job.mutable_spec()->mutable_ranges();
  v1::Task* task = job.add_tasks();
  task->set_node("n1");
  task->set_state(v1::TASK_SUCCEEDED);
  v1::DestinationResult* result = task->add_ranges()->mutable_response()->add_results();
  result->set_outcome(v1::DEDUPED);
  controller.watches = {{{job}, absl::OkStatus()}};
  run({"job", "watch", "8"});
  EXPECT_EQ(run.code, 0);
  result = task->add_ranges()->mutable_response()->add_results();
  result->set_outcome(v1::DATA_DIFFERS);
  result->mutable_destination()->set_path("/d\x1b");
  task->add_ranges()->mutable_error()->set_reason("OUTSIDE_ROOTS");
  controller.watches = {{{job}, absl::OkStatus()}};
  run({"job", "watch", "8"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::EndsWith(run.out,
                             "\nNODE  REQUEST  DESTINATION  OFFSET  OUTCOME       NOTE\n"
                             "n1          1  /d\\x1b            0  DATA_DIFFERS\n"
                             "n1          2  -                 -  NOT TRIED     OUTSIDE_ROOTS\n"))
      << run.out;
}

TEST_F(ControllerCommands, GetPrintsTheJob) {
  controller.job = MakeJob(v1::RUNNING);
  run({"job", "get", "7f3a"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out,
            absl::StrCat("job:         7f3a\nname:        nightly\nstate:       RUNNING\n", kJobText));
  EXPECT_EQ(controller.calls(), std::vector<std::string>{"GetJob 7f3a"});
}

TEST_F(ControllerCommands, CreateTakesPriorityAndCanary) {
  controller.job = MakeJob(v1::PENDING);
  run({"job", "create", "--all", "--priority", "-5", "--canary", "3/2"});
  EXPECT_EQ(run.code, 0) << run.err;
  ASSERT_EQ(controller.creates().size(), 1u);
  EXPECT_EQ(controller.creates()[0].spec().priority(), -5);
  EXPECT_EQ(controller.creates()[0].spec().canary().ShortDebugString(), "nodes: 3 max_failures: 2");
  for (const char* wrong : {"0", "x", "3/", "3/0", "/2", "-1"}) {
    run({"job", "create", "--all", absl::StrCat("--canary=", wrong)});
    EXPECT_EQ(run.code, 2) << wrong;
    EXPECT_TRUE(absl::StrContains(run.err, "--canary")) << run.err;
  }
}

TEST_F(ControllerCommands, CancelPauseResumeAndDelete) {
  controller.job = MakeJob(v1::PAUSED);
  for (const char* command : {"cancel", "pause", "resume"}) {
    run({"job", command, "7f3a"});
    EXPECT_EQ(run.code, 0);
    EXPECT_TRUE(absl::StartsWith(run.out, "job 7f3a: PAUSED\n")) << run.out;
    const bool stops = command != std::string("resume");
    EXPECT_EQ(absl::StrContains(run.out, "stays shared"), stops) << run.out;
    EXPECT_EQ(absl::StrContains(run.out, "within seconds"), stops) << run.out;
    run({"job", command, "7f3a", "-o", "json"});
    EXPECT_FALSE(absl::StrContains(run.out, "within seconds")) << run.out;
  }
  controller.job->set_state(v1::CANCELLED);
  run({"job", "cancel", "7f3a"});
  EXPECT_EQ(run.out, "job 7f3a: CANCELLED\n");
  run({"job", "delete", "7f3a"});
  EXPECT_EQ(run.out, "job 7f3a: deleted\n");
  run({"job", "delete", "7f3a", "-o", "json"});
  EXPECT_EQ(run.out, "{}\n");
  EXPECT_EQ(controller.calls(),
            (std::vector<std::string>{"CancelJob 7f3a", "CancelJob 7f3a", "PauseJob 7f3a", "PauseJob 7f3a",
                                      "ResumeJob 7f3a", "ResumeJob 7f3a", "CancelJob 7f3a", "DeleteJob 7f3a",
                                      "DeleteJob 7f3a"}));
  controller.delete_status = MakeError(absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE", "job 7f3a runs");
  run({"job", "delete", "7f3a"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "next:    end it first: cowherd job cancel")) << run.err;
}

TEST_F(ControllerCommands, ADryRunShowsItsEstimateByRootAndByLargestGroups) {
  v1::Job job = MakeJob(v1::SUCCEEDED);
  job.mutable_spec()->mutable_scan()->mutable_options()->set_dry_run(true);
  job.clear_tasks();
  uint64_t bytes = 2 * kMiB;
  for (const char* node : {"n1", "n2"}) {
    v1::Task& task = *job.add_tasks();
    task.set_node(node);
    task.set_root("data");
    task.set_state(v1::TASK_SUCCEEDED);
    task.set_attempt(1);
    *task.mutable_totals() = job.totals();
    for (int i = 0; i < 15; ++i) {
      v1::DuplicateGroup& group = *task.mutable_largest()->add_groups();
      group.mutable_source()->set_path(absl::StrCat("/r/\n", i));
      group.mutable_source()->set_offset(4096);
      group.add_destinations()->set_path("/r/copy");
      group.set_length(kMiB);
      group.set_copies(2);
      group.set_bytes_freeable(bytes - static_cast<uint64_t>(i) * 1024);
    }
    bytes = 3 * kMiB;
  }
  controller.job = job;
  run({"job", "get", "7f3a"});
  EXPECT_EQ(run.err, "");
  EXPECT_TRUE(absl::StrContains(run.out, "would free:  3.5 MiB; 512 KiB to be moved, 9 MiB to be read\n"))
      << run.out;
  EXPECT_TRUE(
      absl::StrContains(run.out,
                        "NODE  ROOT  STATE      TRY  SCANNED  DUPLICATE  WOULD FREE    MOVED   READ  NOTE\n"
                        "n1    data  SUCCEEDED    1   10 MiB      4 MiB     3.5 MiB  512 KiB  9 MiB\n"))
      << run.out;
  EXPECT_TRUE(
      absl::StrContains(run.out,
                        "\n"
                        "LARGEST GROUPS: FREES  COPIES  LENGTH  SOURCE            FIRST COPIES  NODE\n"
                        "                3 MiB       2   1 MiB  /r/\\n0 at 4 KiB   /r/copy       n2\n"))
      << run.out;
  // The first fifteen are of the other node; no more than twenty in all.
  EXPECT_TRUE(absl::StrContains(run.out, "/r/\\n4 at 4 KiB   /r/copy       n1\n")) << run.out;
  EXPECT_FALSE(absl::StrContains(run.out, "/r/\\n5 at 4 KiB   /r/copy       n1\n")) << run.out;
}

TEST_F(ControllerCommands, ListGoesThroughAllPages) {
  controller.list = [](const v1::ListJobsRequest& request) {
    v1::ListJobsResponse response;
    v1::Job* job = response.add_jobs();
    *job = MakeJob(request.page_token().empty() ? v1::RUNNING : v1::JOB_FAILED);
    if (request.page_token().empty()) response.set_next_page_token("2");
    return response;
  };
  run({"job", "list", "--state", "running", "--state", "FAILED"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.out,
            "ID    STATE    NAME     CREATED               SCANNED  DUPLICATE  ACCEPTED     WON\n"
            "7f3a  RUNNING  nightly  2023-11-14 22:13:20Z   10 MiB      4 MiB     3 MiB  -4 KiB\n"
            "7f3a  FAILED   nightly  2023-11-14 22:13:20Z   10 MiB      4 MiB     3 MiB  -4 KiB\n");
  ASSERT_EQ(controller.lists().size(), 2u);
  EXPECT_EQ(controller.lists()[1].ShortDebugString(), "states: RUNNING states: JOB_FAILED page_token: \"2\"");
}

TEST_F(ControllerCommands, ListRefusesToGoRoundForEver) {
  controller.list = [](const v1::ListJobsRequest&) {
    v1::ListJobsResponse response;
    response.set_next_page_token("x");
    return response;
  };
  run({"job", "list"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "reason:  BAD_ANSWER")) << run.err;
}

TEST_F(ControllerCommands, NodeListAndShow) {
  v1::NodeStatus* up = controller.nodes.add_nodes();
  up->set_name("n1");
  up->set_address("10.0.0.1:7300");
  up->set_state(v1::NODE_UP);
  up->mutable_last_seen()->set_seconds(1700000000);
  up->set_running_tasks(2);
  up->mutable_node()->set_name("n1");
  up->mutable_node()->set_version("0.1.0");
  up->mutable_node()->add_roots()->set_name("data");
  up->mutable_node()->add_roots()->set_name("home");
  v1::NodeStatus* down = controller.nodes.add_nodes();
  down->set_name("n2");
  down->set_address("10.0.0.2:7300");
  down->set_state(v1::NODE_DOWN);
  down->mutable_error()->set_reason("UNAVAILABLE");
  down->mutable_error()->set_message("refused");
  for (const char* address : {"10.0.0.2:7300", "10.1.0.2:7300"}) {
    down->add_addresses()->set_address(address);
  }
  *down->mutable_addresses(1)->mutable_error() = down->error();
  v1::NodeStatus* lost = controller.nodes.add_nodes();
  lost->set_name("n4");
  lost->set_state(v1::NODE_LOST);
  v1::NodeStatus* weak = controller.nodes.add_nodes();
  weak->set_name("n5");
  weak->set_state(v1::NODE_UP);
  v1::Root* root = weak->mutable_node()->add_roots();
  root->set_name("vm");
  root->add_lacks()->set_capability("CAP_FOWNER");
  v1::Lack* lack = root->add_lacks();
  lack->set_capability("CAP_SYS_ADMIN");
  lack->set_needed(true);
  run({"node", "list"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(
      run.out,
      "NAME  STATE  ADDRESS           ROOTS      TASKS  VERSION  LAST SEEN             NOTE\n"
      "n1    UP     10.0.0.1:7300     data,home      2  0.1.0    2023-11-14 22:13:20Z\n"
      "n2    DOWN   10.0.0.2:7300 +1  -              0  -        -                     UNAVAILABLE: refused\n"
      "n4    LOST   -                 -              0  -        -\n"
      "n5    UP     -                 vm             0  -        -                     lacks CAP_SYS_ADMIN "
      "on "
      "vm\n");
  run({"node", "show", "n2"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(
      run.out,
      "node:        n2\nstate:       DOWN\nerror:       UNAVAILABLE: refused\naddress:     10.0.0.2:7300\n"
      "also at:     10.1.0.2:7300, UNAVAILABLE: refused\nlast seen:   -\nour tasks:   0 running\n");
  run({"node", "show", "n3"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "next:    look for its name: cowherd node list")) << run.err;
  run({"node", "list", "-o", "json"});
  EXPECT_TRUE(absl::StartsWith(run.out, "{\"nodes\":[{\"name\":\"n1\",\"address\":\"10.0.0.1:7300\""))
      << run.out;
}

TEST_F(ControllerCommands, AnotherControllerIsAskedWhereOneIsGone) {
  std::string gone;
  {
    FakeController other;
    FakeServer other_server(other);
    gone = other_server.address();
  }
  controller.job = MakeJob(v1::PENDING);
  run.environment["COWHERD_CONTROLLER"] = absl::StrCat(gone, ",", run.environment["COWHERD_CONTROLLER"]);
  for (int i = 0; i < 5; ++i) {
    for (const char* command : {"get", "cancel", "pause"}) {
      run({"job", command, "7f3a"});
      EXPECT_EQ(run.code, 0) << run.err;
    }
  }
  EXPECT_EQ(controller.calls().size(), 15u);
  controller.watches = {{{MakeJob(v1::RUNNING), MakeJob(v1::SUCCEEDED)}, absl::OkStatus()}};
  run({"job", "create", "--all", "--wait"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(controller.creates().size(), 1u);
  run({"job", "get", "7f3a", "--controller", absl::StrCat(gone, ",")});
  EXPECT_EQ(run.code, 2);
  EXPECT_TRUE(absl::StrContains(run.err, "--controller")) << run.err;
}

TEST_F(ControllerCommands, NoLeaderIsToldAsSuch) {
  controller.job = NotLeader("");
  run({"job", "cancel", "7f3a", "--timeout", "1s"});
  EXPECT_EQ(run.code, 3);
  EXPECT_FALSE(run.slept.empty());
  EXPECT_TRUE(absl::StrContains(run.err, "no controller leads just now")) << run.err;
}

TEST(ControllerCommandsWithoutController, UnreachableTellsHowToRepeat) {
  std::string address;
  {
    FakeController controller;
    FakeServer server(controller);
    address = server.address();
  }
  CommandLine run;
  run.environment["COWHERD_CONTROLLER"] = address;
  run({"job", "create", "--all", "--request_id", "id-1"});
  EXPECT_EQ(run.code, 3);
  EXPECT_TRUE(absl::EndsWith(run.err, "To repeat safely, add --request_id id-1\n")) << run.err;
  for (const char* command : {"get", "watch", "cancel", "pause", "resume", "delete"}) {
    run({"job", command, "1"});
    EXPECT_EQ(run.code, 3) << command;
  }
  run({"job", "list"});
  EXPECT_EQ(run.code, 3);
  EXPECT_TRUE(run.slept.empty());
}

}  // namespace
}  // namespace cowherd::testing
