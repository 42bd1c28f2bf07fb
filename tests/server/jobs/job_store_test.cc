// The promises of job_store.h. Every store keeps them.
#include "server/jobs/job_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"
#include "server/jobs/sqlite_store.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

struct Kind {
  std::string name;
  std::function<std::shared_ptr<JobStore>(const EndedLimits&)> make;
};

std::shared_ptr<JobStore> MakeSqlite(const EndedLimits& limits) {
  static int made = 0;
  absl::StatusOr<std::unique_ptr<JobStore>> store =
      OpenSqliteStore(absl::StrCat(::testing::TempDir(), "/store-", ::getpid(), "-", ++made), limits);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

// A leader's store on a cluster that all tests share, each with a prefix of its own.
template <size_t kMembers>
std::shared_ptr<JobStore> MakeEtcd(const EndedLimits& limits) {
  static absl::StatusOr<std::unique_ptr<EtcdCluster>> cluster = EtcdCluster::Start(kMembers);
  EXPECT_TRUE(cluster.ok()) << cluster.status();
  if (!cluster.ok()) return nullptr;
  static int made = 0;
  EtcdStoreOptions options;
  options.prefix = absl::StrCat("/test-", ++made, "/");
  options.limits = limits;
  auto leading = std::make_shared<LeadingStore>(LeadingStore::Make((*cluster)->addresses(), options).value());
  return std::shared_ptr<JobStore>(leading, leading->store.get());
}

Totals SomeTotals(uint64_t n) {
  Totals totals;
  uint64_t value = n;
  for (const TotalsCounter& counter : TotalsCounters()) totals.*counter.value = ++value;
  totals.bytes_scanned = uint64_t{1} << 63;
  totals.bytes_won = -static_cast<int64_t>(n);
  totals.elapsed = absl::Nanoseconds(n);
  return totals;
}

Task SomeTask(uint32_t number) {
  Task task;
  task.number = number;
  task.node = "n1";
  task.root = "data";
  task.paths = {"/a", std::string("/\xff\x01 b")};
  task.expanded = true;
  task.open = true;
  task.attempt = 3;
  task.failures = 2;
  task.crashes = 1;
  task.node_started = absl::FromUnixMicros(1'650'000'000'000'002);
  task.next_attempt = absl::FromUnixMicros(1'700'000'000'123'456);
  task.waiting_since = absl::FromUnixMicros(1'600'000'000'000'000);
  task.error = WithField(ErrnoError(18, "dedupe \xff"), "source.path");
  task.run_id = "r1";
  task.current = SomeTotals(1);
  task.carried = SomeTotals(5);
  return task;
}

JobRecord SomeJob(const std::string& id, const std::string& request_id = "") {
  JobRecord record;
  record.job.id = id;
  record.job.request_id = request_id;
  record.job.created = absl::FromUnixMicros(1'500'000'000'000'001);
  record.job.tasks_made = 2;
  record.spec = std::string("spec\0\xff", 6);
  record.tasks = {SomeTask(0), SomeTask(1)};
  return record;
}

void ExpectSame(const Task& a, const Task& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.node, b.node);
  EXPECT_EQ(a.root, b.root);
  EXPECT_EQ(a.paths, b.paths);
  EXPECT_EQ(a.expanded, b.expanded);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.open, b.open);
  EXPECT_EQ(a.attempt, b.attempt);
  EXPECT_EQ(a.failures, b.failures);
  EXPECT_EQ(a.crashes, b.crashes);
  EXPECT_EQ(a.node_started, b.node_started);
  EXPECT_EQ(a.next_attempt, b.next_attempt);
  EXPECT_EQ(a.waiting_since, b.waiting_since);
  EXPECT_EQ(a.error, b.error);
  EXPECT_EQ(a.run_id, b.run_id);
  EXPECT_EQ(a.current, b.current);
  EXPECT_EQ(a.carried, b.carried);
}

void ExpectSame(const JobRecord& a, const JobRecord& b) {
  EXPECT_EQ(a.job.id, b.job.id);
  EXPECT_EQ(a.job.request_id, b.job.request_id);
  EXPECT_EQ(a.job.sequence, b.job.sequence);
  EXPECT_EQ(a.job.state, b.job.state);
  EXPECT_EQ(a.job.wanted, b.job.wanted);
  EXPECT_EQ(a.job.created, b.job.created);
  EXPECT_EQ(a.job.started, b.job.started);
  EXPECT_EQ(a.job.ended, b.job.ended);
  EXPECT_EQ(a.job.totals, b.job.totals);
  EXPECT_EQ(a.job.revision, b.job.revision);
  EXPECT_EQ(a.job.tasks_made, b.job.tasks_made);
  EXPECT_EQ(a.spec, b.spec);
  EXPECT_EQ(a.results, b.results);
  ASSERT_EQ(a.tasks.size(), b.tasks.size());
  for (size_t i = 0; i < a.tasks.size(); ++i) ExpectSame(a.tasks[i], b.tasks[i]);
}

using Ids = std::vector<std::string>;

class JobStoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  JobRecord Make(const std::string& id, const std::string& request_id = "") {
    absl::StatusOr<JobStore::Created> created = store_->Create(SomeJob(id, request_id));
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? created->record : JobRecord();
  }
  void SetState(const JobRecord& record, JobState state) {
    Job job = record.job;
    job.state = state;
    EXPECT_EQ(store_->Write({{job, {}, {}, {}}}), absl::OkStatus());
  }

  // Ends the job, with these bytes of results.
  void End(JobRecord record, size_t bytes = 0, absl::Time ended = absl::UnixEpoch()) {
    record.job.state = JobState::kSucceeded;
    record.job.ended = ended;
    ASSERT_EQ(store_->Write({{record.job, {}, {}, {{0, std::string(bytes, 'r')}}}}), absl::OkStatus());
  }
  // Newest first.
  Ids Kept() {
    Ids ids;
    const std::vector<JobRecord> records = store_->List({}, 0, 100).value();
    for (const JobRecord& record : records) ids.push_back(record.job.id);
    return ids;
  }

  std::shared_ptr<JobStore> store_ = GetParam().make(EndedLimits());
};

TEST_P(JobStoreTest, EpochGrows) {
  EXPECT_EQ(store_->RaiseEpoch(0).value(), 1u);
  EXPECT_EQ(store_->RaiseEpoch(0).value(), 2u);
}

TEST_P(JobStoreTest, GivesBackWhatItWasGiven) {
  const JobRecord made = Make("j1", "req");
  EXPECT_GT(made.job.sequence, 0u);
  ExpectSame(store_->Get("j1").value(), made);
  EXPECT_EQ(ReasonOf(store_->Get("j2").status()), "JOB_UNKNOWN");
  EXPECT_TRUE(absl::IsNotFound(store_->Get("j2").status()));
}

TEST_P(JobStoreTest, SameRequestMakesOneJob) {
  const JobRecord made = Make("j1", "req");
  absl::StatusOr<JobStore::Created> again = store_->Create(SomeJob("j2", "req"));
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->existed);
  ExpectSame(again->record, made);
  ExpectSame(store_->FindRequest("req", made.spec).value(), made);

  JobRecord other = SomeJob("j3", "req");
  other.spec = "other";
  const absl::Status status = store_->Create(other).status();
  EXPECT_TRUE(absl::IsAlreadyExists(status));
  EXPECT_EQ(ReasonOf(status), "REQUEST_ID_REUSED");
  EXPECT_EQ(ReasonOf(store_->FindRequest("req", "other").status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(store_->List({}, 0, 10)->size(), 1u);
}

TEST_P(JobStoreTest, NoRequestIdIsNoPromise) {
  Make("j1");
  Make("j2");
  EXPECT_EQ(store_->List({}, 0, 10)->size(), 2u);
  EXPECT_TRUE(absl::IsNotFound(store_->FindRequest("", SomeJob("j1").spec).status()));
  EXPECT_EQ(ReasonOf(store_->Create(SomeJob("j1")).status()), "JOB_EXISTS");
}

TEST_P(JobStoreTest, WritesTasksAndResults) {
  JobRecord record = Make("j1");
  record.job.state = JobState::kRunning;
  record.job.wanted = Wanted::kPause;
  record.job.started = absl::FromUnixMicros(5);
  record.job.ended = absl::FromUnixMicros(6);
  record.job.totals = SomeTotals(9);
  record.job.revision = 7;
  record.job.tasks_made = 3;
  record.tasks[0].state = TaskState::kSucceeded;
  record.tasks[0].error = absl::OkStatus();
  record.tasks[0].next_attempt = absl::InfinitePast();
  record.tasks[0].paths.clear();
  record.tasks[1] = SomeTask(2);
  record.results[0] = std::string("r\0", 2);
  JobChange change{record.job, record.tasks, {1}, record.results};
  // What identifies a job stays.
  change.job.request_id = "other";
  change.job.created = absl::FromUnixMicros(1);
  ASSERT_EQ(store_->Write({change}), absl::OkStatus());
  ExpectSame(store_->Get("j1").value(), record);
  EXPECT_EQ(store_->Results("j1").value(), record.results);

  // A later change of the task keeps its result; removing the task takes it.
  ASSERT_EQ(store_->Write({{record.job, {record.tasks[0]}, {}, {}}}), absl::OkStatus());
  EXPECT_EQ(store_->Results("j1").value(), record.results);
  ASSERT_EQ(store_->Write({{record.job, {}, {0}, {}}}), absl::OkStatus());
  EXPECT_TRUE(store_->Results("j1")->empty());
  EXPECT_TRUE(store_->Results("none")->empty());
}

TEST_P(JobStoreTest, WritesAllOrNothing) {
  const JobRecord made = Make("j1");
  JobChange good{made.job, {}, {0}, {}};
  good.job.revision = 99;
  JobChange bad{made.job, {}, {}, {}};
  bad.job.id = "none";
  EXPECT_EQ(ReasonOf(store_->Write({good, bad})), "JOB_UNKNOWN");
  ExpectSame(store_->Get("j1").value(), made);
  EXPECT_EQ(store_->Write({good}), absl::OkStatus());
  EXPECT_EQ(store_->Get("j1")->tasks.size(), 1u);
}

TEST_P(JobStoreTest, ListsNewestFirstInPages) {
  std::vector<JobRecord> made;
  made.reserve(5);
  for (int i = 0; i < 5; ++i) made.push_back(Make(absl::StrCat("j", i)));
  SetState(made[1], JobState::kFailed);
  SetState(made[3], JobState::kCancelled);

  const std::vector<JobRecord> first = store_->List({}, 0, 2).value();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].job.id, "j4");
  EXPECT_EQ(first[1].job.id, "j3");
  EXPECT_TRUE(first[0].tasks.empty());
  EXPECT_EQ(first[0].spec, made[4].spec);
  EXPECT_EQ(store_->List({}, first[1].job.sequence, 2).value()[0].job.id, "j2");
  EXPECT_TRUE(store_->List({}, made[0].job.sequence, 2)->empty());

  const std::vector<JobRecord> ended = store_->List({JobState::kFailed, JobState::kCancelled}, 0, 10).value();
  ASSERT_EQ(ended.size(), 2u);
  EXPECT_EQ(ended[0].job.id, "j3");
  EXPECT_EQ(ended[1].job.id, "j1");

  const std::map<JobState, uint64_t> counts = {
      {JobState::kPending, 3}, {JobState::kFailed, 1}, {JobState::kCancelled, 1}};
  EXPECT_EQ(store_->CountByState().value(), counts);
}

TEST_P(JobStoreTest, BoundsAPageByBytes) {
  for (int i = 0; i < 3; ++i) {
    JobRecord record = SomeJob(absl::StrCat("j", i));
    record.spec = std::string(kListBytes / 2 + 1, 'x');
    ASSERT_TRUE(store_->Create(record).ok());
  }
  EXPECT_EQ(store_->List({}, 0, 10)->size(), 1u);
}

TEST_P(JobStoreTest, LoadsWhatHasNotEnded) {
  Make("j1");
  SetState(Make("j2"), JobState::kSucceeded);
  JobRecord paused = Make("j3");
  paused.results.clear();
  SetState(paused, JobState::kPaused);
  const std::vector<JobRecord> active = store_->LoadActive().value();
  ASSERT_EQ(active.size(), 2u);
  EXPECT_EQ(active[0].job.id, "j1");
  EXPECT_EQ(active[1].job.id, "j3");
  paused.job.state = JobState::kPaused;
  ExpectSame(active[1], paused);
}

TEST_P(JobStoreTest, DeleteForgetsAll) {
  JobRecord record = Make("j1", "req");
  ASSERT_EQ(store_->Write({{record.job, {}, {}, {{0, "r"}}}}), absl::OkStatus());
  EXPECT_EQ(store_->Delete("j1"), absl::OkStatus());
  EXPECT_EQ(ReasonOf(store_->Delete("j1")), "JOB_UNKNOWN");
  EXPECT_TRUE(store_->Results("j1")->empty());
  // Its request_id is free again, and sequences are not used twice.
  EXPECT_GT(Make("j1", "req").job.sequence, record.job.sequence);
  EXPECT_TRUE(store_->Results("j1")->empty());
}

using Records = std::map<std::string, std::string>;

TEST_P(JobStoreTest, KeepsRecordsByKindAndName) {
  EXPECT_EQ(store_->LoadRecords("schedule").value(), Records());
  const std::string bytes("v\0\xff", 3);
  ASSERT_EQ(store_->PutRecord("schedule", "a/b", "old"), absl::OkStatus());
  ASSERT_EQ(store_->PutRecord("schedule", "a/b", bytes), absl::OkStatus());
  ASSERT_EQ(store_->PutRecord("schedule", "a", ""), absl::OkStatus());
  // A kind that begins like the other.
  ASSERT_EQ(store_->PutRecord("schedule_run", "a", "run"), absl::OkStatus());
  EXPECT_EQ(store_->LoadRecords("schedule").value(), (Records{{"a", ""}, {"a/b", bytes}}));

  EXPECT_EQ(store_->DeleteRecord("schedule", "a"), absl::OkStatus());
  EXPECT_EQ(store_->DeleteRecord("schedule", "a"), absl::OkStatus());
  EXPECT_EQ(store_->LoadRecords("schedule").value(), (Records{{"a/b", bytes}}));
  EXPECT_EQ(store_->LoadRecords("schedule_run").value(), (Records{{"a", "run"}}));
}

TEST_P(JobStoreTest, BoundsRecords) {
  const std::string largest(kMaxRecordBytes, 'v');
  const std::string longest(kMaxRecordName, 'n');
  EXPECT_EQ(store_->PutRecord("hold", longest, largest), absl::OkStatus());
  EXPECT_EQ(store_->LoadRecords("hold").value(), (Records{{longest, largest}}));
  EXPECT_EQ(FieldOf(store_->PutRecord("hold", "n", largest + "v")), "value");
  EXPECT_EQ(FieldOf(store_->PutRecord("hold", longest + "n", "v")), "name");
  EXPECT_EQ(FieldOf(store_->PutRecord("hold", "", "v")), "name");
  EXPECT_EQ(FieldOf(store_->PutRecord("a/b", "n", "v")), "kind");
  EXPECT_EQ(FieldOf(store_->PutRecord("", "n", "v")), "kind");
  EXPECT_EQ(store_->LoadRecords("hold")->size(), 1u);
}

TEST_P(JobStoreTest, PutsBackAJobAsItWas) {
  EXPECT_EQ(store_->ReadCounters()->epoch, 0u);
  EXPECT_EQ(store_->ReadCounters()->sequence, 0u);
  JobRecord record = SomeJob("j1", "req");
  record.job.sequence = 17;
  record.job.state = JobState::kFailed;
  record.job.wanted = Wanted::kCancel;
  record.job.ended = absl::FromUnixMicros(7);
  record.job.totals = SomeTotals(3);
  record.job.revision = 12;
  record.results[1] = "r";
  ASSERT_EQ(store_->RestoreCounters({1'000, 20, /*incomplete=*/true}), absl::OkStatus());
  ASSERT_EQ(store_->Restore(record), absl::OkStatus());
  // Not before all is there.
  EXPECT_TRUE(store_->ReadCounters()->incomplete);
  EXPECT_TRUE(absl::IsFailedPrecondition(store_->RaiseEpoch(0).status()));
  EXPECT_EQ(ReasonOf(store_->RaiseEpoch(0).status()), "STORE_INCOMPLETE");
  ASSERT_EQ(store_->RestoreCounters({1'000, 20, /*incomplete=*/false}), absl::OkStatus());
  EXPECT_FALSE(store_->ReadCounters()->incomplete);
  ExpectSame(store_->Get("j1").value(), record);
  ExpectSame(store_->FindRequest("req", record.spec).value(), record);
  EXPECT_EQ(store_->CountByState().value(), (std::map<JobState, uint64_t>{{JobState::kFailed, 1}}));
  EXPECT_EQ(ReasonOf(store_->Restore(record)), "JOB_EXISTS");
  record.job.id = "j2";
  EXPECT_EQ(ReasonOf(store_->Restore(record)), "JOB_EXISTS");

  EXPECT_EQ(store_->ReadCounters()->epoch, 1'000u);
  EXPECT_EQ(store_->ReadCounters()->sequence, 20u);
  EXPECT_EQ(store_->RaiseEpoch(0).value(), 1'001u);
  EXPECT_EQ(Make("j3").job.sequence, 21u);
  EXPECT_EQ(store_->ReadCounters()->sequence, 21u);
}

TEST_P(JobStoreTest, TellsTheKindsOfRecords) {
  EXPECT_TRUE(store_->RecordKinds()->empty());
  for (const char* kind : {"schedule", "hold", "schedule_run"}) {
    ASSERT_EQ(store_->PutRecord(kind, "a", "1"), absl::OkStatus());
    ASSERT_EQ(store_->PutRecord(kind, "b", "1"), absl::OkStatus());
  }
  ASSERT_EQ(store_->DeleteRecord("hold", "a"), absl::OkStatus());
  ASSERT_EQ(store_->DeleteRecord("hold", "b"), absl::OkStatus());
  EXPECT_EQ(store_->RecordKinds().value(), (std::vector<std::string>{"schedule", "schedule_run"}));
}

TEST_P(JobStoreTest, JobsThatEndedLongAgoGo) {
  store_ = GetParam().make({3, 100, 1'000'000});
  for (int n = 1; n <= 6; ++n) {
    const JobRecord made = Make(absl::StrCat("j", n), absl::StrCat("r", n));
    // The second stays active.
    if (n != 2) End(made);
  }
  EXPECT_EQ(Kept(), (Ids{"j6", "j5", "j4", "j2"}));
  EXPECT_EQ(ReasonOf(store_->Get("j1").status()), "JOB_UNKNOWN");
  EXPECT_EQ(ReasonOf(store_->FindRequest("r3", SomeJob("").spec).status()), "REQUEST_UNKNOWN");
  EXPECT_TRUE(store_->Results("j3")->empty());
  const std::map<JobState, uint64_t> counts = {{JobState::kPending, 1}, {JobState::kSucceeded, 3}};
  EXPECT_EQ(store_->CountByState().value(), counts);
}

// It is its end that counts, not when it was made.
TEST_P(JobStoreTest, AJobThatRanForLongStaysOnceItHasEnded) {
  store_ = GetParam().make({2, 100, 1'000'000});
  const JobRecord first = Make("first", "r");
  std::vector<JobRecord> made;
  for (int n = 1; n <= 4; ++n) {
    made.push_back(Make(absl::StrCat("j", n)));
    if (n <= 3) End(made.back());
  }
  // Even where the clock went back.
  End(first, 10, absl::InfinitePast());
  EXPECT_EQ(Kept(), (Ids{"j4", "j3", "first"}));
  EXPECT_EQ(store_->Results("first")->at(0), std::string(10, 'r'));
  EXPECT_TRUE(store_->FindRequest("r", first.spec).ok());
  End(made[3]);
  EXPECT_EQ(Kept(), (Ids{"j4", "first"}));
}

TEST_P(JobStoreTest, EndedJobsAreBoundedByBytesToo) {
  store_ = GetParam().make({100, 100, 100'000});
  JobRecord last;
  for (int n = 1; n <= 4; ++n) End(last = Make(absl::StrCat("j", n)), 40'000);
  EXPECT_EQ(Kept(), (Ids{"j4", "j3"}));
  // Too large by itself.
  End(Make("j5"), 200'000);
  EXPECT_EQ(Kept(), Ids{"j5"});
}

TEST_P(JobStoreTest, ResultsThatAreReplacedCountOnce) {
  store_ = GetParam().make({100, 100, 100'000});
  for (int n = 1; n <= 2; ++n) {
    JobRecord record = Make(absl::StrCat("j", n));
    record.job.state = JobState::kPaused;
    const std::string result(40'000, 'r');
    for (int round = 0; round < 3; ++round) {
      ASSERT_EQ(store_->Write({{record.job, {}, {}, {{0, result}, {1, result}}}}), absl::OkStatus());
    }
    ASSERT_EQ(store_->Write({{record.job, {}, {1}, {}}}), absl::OkStatus());
    End(record, 40'000);
  }
  EXPECT_EQ(Kept(), (Ids{"j2", "j1"}));
}

TEST_P(JobStoreTest, OneWriteMayEndMoreThanAreKept) {
  store_ = GetParam().make({1, 100, 1'000'000});
  std::vector<JobChange> changes;
  for (int n = 1; n <= 3; ++n) {
    changes.push_back({Make(absl::StrCat("j", n)).job, {}, {}, {}});
    changes.back().job.state = JobState::kCancelled;
  }
  const JobRecord other = Make("j4");
  ASSERT_EQ(store_->Write(changes), absl::OkStatus());
  EXPECT_EQ(Kept(), (Ids{"j4", "j3", "j2", "j1"}));
  SetState(other, JobState::kRunning);
  EXPECT_EQ(Kept(), (Ids{"j4", "j3"}));
}

// A schedule forgets its jobs itself.
TEST_P(JobStoreTest, JobsOfSchedulesAreNotCountedWithTheOthers) {
  store_ = GetParam().make({1, 2, 1'000'000});
  for (int n = 1; n <= 3; ++n) {
    End(Make(absl::StrCat("s", n), absl::StrCat(kRunRequestPrefix, "nightly/u/", n)));
    End(Make(absl::StrCat("j", n)));
    if (n == 2) {
      EXPECT_EQ(Kept(), (Ids{"j2", "s2", "s1"}));
    }
  }
  EXPECT_EQ(Kept(), (Ids{"j3", "s3", "s2"}));
}

TEST_P(JobStoreTest, DeletedAndRestoredJobsAreCounted) {
  store_ = GetParam().make({2, 100, 1'000'000});
  JobRecord restored = SomeJob("j1");
  restored.job.sequence = 1;
  restored.job.state = JobState::kFailed;
  ASSERT_EQ(store_->Restore(restored), absl::OkStatus());
  ASSERT_EQ(store_->RestoreCounters({1, 1, /*incomplete=*/false}), absl::OkStatus());
  End(Make("j2"));
  ASSERT_EQ(store_->Delete("j2"), absl::OkStatus());
  End(Make("j3"));
  EXPECT_EQ(Kept(), (Ids{"j3", "j1"}));
  End(Make("j4"));
  EXPECT_EQ(Kept(), (Ids{"j4", "j3"}));
}

INSTANTIATE_TEST_SUITE_P(Stores, JobStoreTest,
                         ::testing::Values(Kind{"Memory",
                                                [](const EndedLimits& limits) {
                                                  return std::make_unique<MemoryStore>(limits);
                                                }},
                                           Kind{"Sqlite", MakeSqlite}, Kind{"Etcd", MakeEtcd<1>},
                                           Kind{"EtcdOfThree", MakeEtcd<3>}),
                         [](const ::testing::TestParamInfo<Kind>& info) { return info.param.name; });

}  // namespace
}  // namespace cowherd
