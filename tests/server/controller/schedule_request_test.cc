#include "server/controller/schedule_request.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "server/base/status.h"
#include "server/controller/request.h"
#include "server/controller/schedule_convert.h"
#include "server/controller/window_convert.h"

namespace cowherd {
namespace {

v1::ScheduleSpec Nightly() {
  v1::ScheduleSpec spec;
  spec.mutable_job()->mutable_scan()->mutable_nodes()->mutable_names()->add_names("n1");
  spec.set_cron("30 2 * * *");
  spec.set_time_zone("Europe/Berlin");
  return spec;
}

v1::Window Night() {
  v1::Window window;
  window.set_cron("0 22 * * *");
  window.set_time_zone("Europe/Berlin");
  window.mutable_duration()->set_seconds(6 * 3600);
  return window;
}

std::string PathOf(size_t bytes) {
  std::string path(bytes, 'x');
  for (size_t i = 0; i < bytes; i += 200) path[i] = '/';
  return path;
}

TEST(CheckScheduleSpec, EachFieldAtFaultIsNamed) {
  const struct {
    std::string field;
    std::function<void(v1::ScheduleSpec&)> spoil;
  } cases[] = {
      {"spec.job.work", [](auto& s) { s.clear_job(); }},
      {"spec.job.display_name", [](auto& s) { s.mutable_job()->set_display_name(std::string(201, 'x')); }},
      {"spec.job.scan.nodes", [](auto& s) { s.mutable_job()->mutable_scan()->clear_nodes(); }},
      {"spec.job.scan.roots[0]", [](auto& s) { s.mutable_job()->mutable_scan()->add_roots(""); }},
      {"spec.job",
       [](auto& s) {
         for (int i = 0; i < 20; ++i) s.mutable_job()->mutable_scan()->add_paths(PathOf(2000));
       }},
      {"spec.job.windows[1].time_zone",
       [](auto& s) {
         *s.mutable_job()->add_windows() = Night();
         *s.mutable_job()->add_windows() = Night();
         s.mutable_job()->mutable_windows(1)->set_time_zone("Mars");
       }},
      {"spec.cron", [](auto& s) { s.clear_cron(); }},
      {"spec.cron", [](auto& s) { s.set_cron("0 0 31 2 *"); }},
      {"spec.time_zone", [](auto& s) { s.set_time_zone("Berlin"); }},
      {"spec.missed_run_deadline", [](auto& s) { s.mutable_missed_run_deadline(); }},
      {"spec.missed_run_deadline",
       [](auto& s) {
         s.mutable_missed_run_deadline()->set_seconds(9);
         s.mutable_missed_run_deadline()->set_nanos(999'999'999);
       }},
      {"spec.missed_run_deadline", [](auto& s) { s.mutable_missed_run_deadline()->set_seconds(-1); }},
      {"spec.overlap", [](auto& s) { s.set_overlap(static_cast<v1::Overlap>(9)); }},
      {"spec.keep_succeeded", [](auto& s) { s.set_keep_succeeded(51); }},
      {"spec.keep_failed", [](auto& s) { s.set_keep_failed(51); }},
  };
  for (const auto& c : cases) {
    v1::ScheduleSpec spec = Nightly();
    c.spoil(spec);
    const absl::Status status = CheckScheduleSpec(spec).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.field;
    EXPECT_EQ(FieldOf(status), c.field) << status;
    EXPECT_EQ(status.message().substr(0, c.field.size() + 2), c.field + ": ") << status;
  }
}

TEST(CheckScheduleSpec, ReadsTheRules) {
  v1::ScheduleSpec spec = Nightly();
  absl::StatusOr<ScheduleSpec> checked = CheckScheduleSpec(spec);
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->rules.zone.name(), "Europe/Berlin");
  EXPECT_EQ(checked->rules.missed_run_deadline, absl::InfiniteDuration());
  EXPECT_EQ(checked->rules.overlap, Overlap::kForbid);
  EXPECT_EQ(checked->rules.keep_succeeded, 3u);
  EXPECT_EQ(checked->rules.keep_failed, 3u);
  EXPECT_FALSE(checked->rules.suspended);
  EXPECT_EQ(checked->plan.nodes, std::vector<std::string>{"n1"});
  EXPECT_EQ(checked->plan.node_fields, std::vector<std::string>{"spec.job.scan.nodes.names.names[0]"});
  EXPECT_TRUE(ReadPlan(checked->job).ok());

  spec.mutable_missed_run_deadline()->set_seconds(10);
  spec.set_overlap(v1::OVERLAP_ALLOW);
  spec.set_keep_succeeded(0);
  spec.set_keep_failed(50);
  spec.set_suspended(true);
  checked = CheckScheduleSpec(spec);
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->rules.missed_run_deadline, absl::Seconds(10));
  EXPECT_EQ(checked->rules.overlap, Overlap::kAllow);
  EXPECT_EQ(checked->rules.keep_succeeded, 0u);
  EXPECT_EQ(checked->rules.keep_failed, 50u);
  EXPECT_TRUE(checked->rules.suspended);
}

TEST(CheckScheduleName, IsForHostsAndShells) {
  for (const char* name : {"a", "nightly-2", "0"}) EXPECT_TRUE(CheckScheduleName(name).ok()) << name;
  EXPECT_TRUE(CheckScheduleName(std::string(63, 'a')).ok());
  for (const char* name : {"", "-a", "a-", "A", "a b", "a/b", "\xc3\xa4", "a.b"}) {
    EXPECT_EQ(FieldOf(CheckScheduleName(name)), "name") << name;
  }
  EXPECT_FALSE(CheckScheduleName(std::string(64, 'a')).ok());
}

TEST(CheckListSchedules, PagesAndTokens) {
  v1::ListSchedulesRequest request;
  EXPECT_EQ(CheckListSchedules(request)->page_size, 100u);
  EXPECT_EQ(CheckListSchedules(request)->after, "");
  request.set_page_size(1000);
  request.set_page_token(SchedulePageToken("nightly"));
  EXPECT_EQ(CheckListSchedules(request)->page_size, 1000u);
  EXPECT_EQ(CheckListSchedules(request)->after, "nightly");
  request.set_page_token("nightly");
  EXPECT_EQ(FieldOf(CheckListSchedules(request).status()), "page_token");
  request.clear_page_token();
  request.set_page_size(1001);
  EXPECT_EQ(FieldOf(CheckListSchedules(request).status()), "page_size");
}

TEST(CheckRunScheduleNow, NamesTheField) {
  v1::RunScheduleNowRequest request;
  EXPECT_EQ(FieldOf(CheckRunScheduleNow(request)), "name");
  request.set_name("nightly");
  EXPECT_TRUE(CheckRunScheduleNow(request).ok());
  for (const std::string& id : {std::string(101, 'x'), std::string("schedule/x")}) {
    request.set_request_id(id);
    EXPECT_EQ(FieldOf(CheckRunScheduleNow(request)), "request_id") << id;
  }
}

TEST(CheckNodeWindows, EachFieldAtFaultIsNamed) {
  const struct {
    std::string field;
    std::function<void(v1::SetNodeWindowsRequest&)> spoil;
  } cases[] = {
      {"node", [](auto& r) { r.clear_node(); }},
      {"node", [](auto& r) { r.set_node(std::string(256, 'x')); }},
      {"windows[0].cron", [](auto& r) { r.mutable_windows(0)->set_cron("x"); }},
      {"windows[0].time_zone", [](auto& r) { r.mutable_windows(0)->set_time_zone("Mars"); }},
      {"windows[0].duration", [](auto& r) { r.mutable_windows(0)->clear_duration(); }},
      {"windows",
       [](auto& r) {
         for (int i = 0; i < 20; ++i) *r.add_windows() = Night();
       }},
  };
  for (const auto& c : cases) {
    v1::SetNodeWindowsRequest request;
    request.set_node("n1");
    *request.add_windows() = Night();
    ASSERT_TRUE(CheckNodeWindows(request).ok());
    c.spoil(request);
    const absl::Status status = CheckNodeWindows(request).status();
    EXPECT_EQ(FieldOf(status), c.field) << status;
    EXPECT_EQ(status.message().substr(0, c.field.size() + 2), c.field + ": ") << status;
  }
}

TEST(NodeWindows, AreKeptAsTheyWereAskedFor) {
  v1::SetNodeWindowsRequest request;
  request.set_node("n1");
  *request.add_windows() = Night();
  const absl::StatusOr<WindowList> list = ReadNodeWindows(CheckNodeWindows(request)->bytes);
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->windows.size(), 1u);
  EXPECT_EQ(list->windows[0].duration, absl::Hours(6));
  // 2025-06-01 23:00 in Berlin.
  const v1::NodeWindows proto = ToProto(*list, absl::FromUnixSeconds(1748811600));
  EXPECT_EQ(proto.node(), "n1");
  EXPECT_TRUE(proto.open());
  EXPECT_EQ(proto.until().seconds(), 1748811600 + 5 * 3600);
  EXPECT_EQ(proto.windows(0).SerializeAsString(), Night().SerializeAsString());
  for (const std::string& bytes : {std::string("\x01garbage"), std::string()}) {
    EXPECT_EQ(ReasonOf(ReadNodeWindows(bytes).status()), "STORE_CORRUPT");
  }
  // A zone that went.
  v1::NodeWindows gone = proto;
  gone.mutable_windows(0)->set_time_zone("Europe/Atlantis");
  gone.clear_until();
  const absl::StatusOr<WindowList> closed = ReadNodeWindows(gone.SerializeAsString());
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_EQ(closed->windows[0].unknown_zone, "Europe/Atlantis");
  // 22:30 UTC, when it would be open there.
  const v1::NodeWindows never = ToProto(*closed, absl::FromUnixSeconds(1748817000));
  EXPECT_FALSE(never.open());
  EXPECT_FALSE(never.has_until());
}

Schedule Full() {
  Schedule schedule{"nightly",
                    "0123",
                    7,
                    absl::FromUnixMicros(1'000'001),
                    CheckScheduleSpec(Nightly()).value(),
                    absl::FromUnixMicros(2'000'002),
                    {},
                    Skip{absl::FromUnixMicros(3'000'003), SkipReason::kTooManyRuns},
                    MakeError(absl::StatusCode::kFailedPrecondition, "NO_NODES", "none")};
  schedule.runs = {{absl::FromUnixMicros(4), RunState::kSucceeded, "a", ""},
                   {absl::FromUnixMicros(5), RunState::kFailed, "b", "by hand"},
                   {absl::FromUnixMicros(6), RunState::kActive, "c", ""},
                   {absl::FromUnixMicros(7), RunState::kStarting, "", ""}};
  return schedule;
}

TEST(ScheduleCodec, KeepsEverything) {
  const ScheduleCodec codec = MakeScheduleCodec();
  const Schedule before = Full();
  const std::string bytes = codec.write(before);
  const absl::StatusOr<Schedule> after = codec.read(bytes);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->name, before.name);
  EXPECT_EQ(after->uid, before.uid);
  EXPECT_EQ(after->revision, before.revision);
  EXPECT_EQ(after->created, before.created);
  EXPECT_EQ(after->spec.bytes, before.spec.bytes);
  EXPECT_EQ(after->spec.job, before.spec.job);
  EXPECT_EQ(after->decided_to, before.decided_to);
  ASSERT_EQ(after->runs.size(), before.runs.size());
  for (size_t i = 0; i < before.runs.size(); ++i) {
    EXPECT_EQ(after->runs[i].time, before.runs[i].time);
    EXPECT_EQ(after->runs[i].state, before.runs[i].state);
    EXPECT_EQ(after->runs[i].job, before.runs[i].job);
    EXPECT_EQ(after->runs[i].request, before.runs[i].request);
  }
  EXPECT_EQ(after->skipped->time, before.skipped->time);
  EXPECT_EQ(after->skipped->reason, before.skipped->reason);
  EXPECT_EQ(ReasonOf(after->start_error), "NO_NODES");
  EXPECT_EQ(codec.write(*after), bytes);

  Schedule plain = Full();
  plain.skipped.reset();
  plain.start_error = absl::OkStatus();
  plain.runs.clear();
  const absl::StatusOr<Schedule> again = codec.read(codec.write(plain));
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->skipped.has_value());
  EXPECT_TRUE(again->start_error.ok());
}

// As full as the limits allow, it fits in a record.
TEST(ScheduleCodec, FitsInARecord) {
  Schedule schedule = Full();
  v1::ScheduleSpec spec = Nightly();
  while (spec.job().ByteSizeLong() + 1'000 < kMaxScheduledJobBytes) {
    spec.mutable_job()->mutable_scan()->add_paths(PathOf(901));
  }
  schedule.name = std::string(63, 'x');
  schedule.uid = std::string(16, 'x');
  schedule.spec = CheckScheduleSpec(spec).value();
  schedule.start_error = FieldError(std::string(300, 'x'), std::string(300, 'x'));
  const ScheduledRun run = {absl::FromUnixMicros(4), RunState::kActive, std::string(16, 'a'),
                            std::string(100, 'r')};
  schedule.runs = std::vector<ScheduledRun>(kMaxActiveRuns + 50 + 50 + 2, run);
  EXPECT_TRUE(CheckRecord("schedule", schedule.name, MakeScheduleCodec().write(schedule)).ok());
}

// As an earlier version did.
TEST(ScheduleCodec, WhatWasAcceptedOnceIsRead) {
  v1::Schedule proto;
  ASSERT_TRUE(proto.ParseFromString(MakeScheduleCodec().write(Full())));
  proto.clear_start_error();
  proto.mutable_spec()->mutable_job()->mutable_scan()->add_paths("/srv/");
  EXPECT_FALSE(CheckScheduleSpec(proto.spec()).ok());
  const absl::StatusOr<Schedule> schedule = MakeScheduleCodec().read(proto.SerializeAsString());
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_TRUE(schedule->start_error.ok());
  EXPECT_EQ(schedule->spec.plan.paths.back(), "/srv/");
}

TEST(ScheduleCodec, AZoneThatIsGoneSuspendsIt) {
  v1::Schedule proto;
  ASSERT_TRUE(proto.ParseFromString(MakeScheduleCodec().write(Full())));
  proto.mutable_spec()->set_time_zone("Europe/Atlantis");
  const std::string bytes = Serialize(proto);
  const absl::StatusOr<Schedule> schedule = MakeScheduleCodec().read(bytes);
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_TRUE(schedule->spec.rules.suspended);
  EXPECT_EQ(FieldOf(schedule->start_error), "spec.time_zone");
  // It stays as it was asked for.
  EXPECT_EQ(ToProto(*schedule, absl::InfiniteFuture())->spec().time_zone(), "Europe/Atlantis");
}

TEST(ScheduleCodec, WhatCannotBeReadIsSaid) {
  v1::Schedule proto;
  ASSERT_TRUE(proto.ParseFromString(MakeScheduleCodec().write(Full())));
  v1::Schedule bad = proto;
  bad.mutable_spec()->set_cron("x");
  v1::Schedule state = proto;
  state.mutable_runs(0)->set_state(static_cast<v1::ScheduleRunState>(9));
  for (const std::string& bytes :
       {std::string("\x01garbage"), std::string(), bad.SerializeAsString(), state.SerializeAsString()}) {
    EXPECT_EQ(ReasonOf(MakeScheduleCodec().read(bytes).status()), "STORE_CORRUPT");
  }
}

}  // namespace
}  // namespace cowherd
