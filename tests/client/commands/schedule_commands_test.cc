// schedule, against a fake controller.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/commands/schedule_text.h"
#include "client/commands/window_text.h"
#include "server/base/status.h"
#include "tests/client/commands/command_line.h"
#include "tests/testing/fake_schedules.h"
#include "tests/testing/fake_servers.h"

namespace cowherd::testing {
namespace {

v1::Schedule Nightly() {
  v1::Schedule schedule;
  schedule.set_name("nightly");
  schedule.set_revision(4);
  v1::ScheduleSpec& spec = *schedule.mutable_spec();
  spec.set_cron("30 2 * * *");
  spec.set_time_zone("Europe/Berlin");
  spec.mutable_job()->mutable_scan()->mutable_nodes()->set_all(true);
  // 2025-03-29 02:30 CET.
  schedule.mutable_next_run()->set_seconds(1743211800);
  return schedule;
}

v1::Schedule Eventful() {
  v1::Schedule schedule = Nightly();
  v1::ScheduleSpec& spec = *schedule.mutable_spec();
  spec.mutable_job()->set_display_name("[nightly]\x1b");
  spec.mutable_job()->mutable_scan()->mutable_options()->set_dry_run(true);
  spec.mutable_missed_run_deadline()->set_seconds(7200);
  spec.set_overlap(v1::OVERLAP_REPLACE);
  spec.set_keep_failed(0);
  const auto add = [&schedule](int64_t seconds, v1::ScheduleRunState state, const std::string& job,
                               const std::string& request) {
    v1::ScheduleRun& run = *schedule.add_runs();
    run.mutable_time()->set_seconds(seconds);
    run.set_state(state);
    run.set_job_id(job);
    run.set_request_id(request);
  };
  add(1743039000, v1::RUN_SUCCEEDED, "7f3a", "");
  add(1743125400, v1::RUN_ACTIVE, "7f3b", "by hand");
  add(1743125401, v1::RUN_STARTING, "", "");
  schedule.mutable_skipped()->set_seconds(1743039000);
  schedule.set_skip_reason(v1::SKIPPED_STILL_RUNNING);
  schedule.mutable_start_error()->set_reason("NO_NODES");
  schedule.mutable_start_error()->set_message("no node is known");
  return schedule;
}

TEST(ScheduleText, ShowsTimesOnTheClockOfTheZone) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(FormatTimeIn(time, "Europe/Berlin"), "-");
  // The hour that comes twice.
  time.set_seconds(1761438600);
  EXPECT_EQ(FormatTimeIn(time, "Europe/Berlin"), "2025-10-26 02:30 CEST");
  time.set_seconds(1761438600 + 3600);
  EXPECT_EQ(FormatTimeIn(time, "Europe/Berlin"), "2025-10-26 02:30 CET");
  EXPECT_EQ(FormatTimeIn(time, ""), "2025-10-26 01:30 UTC");
  EXPECT_EQ(FormatTimeIn(time, "Europe/Atlantis"), "2025-10-26 01:30 UTC");
}

TEST(ScheduleText, AllOfASchedule) {
  std::ostringstream out;
  PrintSchedule(out, Eventful(), absl::FromUnixSeconds(1743211800) - absl::Hours(3) - absl::Minutes(7));
  EXPECT_EQ(out.str(),
            "schedule:    nightly\n"
            "state:       ACTIVE\n"
            "cron:        30 2 * * * in Europe/Berlin\n"
            "next run:    2025-03-29 02:30 CET, in 3 h 07 m\n"
            "name:        [nightly]\\x1b\n"
            "job:         scan of all nodes (dry run)\n"
            "deadline:    2 h 00 m\n"
            "overlap:     replace\n"
            "keeps:       3 succeeded, 0 failed\n"
            "revision:    4\n"
            "skipped:     2025-03-27 02:30 CET, still running\n"
            "error:       NO_NODES: no node is known\n"
            "\n"
            "RUN                   STATE      JOB   NOTE\n"
            "2025-03-28 02:30 CET  STARTING   -\n"
            "2025-03-28 02:30 CET  ACTIVE     7f3b  asked for\n"
            "2025-03-27 02:30 CET  SUCCEEDED  7f3a\n");
}

TEST(ScheduleText, ATableOfSchedules) {
  v1::Schedule suspended = Nightly();
  suspended.set_name("weekly");
  suspended.mutable_spec()->set_suspended(true);
  suspended.mutable_spec()->clear_time_zone();
  suspended.clear_next_run();
  v1::Schedule skipped = Eventful();
  skipped.clear_start_error();
  std::ostringstream out;
  Table table = MakeScheduleTable();
  const absl::Time now = absl::FromUnixSeconds(1743211800) - absl::Hours(50);
  AddScheduleRow(table, skipped, now);
  AddScheduleRow(table, suspended, now);
  table.Flush(out);
  EXPECT_EQ(
      out.str(),
      "NAME     STATE      CRON        ZONE           NEXT RUN              IN        RUNNING  LAST       "
      "NOTE\n"
      "nightly  ACTIVE     30 2 * * *  Europe/Berlin  2025-03-29 02:30 CET  2 d 02 h        1  SUCCEEDED  "
      "skipped 2025-03-27 02:30 CET, still running\n"
      "weekly   SUSPENDED  30 2 * * *  UTC            -                     -               0  -\n");
}

class ScheduleCommands : public ::testing::Test {
 protected:
  ScheduleCommands() {
    run.environment["COWHERD_CONTROLLER"] = server.address();
    schedules.schedule = Nightly();
  }

  FakeSchedules schedules;
  FakeServer server{schedules};
  CommandLine run;
};

TEST_F(ScheduleCommands, CreateFillsInTheSpec) {
  run({"schedule",
       "create",
       "nightly",
       "--cron",
       "30 2 * * *",
       "--time_zone",
       "Europe/Berlin",
       "--missed_run_deadline",
       "2h",
       "--overlap",
       "replace",
       "--keep_succeeded",
       "5",
       "--keep_failed",
       "0",
       "--suspended",
       "--label",
       "zone=a",
       "--root",
       "data",
       "--dry_run",
       "--display_name",
       "tidy"});
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out, "schedule nightly: created; next run 2025-03-29 02:30 CET\n");
  ASSERT_EQ(schedules.creates().size(), 1u);
  const v1::CreateScheduleRequest request = schedules.creates()[0];
  EXPECT_EQ(request.name(), "nightly");
  const v1::ScheduleSpec& spec = request.spec();
  EXPECT_EQ(spec.cron(), "30 2 * * *");
  EXPECT_EQ(spec.time_zone(), "Europe/Berlin");
  EXPECT_EQ(spec.missed_run_deadline().seconds(), 7200);
  EXPECT_EQ(spec.overlap(), v1::OVERLAP_REPLACE);
  EXPECT_EQ(spec.keep_succeeded(), 5u);
  EXPECT_TRUE(spec.has_keep_failed());
  EXPECT_EQ(spec.keep_failed(), 0u);
  EXPECT_TRUE(spec.suspended());
  EXPECT_EQ(spec.job().display_name(), "tidy");
  EXPECT_EQ(spec.job().scan().nodes().labels().labels().at("zone"), "a");
  EXPECT_EQ(spec.job().scan().roots(0), "data");
  EXPECT_TRUE(spec.job().scan().options().dry_run());
}

TEST_F(ScheduleCommands, CreateLeavesDefaultsToTheController) {
  run({"schedule", "create", "nightly", "--cron", "@daily", "--all", "-o", "json"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, "\"next_run\":\"2025-03-29T01:30:00Z\"")) << run.out;
  const v1::ScheduleSpec spec = schedules.creates()[0].spec();
  EXPECT_FALSE(spec.has_missed_run_deadline());
  EXPECT_EQ(spec.overlap(), v1::OVERLAP_UNSPECIFIED);
  EXPECT_FALSE(spec.has_keep_succeeded());
  EXPECT_FALSE(spec.has_keep_failed());
}

TEST_F(ScheduleCommands, MistakesNameTheFlag) {
  const struct {
    std::vector<std::string> args;
    std::string err;
  } kCases[] = {
      {{"create", "n", "--all"}, "--cron is required"},
      {{"create", "--cron", "@daily", "--all"}, "NAME is required"},
      {{"create", "n", "--cron", "@daily"}, "--all, --name, --label: say which nodes by exactly one of them"},
      {{"create", "n", "--cron", "@daily", "--all", "--missed_run_deadline", "x"}, "--missed_run_deadline: "},
      {{"create", "n", "--cron", "@daily", "--all", "--overlap", "maybe"}, "--overlap: maybe not in"},
      {{"create", "n", "--cron", "@daily", "--all", "--keep_failed", "51"}, "--keep_failed: "},
      {{"create", "n", "--cron", "@daily", "--all", "--ranges", "f"}, "--all: does not go with --ranges"},
      {{"update", "n", "--root", "data"}, "--all, --name, --label: say which nodes by exactly one of them"},
      {{"get"}, "NAME is required"},
  };
  for (const auto& c : kCases) {
    std::vector<std::string> args = {"schedule"};
    args.insert(args.end(), c.args.begin(), c.args.end());
    run(args);
    EXPECT_EQ(run.code, 2) << c.err;
    EXPECT_TRUE(absl::StrContains(run.err, c.err)) << run.err;
  }
  EXPECT_TRUE(schedules.creates().empty());
  EXPECT_TRUE(schedules.updates().empty());
}

TEST_F(ScheduleCommands, UpdateReplacesWhatIsGiven) {
  schedules.schedule = Eventful();
  run({"schedule", "update", "nightly", "--cron", "0 3 * * *", "--missed_run_deadline", "none"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, "schedule nightly: updated; next run 2025-03-29 02:30 CET\n");
  v1::ScheduleSpec expected = Eventful().spec();
  expected.set_cron("0 3 * * *");
  expected.clear_missed_run_deadline();
  ASSERT_EQ(schedules.updates().size(), 1u);
  EXPECT_EQ(schedules.updates()[0].revision(), 4u);
  EXPECT_EQ(schedules.updates()[0].spec().SerializeAsString(), expected.SerializeAsString());

  run({"schedule", "update", "nightly", "--name", "storage-7"});
  EXPECT_EQ(run.code, 0) << run.err;
  const v1::JobSpec job = schedules.updates()[1].spec().job();
  EXPECT_EQ(job.scan().nodes().names().names(0), "storage-7");
  EXPECT_EQ(job.display_name(), "");
}

TEST_F(ScheduleCommands, SuspendAndResumeRepeatWhatSomebodyElseChanged) {
  int changed = 1;
  schedules.update = [&](const v1::UpdateScheduleRequest& request) -> absl::StatusOr<v1::Schedule> {
    if (changed-- > 0) return MakeError(absl::StatusCode::kAborted, "SCHEDULE_CHANGED", "changed");
    v1::Schedule schedule = Nightly();
    *schedule.mutable_spec() = request.spec();
    if (request.spec().suspended()) schedule.clear_next_run();
    return schedule;
  };
  run({"schedule", "suspend", "nightly"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, "schedule nightly: suspended\n");
  ASSERT_EQ(schedules.updates().size(), 2u);
  EXPECT_TRUE(schedules.updates()[1].spec().suspended());
  EXPECT_EQ(schedules.updates()[1].spec().cron(), "30 2 * * *");
  run({"schedule", "resume", "nightly"});
  EXPECT_EQ(run.out, "schedule nightly: resumed; next run 2025-03-29 02:30 CET\n");
  EXPECT_FALSE(schedules.updates()[2].spec().suspended());
  changed = 1000;
  run({"schedule", "suspend", "nightly"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "SCHEDULE_CHANGED")) << run.err;
  EXPECT_EQ(schedules.updates().size(), 8u);
}

TEST_F(ScheduleCommands, GetAndList) {
  const absl::Time next = absl::Now() + absl::Hours(240) + absl::Minutes(30);
  schedules.schedule->mutable_next_run()->set_seconds(absl::ToUnixSeconds(next));
  run({"schedule", "get", "nightly"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, ", in 10 d 00 h\n")) << run.out;
  EXPECT_EQ(schedules.calls(), std::vector<std::string>{"GetSchedule nightly"});
  run({"schedule", "get", "nightly", "-o", "json"});
  EXPECT_TRUE(absl::StrContains(run.out, "\"revision\":\"4\"")) << run.out;

  schedules.list = [this](const v1::ListSchedulesRequest& request) {
    v1::ListSchedulesResponse page;
    *page.add_schedules() = *schedules.schedule;
    page.mutable_schedules(0)->set_name(request.page_token().empty() ? "first" : "second");
    if (request.page_token().empty()) page.set_next_page_token("p");
    return page;
  };
  run({"schedule", "list"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(absl::StrContains(run.out, "first ")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "second ")) << run.out;
  EXPECT_TRUE(absl::StrContains(run.out, "10 d 00 h")) << run.out;
  run({"schedule", "list", "-o", "json"});
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 2);
}

TEST_F(ScheduleCommands, RunMakesAJob) {
  schedules.job->set_id("7f3a");
  run({"schedule", "run", "nightly", "--request_id", "id-1"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, "job 7f3a: created\nFollow it: cowherd job watch 7f3a\n");
  ASSERT_EQ(schedules.runs().size(), 1u);
  EXPECT_EQ(schedules.runs()[0].name(), "nightly");
  EXPECT_EQ(schedules.runs()[0].request_id(), "id-1");
  run({"schedule", "run", "nightly", "-o", "json"});
  EXPECT_TRUE(absl::StrContains(run.out, "\"id\":\"7f3a\"")) << run.out;
  EXPECT_EQ(schedules.runs()[1].request_id().size(), 36u);
  schedules.job = MakeError(absl::StatusCode::kFailedPrecondition, "SCHEDULE_BUSY", "job 7f3a has not ended");
  run({"schedule", "run", "nightly"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "next:    wait for its job or end it")) << run.err;
}

TEST_F(ScheduleCommands, DeleteAndItsErrors) {
  run({"schedule", "delete", "nightly"});
  EXPECT_EQ(run.out, "schedule nightly: deleted\n");
  run({"schedule", "delete", "nightly", "-o", "json"});
  EXPECT_EQ(run.out, "{}\n");
  EXPECT_EQ(schedules.calls(),
            (std::vector<std::string>{"DeleteSchedule nightly", "DeleteSchedule nightly"}));
  schedules.delete_status = MakeError(absl::StatusCode::kNotFound, "SCHEDULE_UNKNOWN", "no such schedule");
  run({"schedule", "delete", "nightly"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "cowherd schedule list")) << run.err;
  run.environment["COWHERD_CONTROLLER"] = "127.0.0.1:1";
  for (const char* command : {"get", "suspend", "resume", "run", "delete"}) {
    run({"schedule", command, "nightly", "--timeout", "5"});
    EXPECT_EQ(run.code, 3) << command << run.err;
  }
}

TEST(WindowText, ReadsWhatItWrites) {
  const absl::StatusOr<v1::Window> window = ParseWindow(" 0 22  * * mon-fri for 8h30m in Europe/Berlin");
  ASSERT_TRUE(window.ok()) << window.status();
  EXPECT_EQ(window->cron(), "0 22 * * mon-fri");
  EXPECT_EQ(window->duration().seconds(), 8 * 3600 + 1800);
  EXPECT_EQ(window->time_zone(), "Europe/Berlin");
  EXPECT_EQ(WindowText(*window), "0 22 * * mon-fri for 8h30m in Europe/Berlin");
  EXPECT_EQ(ParseWindow(WindowText(*window))->SerializeAsString(), window->SerializeAsString());
  EXPECT_EQ(WindowText(*ParseWindow("@daily for 90")), "@daily for 1m30s in UTC");
  EXPECT_EQ(ParseWindow("@daily for 90")->time_zone(), "");
  for (const char* text : {"", "for", "@daily", "@daily for", "for 6h", "@daily 6h", "@daily for 0",
                           "@daily for x", "@daily for 6h in", "@daily in UTC for 6h in"}) {
    EXPECT_EQ(FieldOf(ParseWindow(text).status()), "--window") << text;
  }
}

TEST_F(ScheduleCommands, WindowsFollowTheZoneOfTheSchedule) {
  run({"schedule", "create", "nights", "--cron", "0 22 * * *", "--time_zone", "Asia/Tokyo", "--all",
       "--window", "0 22 * * * for 6h", "--window", "0 12 * * * for 1h in UTC"});
  EXPECT_EQ(run.code, 0) << run.err;
  const v1::JobSpec job = schedules.creates()[0].spec().job();
  ASSERT_EQ(job.windows_size(), 2);
  EXPECT_EQ(job.windows(0).time_zone(), "Asia/Tokyo");
  EXPECT_EQ(job.windows(1).time_zone(), "UTC");
  run({"schedule", "create", "nights", "--cron", "0 22 * * *", "--all", "--window", "22:00-04:00"});
  EXPECT_EQ(run.code, 2);
  EXPECT_TRUE(absl::StrContains(run.err, "--window: \"22:00-04:00\" is not CRON for TIME")) << run.err;

  *schedules.schedule->mutable_spec()->mutable_job() = job;
  run({"schedule", "get", "nights"});
  EXPECT_TRUE(absl::StrContains(run.out, "window:      0 22 * * * for 6h in Asia/Tokyo\n")) << run.out;
}

TEST_F(ScheduleCommands, NodeWindows) {
  schedules.open = true;
  // 2025-03-29 01:30 UTC, long ago.
  schedules.until_seconds = 1743211800;
  run({"node", "window", "set", "storage-7", "--window", "0 22 * * * for 6h in Europe/Berlin", "--window",
       "0 0 * * sat for 48h"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(
      run.out,
      "NODE       STATE  CHANGES               IN   WINDOWS\n"
      "storage-7  OPEN   2025-03-29 01:30 UTC  0 s  0 22 * * * for 6h in Europe/Berlin; 0 0 * * sat for 48h "
      "in UTC\n");
  ASSERT_EQ(schedules.set_windows().size(), 1u);
  EXPECT_EQ(schedules.set_windows()[0].node(), "storage-7");
  EXPECT_EQ(schedules.set_windows()[0].windows(1).duration().seconds(), 48 * 3600);

  run({"node", "window", "clear", "storage-7"});
  EXPECT_EQ(run.out, "node storage-7: works at any time\n");
  EXPECT_EQ(schedules.set_windows()[1].windows_size(), 0);

  v1::NodeWindows& node = *schedules.node_windows.add_nodes();
  node.set_node("storage-8");
  *node.add_windows() = *ParseWindow("@daily for 1h");
  run({"node", "window", "list"});
  EXPECT_EQ(run.out,
            "NODE       STATE   CHANGES  IN  WINDOWS\n"
            "storage-8  CLOSED  -        -   @daily for 1h in UTC\n");
  run({"node", "window", "list", "-o", "json"});
  EXPECT_TRUE(absl::StrContains(run.out, "\"cron\":\"@daily\"")) << run.out;

  schedules.set_windows_status = FieldError("windows[0].cron", "hour: \"x\" is no number");
  run({"node", "window", "set", "storage-7", "--window", "0 x * * * for 6h"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(absl::StrContains(run.err, "windows[0].cron")) << run.err;
  run({"node", "window", "set", "storage-7"});
  EXPECT_EQ(run.code, 2);
  run({"node", "window", "set", "storage-7", "--window", "@daily"});
  EXPECT_EQ(run.code, 2);
}

}  // namespace
}  // namespace cowherd::testing
