// Schedules over a loop and a store in memory: what is due becomes jobs, once each, whenever the process
// dies.
#include "server/sched/schedules.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"

namespace cowherd {
namespace {

// No node ever answers.
class SilentLink final : public NodeLink {
 public:
  void Probe(const Endpoint&, ProbeDone) override {}
  std::unique_ptr<Run> RunTask(const Endpoint&, const RunOrder&, RunEvents) override { return nullptr; }
  void CancelTask(const Endpoint&, const std::string&, uint64_t, CancelDone) override {}
  void Forget(const std::string&) override {}
};

// A store whose process dies at one of its writes: that write is done or not, its answer never comes, and
// nothing works any more.
class DyingStore final : public JobStore {
 public:
  explicit DyingStore(JobStore& store) : store_(store) {}

  // At the `write`th write from now, from 1.
  void DieAt(int write, bool done) {
    left_ = write;
    done_ = done;
  }
  bool dead() const { return dead_; }

  absl::StatusOr<uint64_t> RaiseEpoch(uint64_t at_least) override { return store_.RaiseEpoch(at_least); }
  absl::StatusOr<Created> Create(JobRecord record) override {
    return Write<absl::StatusOr<Created>>([&] { return store_.Create(std::move(record)); });
  }
  absl::StatusOr<JobRecord> FindRequest(absl::string_view request_id, absl::string_view spec) override {
    if (dead_) return Dead();
    return store_.FindRequest(request_id, spec);
  }
  absl::StatusOr<JobRecord> Get(absl::string_view id) override { return store_.Get(id); }
  absl::StatusOr<std::vector<JobRecord>> List(const std::vector<JobState>& states, uint64_t before,
                                              size_t limit) override {
    return store_.List(states, before, limit);
  }
  absl::StatusOr<std::vector<JobRecord>> LoadActive() override { return store_.LoadActive(); }
  absl::StatusOr<std::map<JobState, uint64_t>> CountByState() override { return store_.CountByState(); }
  absl::StatusOr<std::map<uint32_t, std::string>> Results(absl::string_view id) override {
    return store_.Results(id);
  }
  absl::Status Write(const std::vector<JobChange>& changes) override {
    return Write<absl::Status>([&] { return store_.Write(changes); });
  }
  absl::Status Delete(absl::string_view id) override {
    return Write<absl::Status>([&] { return store_.Delete(id); });
  }
  absl::Status PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) override {
    ++puts;
    return Write<absl::Status>([&] { return store_.PutRecord(kind, name, value); });
  }
  absl::Status DeleteRecord(absl::string_view kind, absl::string_view name) override {
    return Write<absl::Status>([&] { return store_.DeleteRecord(kind, name); });
  }
  absl::StatusOr<std::map<std::string, std::string>> LoadRecords(absl::string_view kind) override {
    return store_.LoadRecords(kind);
  }
  absl::StatusOr<std::vector<std::string>> RecordKinds() override { return store_.RecordKinds(); }
  absl::StatusOr<Counters> ReadCounters() override { return store_.ReadCounters(); }
  absl::Status RestoreCounters(const Counters& counters) override { return store_.RestoreCounters(counters); }
  absl::Status Restore(const JobRecord& record) override { return store_.Restore(record); }

  int puts = 0;

 private:
  static absl::Status Dead() { return absl::UnavailableError("dead"); }
  template <typename Answer, typename Call>
  Answer Write(Call call) {
    if (dead_) return Dead();
    if (left_ == 0 || --left_ > 0) return call();
    dead_ = true;
    if (done_) (void)call();
    return Dead();
  }

  JobStore& store_;
  int left_ = 0;
  bool done_ = false;
  bool dead_ = false;
};

ScheduleSpec Spec(const std::string& bytes, Overlap overlap = Overlap::kForbid,
                  const std::string& cron = "0 * * * *") {
  ScheduleSpec spec{bytes, {Cron::Parse(cron).value(), absl::UTCTimeZone()}, "the job", {}};
  spec.rules.overlap = overlap;
  return spec;
}

absl::Time At(const std::string& text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M:%S", absl::StrCat("2025-06-02 ", text), &time, &error)) << text;
  return time;
}

std::string StateName(RunState state) {
  switch (state) {
    case RunState::kStarting:
      return "starting";
    case RunState::kActive:
      return "active";
    case RunState::kSucceeded:
      return "succeeded";
    case RunState::kFailed:
      return "failed";
  }
  return "";
}

class SchedulesTest : public ::testing::Test {
 protected:
  SchedulesTest() { Restart(); }

  // A new process over the same store.
  void Restart(bool with_nodes = true) {
    schedules_.reset();
    loop_.reset();
    store_ = std::make_unique<DyingStore>(kept_);
    registry_ = std::make_unique<prometheus::Registry>();
    metrics_ = std::make_unique<ControllerMetrics>(*registry_, "1", std::vector<std::string>{},
                                                   std::vector<std::string>{});
    loop_ = std::make_unique<Loop>(
        *store_, link_, clock_, std::make_shared<Mailbox>(10), *metrics_,
        [](absl::string_view) { return JobPlan(); }, random_, Loop::Options());
    ScheduleCodec codec;
    codec.write = [this](const Schedule& schedule) { return Text(schedule); };
    codec.read = [this](absl::string_view text) -> absl::StatusOr<Schedule> {
      return written_.at(std::string(text));
    };
    schedules_ = std::make_unique<Schedules>(*store_, *loop_, clock_, codec, *metrics_, random_);
    ASSERT_TRUE(loop_->Recover().ok());
    ASSERT_TRUE(schedules_->Recover().ok());
    if (with_nodes) AddNode();
  }
  void AddNode() { ASSERT_TRUE(loop_->SetTargets("static", {{"a", {"a:1", ""}}}).ok()); }

  // As the loop's thread would.
  void Step() {
    for (int i = 0; i < 5; ++i) {
      schedules_->Step();
      loop_->Step();
    }
  }
  // That time passes, or the clock is set back.
  void StepAt(const std::string& time) {
    const absl::Duration by = At(time) - clock_.Wall();
    by < absl::ZeroDuration() ? clock_.Turn(by) : clock_.Advance(by);
    Step();
  }
  void Create(ScheduleSpec spec = Spec("spec")) {
    const absl::StatusOr<Schedule> made = schedules_->Create("s", std::move(spec));
    ASSERT_TRUE(made.ok()) << made.status();
    Step();
  }
  Schedule Get() { return schedules_->Get("s").value(); }
  // "11:00:00 active, ..."
  std::string Runs() {
    std::string text;
    for (const ScheduledRun& run : Get().runs) {
      absl::StrAppend(&text, text.empty() ? "" : ", ",
                      absl::FormatTime("%H:%M:%S", run.time, absl::UTCTimeZone()), " ", StateName(run.state));
    }
    return text;
  }
  // The store's, oldest first: "11:00:00 pending, ..."
  std::string Jobs() {
    std::string text;
    std::vector<JobRecord> jobs = kept_.List({}, 0, 100).value();
    for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
      const auto origin = OriginOf(job->job.request_id);
      EXPECT_TRUE(origin.has_value()) << job->job.request_id;
      absl::StrAppend(&text, text.empty() ? "" : ", ",
                      absl::FormatTime("%H:%M:%S", origin->time, absl::UTCTimeZone()), " ",
                      JobStateName(job->job.state));
    }
    return text;
  }
  // Ends the job of the last run.
  void CancelLast() {
    ASSERT_TRUE(loop_->CancelJob(Get().runs.back().job).ok());
    Step();
  }

  // What metrics tell of the schedule: "last 10:00:00, next 12:00:00, overdue 13:00:00"; "-": nothing.
  std::string Told() {
    std::map<std::string, std::string> times;
    for (const prometheus::MetricFamily& family : metrics_->collectable()->Collect()) {
      if (family.metric.size() != 1 || family.metric[0].label.empty()) continue;
      EXPECT_EQ(family.metric[0].label[0].value, "s");
      times[family.name] = absl::FormatTime(
          "%H:%M:%S", absl::FromUnixSeconds(static_cast<int64_t>(family.metric[0].gauge.value)),
          absl::UTCTimeZone());
    }
    const auto time = [&times](const char* name) {
      const auto found = times.find(absl::StrCat("cowherd_controller_schedule_", name, "_timestamp_seconds"));
      return found == times.end() ? "-" : found->second;
    };
    return absl::StrCat("last ", time("last_success"), ", next ", time("next_run"), ", overdue ",
                        time("overdue"));
  }
  // As if this had been done before this process began.
  void Keep(const std::vector<ScheduledRun>& runs, absl::Time decided_to) {
    Schedule schedule = Get();
    schedule.runs = runs;
    schedule.decided_to = decided_to;
    for (ScheduledRun& run : schedule.runs) run.job = "gone";
    ASSERT_TRUE(kept_.PutRecord("schedule", "s", Text(schedule)).ok());
    Restart();
  }

  std::string Text(const Schedule& schedule) {
    std::string text =
        absl::StrCat(schedule.name, " ", schedule.uid, " ", schedule.revision, " ", schedule.spec.bytes, " ",
                     absl::ToUnixMicros(schedule.decided_to), " ", schedule.start_error.ToString());
    if (schedule.skipped) {
      absl::StrAppend(&text, " ", absl::ToUnixMicros(schedule.skipped->time),
                      SkipReasonName(schedule.skipped->reason));
    }
    for (const ScheduledRun& run : schedule.runs) {
      absl::StrAppend(&text, " ", absl::ToUnixMicros(run.time), StateName(run.state), run.job, run.request);
    }
    written_.emplace(text, schedule);
    return text;
  }

  std::mt19937_64 random_{1};
  FakeClock clock_{At("10:30:00")};
  SilentLink link_;
  MemoryStore kept_;
  std::map<std::string, Schedule> written_;
  std::unique_ptr<DyingStore> store_;
  std::unique_ptr<prometheus::Registry> registry_;
  std::unique_ptr<ControllerMetrics> metrics_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<Schedules> schedules_;
};

TEST_F(SchedulesTest, MakesAJobWhenItIsDue) {
  Create();
  EXPECT_EQ(schedules_->NextRunOf(Get()), At("11:00:00"));
  EXPECT_EQ(schedules_->wake(), At("11:00:00"));
  StepAt("10:59:59");
  EXPECT_EQ(Jobs(), "");
  StepAt("11:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 pending");
  EXPECT_EQ(Runs(), "11:00:00 active");
  EXPECT_EQ(schedules_->wake(), At("12:00:00"));
  const int puts = store_->puts;
  StepAt("11:00:01");
  StepAt("11:59:59");
  EXPECT_EQ(store_->puts, puts) << "nothing changed";
  // It has not ended.
  StepAt("12:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 pending");
  EXPECT_EQ(Get().skipped->time, At("12:00:00"));
  EXPECT_EQ(Get().skipped->reason, SkipReason::kStillRunning);
  CancelLast();
  EXPECT_EQ(Runs(), "11:00:00 failed");
  StepAt("13:00:00");
  EXPECT_EQ(Runs(), "11:00:00 failed, 13:00:00 active");
}

TEST_F(SchedulesTest, ReplacesAndAllows) {
  Create(Spec("spec", Overlap::kReplace));
  StepAt("11:00:00");
  StepAt("12:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 cancelled, 12:00:00 pending");
  EXPECT_EQ(Runs(), "11:00:00 failed, 12:00:00 active");
  ASSERT_TRUE(schedules_->Update("s", Spec("other", Overlap::kAllow), 1).ok());
  StepAt("13:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 cancelled, 12:00:00 pending, 13:00:00 pending");
}

TEST_F(SchedulesTest, DeletesOldJobs) {
  ScheduleSpec spec = Spec("spec", Overlap::kReplace);
  spec.rules.keep_failed = 1;
  Create(std::move(spec));
  for (const char* time : {"11:00:00", "12:00:00", "13:00:00", "14:00:00"}) StepAt(time);
  EXPECT_EQ(Jobs(), "13:00:00 cancelled, 14:00:00 pending");
  EXPECT_EQ(Runs(), "13:00:00 failed, 14:00:00 active");
  // One that somebody deleted is no trouble.
  ASSERT_TRUE(loop_->DeleteJob(Get().runs.front().job).ok());
  StepAt("15:00:00");
  EXPECT_EQ(Jobs(), "14:00:00 cancelled, 15:00:00 pending");
  EXPECT_EQ(Runs(), "14:00:00 failed, 15:00:00 active");
}

TEST_F(SchedulesTest, StartsWhatWasMissedWhileItWasAway) {
  Create();
  clock_.Advance(absl::Hours(5));
  Restart();
  Step();
  EXPECT_EQ(Jobs(), "15:00:00 pending");
}

TEST_F(SchedulesTest, HearsOfJobsThatEndedOrWentMeanwhile) {
  Create(Spec("spec", Overlap::kAllow));
  StepAt("11:00:00");
  StepAt("12:00:00");
  const std::vector<ScheduledRun> runs = Get().runs;
  // The process dies before the schedule has heard of it.
  ASSERT_TRUE(loop_->CancelJob(runs[0].job).ok());
  ASSERT_TRUE(loop_->CancelJob(runs[1].job).ok());
  ASSERT_TRUE(loop_->DeleteJob(runs[1].job).ok());
  Restart();
  Step();
  EXPECT_EQ(Runs(), "11:00:00 failed");
}

TEST_F(SchedulesTest, TriesAgainUntilItsDeadline) {
  ScheduleSpec spec = Spec("spec");
  spec.rules.missed_run_deadline = absl::Minutes(1);
  Restart(/*with_nodes=*/false);
  Create(std::move(spec));
  StepAt("11:00:00");
  EXPECT_EQ(Runs(), "11:00:00 starting");
  EXPECT_EQ(ReasonOf(Get().start_error), "NO_NODES");
  EXPECT_EQ(schedules_->wake(), At("11:00:10"));
  AddNode();
  StepAt("11:00:09");
  EXPECT_EQ(Jobs(), "");
  StepAt("11:00:10");
  EXPECT_EQ(Runs(), "11:00:00 active");
  EXPECT_TRUE(Get().start_error.ok());
  CancelLast();

  ASSERT_TRUE(loop_->SetTargets("static", {}).ok());
  for (const char* time : {"12:00:00", "12:00:10", "12:00:59"}) StepAt(time);
  EXPECT_EQ(Runs(), "11:00:00 failed, 12:00:00 starting");
  StepAt("12:01:00");
  EXPECT_EQ(Runs(), "11:00:00 failed");
  EXPECT_EQ(Get().skipped->reason, SkipReason::kNotStarted);
  EXPECT_EQ(schedules_->wake(), At("13:00:00"));
}

TEST_F(SchedulesTest, TimesThatPassedWhileItWasSuspendedAreNotMadeUpFor) {
  ScheduleSpec suspended = Spec("suspended");
  suspended.rules.suspended = true;
  Create(suspended);
  EXPECT_EQ(schedules_->NextRunOf(Get()), absl::InfiniteFuture());
  StepAt("15:30:00");
  EXPECT_EQ(Jobs(), "");
  ASSERT_TRUE(schedules_->Update("s", Spec("spec"), 0).ok());
  Step();
  EXPECT_EQ(Jobs(), "");
  StepAt("16:00:00");
  EXPECT_EQ(Jobs(), "16:00:00 pending");
  // What is due already comes before a change.
  CancelLast();
  clock_.Advance(absl::Hours(1));
  ASSERT_TRUE(schedules_->Update("s", suspended, 0).ok());
  Step();
  EXPECT_EQ(Jobs(), "16:00:00 cancelled, 17:00:00 pending");
}

TEST_F(SchedulesTest, NothingComesTwiceWhenTheClockGoesBack) {
  Create(Spec("spec", Overlap::kAllow));
  StepAt("11:00:00");
  StepAt("10:20:00");
  StepAt("11:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 pending");
  StepAt("12:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 pending, 12:00:00 pending");
  // Far back, to times that never were.
  StepAt("05:30:00");
  EXPECT_EQ(schedules_->wake(), At("06:00:00"));
  StepAt("06:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 pending, 12:00:00 pending, 06:00:00 pending");
  // And on to times that were, and whose jobs are still there.
  StepAt("11:00:00");
  EXPECT_EQ(Jobs(), "11:00:00 pending, 12:00:00 pending, 06:00:00 pending");
}

TEST_F(SchedulesTest, FollowsAClockThatWasWrongForAMinute) {
  Create(Spec("spec", Overlap::kAllow));
  clock_.Turn(absl::Hours(6));
  Step();
  // As after hours away.
  EXPECT_EQ(Jobs(), "16:00:00 pending");
  clock_.Advance(absl::Minutes(1));
  clock_.Turn(-absl::Hours(6));
  Step();
  EXPECT_EQ(schedules_->NextRunOf(Get()), At("11:00:00"));
  EXPECT_EQ(schedules_->wake(), At("11:00:00"));
  StepAt("10:59:59");
  EXPECT_EQ(Jobs(), "16:00:00 pending");
  for (const char* time : {"11:00:00", "12:30:00", "15:00:00", "16:00:00", "16:30:00"}) StepAt(time);
  // The last one is not made twice.
  EXPECT_EQ(Runs(), "16:00:00 active, 11:00:00 active, 12:00:00 active, 15:00:00 active");
  EXPECT_EQ(Jobs(), "16:00:00 pending, 11:00:00 pending, 12:00:00 pending, 15:00:00 pending");
  StepAt("17:00:00");
  EXPECT_EQ(Get().runs.back().time, At("17:00:00"));
}

TEST_F(SchedulesTest, RunsNow) {
  Create();
  StepAt("10:40:00");
  const absl::StatusOr<JobRecord> job = schedules_->RunNow("s", "request");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(OriginOf(job->job.request_id)->name, "s");
  EXPECT_EQ(OriginOf(job->job.request_id)->time, At("10:40:00"));
  EXPECT_EQ(schedules_->NextRunOf(Get()), At("11:00:00"));
  // The same again; another one is too much.
  StepAt("10:50:00");
  EXPECT_EQ(schedules_->RunNow("s", "request")->job.id, job->job.id);
  EXPECT_EQ(ReasonOf(schedules_->RunNow("s", "other").status()), "SCHEDULE_BUSY");
  EXPECT_EQ(ReasonOf(schedules_->RunNow("t", "").status()), "SCHEDULE_UNKNOWN");
  CancelLast();
  EXPECT_EQ(schedules_->RunNow("s", "request")->job.id, job->job.id);
  EXPECT_TRUE(schedules_->RunNow("s", "").ok());
  EXPECT_EQ(Runs(), "10:40:00 failed, 10:50:00 active");
  // It was asked for, so it counts for what is due next.
  StepAt("11:00:00");
  EXPECT_EQ(Get().skipped->reason, SkipReason::kStillRunning);
}

TEST_F(SchedulesTest, RunNowFollowsOverlap) {
  Create(Spec("spec", Overlap::kReplace));
  ASSERT_TRUE(schedules_->RunNow("s", "1").ok());
  ASSERT_TRUE(schedules_->RunNow("s", "2").ok());
  Step();
  EXPECT_EQ(Jobs(), "10:30:00 cancelled, 10:30:00 pending");
  ScheduleSpec suspended = Spec("allow", Overlap::kAllow);
  suspended.rules.suspended = true;
  ASSERT_TRUE(schedules_->Update("s", suspended, 0).ok());
  for (size_t i = 1; i < kMaxActiveRuns; ++i) ASSERT_TRUE(schedules_->RunNow("s", "").ok()) << i;
  EXPECT_EQ(ReasonOf(schedules_->RunNow("s", "").status()), "TOO_MANY_RUNS");
}

TEST_F(SchedulesTest, ARunThatCannotStartNowIsNotLeftBehind) {
  Restart(/*with_nodes=*/false);
  Create();
  EXPECT_EQ(ReasonOf(schedules_->RunNow("s", "1").status()), "NO_NODES");
  EXPECT_EQ(Runs(), "");
  EXPECT_TRUE(Get().start_error.ok());
  AddNode();
  Step();
  EXPECT_EQ(Jobs(), "");
  EXPECT_TRUE(schedules_->RunNow("s", "1").ok());
}

TEST_F(SchedulesTest, NothingIsReplacedWhileNodesAreNotKnown) {
  Create(Spec("spec", Overlap::kReplace));
  StepAt("11:00:00");
  Restart();
  loop_->AwaitTargets("dns");
  Step();
  EXPECT_EQ(ReasonOf(schedules_->RunNow("s", "1").status()), "NODES_NOT_KNOWN_YET");
  clock_.Advance(At("12:00:00") - clock_.Wall());
  loop_->AwaitTargets("dns");
  Step();
  EXPECT_EQ(Jobs(), "11:00:00 pending");
  EXPECT_EQ(schedules_->wake(), At("12:00:01"));
  ASSERT_TRUE(loop_->SetTargets("dns", {}).ok());
  StepAt("12:00:01");
  EXPECT_EQ(Jobs(), "11:00:00 cancelled, 12:00:00 pending");
}

// A process that dies at any write, done or not, and another one that takes over.
TEST_F(SchedulesTest, EachRunHasOneJobWheneverTheProcessDies) {
  for (const bool done : {false, true}) {
    for (const bool by_hand : {false, true}) {
      bool died = true;
      for (int write = 1; died; ++write) {
        ASSERT_LT(write, 20);
        kept_ = MemoryStore();
        clock_.Advance(At("10:30:00") - clock_.Now());
        Restart();
        Create(Spec("spec", Overlap::kReplace));
        StepAt("11:00:00");
        clock_.Advance(absl::Hours(1));
        store_->DieAt(write, done);
        if (by_hand) (void)schedules_->RunNow("s", "request");
        Step();
        died = store_->dead();
        // The clock of the other one is a little ahead.
        clock_.Advance(absl::Seconds(30));
        Restart();
        if (by_hand) {
          const absl::StatusOr<JobRecord> job = schedules_->RunNow("s", "request");
          ASSERT_TRUE(job.ok()) << job.status();
        }
        Step();
        if (by_hand) {
          // What was due came first, and was then replaced.
          EXPECT_EQ(Jobs().substr(0, 46), "11:00:00 cancelled, 12:00:00 cancelled, 12:00:") << write << done;
          EXPECT_EQ(kept_.List({}, 0, 100)->size(), 3u) << write << done;
        } else {
          EXPECT_EQ(Jobs(), "11:00:00 cancelled, 12:00:00 pending") << write << done;
          EXPECT_EQ(Runs(), "11:00:00 failed, 12:00:00 active") << write << done;
        }
        EXPECT_EQ(ActiveJobs(Get().runs).size(), 1u) << write << done;
      }
    }
  }
}

TEST_F(SchedulesTest, GoesOnWhenTheStoreWorksAgain) {
  Create();
  kept_.FailWith(absl::UnavailableError("disk full"));
  StepAt("11:00:00");
  EXPECT_EQ(Runs(), "");
  EXPECT_EQ(schedules_->wake(), At("11:00:01"));
  kept_.FailWith(absl::OkStatus());
  EXPECT_EQ(Jobs(), "");
  StepAt("11:00:01");
  EXPECT_EQ(Jobs(), "11:00:00 pending");
}

TEST_F(SchedulesTest, NamesAndRevisions) {
  Create();
  const std::string uid = Get().uid;
  EXPECT_EQ(schedules_->Create("s", Spec("spec"))->uid, uid);
  EXPECT_EQ(ReasonOf(schedules_->Create("s", Spec("other")).status()), "SCHEDULE_EXISTS");
  EXPECT_EQ(schedules_->Update("s", Spec("other"), 1)->revision, 2u);
  EXPECT_EQ(schedules_->Update("s", Spec("other"), 1)->revision, 2u) << "a repeat";
  const absl::Status changed = schedules_->Update("s", Spec("third"), 1).status();
  EXPECT_TRUE(absl::IsAborted(changed)) << changed;
  EXPECT_EQ(ReasonOf(changed), "SCHEDULE_CHANGED");
  EXPECT_EQ(schedules_->Update("s", Spec("third"), 0)->revision, 3u);
  for (const absl::Status& status :
       {schedules_->Get("t").status(), schedules_->Update("t", Spec("x"), 0).status(),
        schedules_->Delete("t")}) {
    EXPECT_EQ(ReasonOf(status), "SCHEDULE_UNKNOWN");
  }
  Restart();
  EXPECT_EQ(Get().spec.bytes, "third");
  ASSERT_TRUE(schedules_->Delete("s").ok());
  EXPECT_FALSE(schedules_->Get("s").ok());
  Restart();
  EXPECT_FALSE(schedules_->Get("s").ok());
  // One made again has nothing to do with the one before.
  Create();
  EXPECT_NE(Get().uid, uid);
}

TEST_F(SchedulesTest, ListsByNameAndPages) {
  for (const char* name : {"c", "a", "b"}) ASSERT_TRUE(schedules_->Create(name, Spec("spec")).ok());
  const auto names = [this](const std::string& after, size_t limit) {
    std::string text;
    for (const Schedule& schedule : schedules_->List(after, limit)) text += schedule.name;
    return text;
  };
  EXPECT_EQ(names("", 10), "abc");
  EXPECT_EQ(names("a", 1), "b");
  EXPECT_EQ(names("c", 1), "");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(schedules_->Create(absl::StrCat("d", 100 + i), Spec(std::string(60'000, 'x'))).ok());
  }
  const size_t count = schedules_->List("c", 100).size();
  EXPECT_GT(count, 20u);
  EXPECT_LT(count, 40u);
}

TEST_F(SchedulesTest, ThereIsALimit) {
  for (size_t i = 0; i < kMaxSchedules; ++i) {
    ASSERT_TRUE(schedules_->Create(absl::StrCat("s", i), Spec("spec")).ok());
  }
  EXPECT_EQ(ReasonOf(schedules_->Create("more", Spec("spec")).status()), "TOO_MANY_SCHEDULES");
}

TEST_F(SchedulesTest, ManyThatAreDueAtOnceLetTheLoopHaveItsTurns) {
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(schedules_->Create(absl::StrCat("s", i), Spec("spec")).ok());
  }
  for (int i = 0; i < 10; ++i) Step();
  EXPECT_GT(schedules_->wake(), clock_.Now());
  clock_.Advance(At("11:00:00") - clock_.Now());
  size_t before = 0;
  for (int step = 0; step < 5; ++step) {
    // There is more to do, at once.
    EXPECT_LE(schedules_->wake(), clock_.Now());
    schedules_->Step();
    const size_t jobs = kept_.List({}, 0, 100)->size();
    EXPECT_EQ(jobs - before, 8u);
    before = jobs;
    loop_->Step();
  }
  EXPECT_EQ(before, 40u);
  EXPECT_EQ(schedules_->wake(), At("12:00:00"));
}

TEST_F(SchedulesTest, TellsMetricsWhenItIsOverdue) {
  Create();
  EXPECT_EQ(Told(), "last -, next 11:00:00, overdue 12:00:00");
  StepAt("11:00:00");
  EXPECT_EQ(Told(), "last -, next 12:00:00, overdue 12:00:00");
  CancelLast();
  StepAt("12:30:00");
  EXPECT_EQ(Told(), "last -, next 13:00:00, overdue 12:00:00");
  ASSERT_TRUE(schedules_->Delete("s").ok());
  EXPECT_EQ(Told(), "last -, next -, overdue -");
}

TEST_F(SchedulesTest, CountsOverdueFromTheLastSuccess) {
  Create();
  StepAt("14:30:00");
  Keep({{At("12:00:00"), RunState::kSucceeded, "", ""}, {At("14:00:00"), RunState::kFailed, "", ""}},
       At("14:00:00"));
  EXPECT_EQ(Told(), "last 12:00:00, next 15:00:00, overdue 14:00:00");
  // Nothing has succeeded since it was made.
  Keep({{At("14:00:00"), RunState::kFailed, "", ""}}, At("14:00:00"));
  EXPECT_EQ(Told(), "last -, next 15:00:00, overdue 12:00:00");
  // It was changed since: what came before is not asked for.
  Keep({{At("12:00:00"), RunState::kSucceeded, "", ""}}, At("14:10:00"));
  EXPECT_EQ(Told(), "last 12:00:00, next 15:00:00, overdue 16:00:00");
}

TEST_F(SchedulesTest, ASuspendedScheduleIsNeverOverdue) {
  Create();
  ScheduleSpec suspended = Spec("suspended");
  suspended.rules.suspended = true;
  ASSERT_TRUE(schedules_->Update("s", suspended, 0).ok());
  StepAt("14:30:00");
  EXPECT_EQ(Told(), "last -, next -, overdue -");
  // Resumed: the time in between does not count.
  ASSERT_TRUE(schedules_->Update("s", Spec("again"), 0).ok());
  EXPECT_EQ(Told(), "last -, next 15:00:00, overdue 16:00:00");
}

}  // namespace
}  // namespace cowherd
