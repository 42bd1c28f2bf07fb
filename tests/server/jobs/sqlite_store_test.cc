#include "server/jobs/sqlite_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/status.h"
#include "server/jobs/schema.h"

namespace cowherd {
namespace {

class SqliteStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<JobStore> Open() {
    absl::StatusOr<std::unique_ptr<JobStore>> store = OpenSqliteStore(path_);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  absl::Status OpenError() { return OpenSqliteStore(path_).status(); }
  void RunSql(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  // With schema `version`, and all that it may hold.
  void MakeOld(size_t version);
  std::string Bytes() {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    return bytes.str();
  }

  const std::string path_ =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                   "-", ::getpid());
};

JobRecord Numbered(uint64_t n) {
  JobRecord record;
  record.job.id = absl::StrCat("j", n);
  record.spec = "s";
  record.job.revision = 0;
  Task task;
  record.tasks = {task};
  return record;
}

TEST_F(SqliteStoreTest, KeepsJobsAndEpochOverAClose) {
  std::unique_ptr<JobStore> store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->RaiseEpoch(0).value(), 1u);
  EXPECT_TRUE(store->Create(Numbered(1)).ok());
  store.reset();
  store = Open();
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->RaiseEpoch(0).value(), 2u);
  EXPECT_TRUE(store->Get("j1").ok());
}

TEST_F(SqliteStoreTest, RemembersInWhichOrderJobsEnded) {
  const auto end = [](JobStore& store, uint64_t n) {
    Job job = Numbered(n).job;
    job.state = JobState::kSucceeded;
    job.ended = absl::FromUnixMicros(static_cast<int64_t>(10 - n));
    ASSERT_EQ(store.Write({{job, {}, {}, {{0, "r"}}}}), absl::OkStatus());
  };
  std::unique_ptr<JobStore> store = Open();
  for (uint64_t n = 1; n <= 3; ++n) ASSERT_TRUE(store->Create(Numbered(n)).ok());
  end(*store, 3);
  end(*store, 2);
  store.reset();
  store = OpenSqliteStore(path_, {2, 0, 1'000'000}).value();
  end(*store, 1);
  EXPECT_TRUE(absl::IsNotFound(store->Get("j3").status()));
  EXPECT_TRUE(store->Get("j2").ok());
  EXPECT_TRUE(store->Get("j1").ok());
}

TEST_F(SqliteStoreTest, SecondOneIsRefused) {
  std::unique_ptr<JobStore> store = Open();
  const absl::Status status = OpenError();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), "STORE_LOCKED");
  store.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(SqliteStoreTest, NewerSchemaIsRefused) {
  Open();
  RunSql(absl::StrCat("PRAGMA user_version = ", std::size(kSchemaSteps) + 1));
  const absl::Status status = OpenError();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ReasonOf(status), "STORE_NEWER");
  EXPECT_EQ(status.message(), absl::StrCat("the store has schema ", std::size(kSchemaSteps) + 1,
                                           ", this version of cowherd knows up to ", std::size(kSchemaSteps),
                                           "; run the version that wrote it, or a later one"));
}

// For each schema step, what a store of that schema may hold.
constexpr const char* kFilled[] = {
    R"sql(
UPDATE terms SET epoch = 1700000000;
INSERT INTO jobs VALUES (7, 'j7', 'req', x'7300', 'running', 'pause', 1500000000000001, 5, NULL,
  '{"bytes_accepted":3,"bytes_won":-1,"elapsed_ns":2}', 9, 2);
INSERT INTO tasks VALUES (7, 0, 'n1', 'data', x'2f61002f62', 1, 'running', 1, 3, 2,
  1700000000123456, NULL, 14, 'LOST', '', 0, x'676f6e65', 'r1', '{"bytes_accepted":1}', '{"bytes_accepted":2}');
INSERT INTO tasks VALUES (7, 1, 'n2', '', x'', 0, 'succeeded', 0, 1, 0, NULL, NULL, 0, '', '', 0, x'', '', '{}', '{}');
INSERT INTO results VALUES (7, 1, x'7200');
)sql",
    "INSERT INTO records VALUES ('schedule', 'nightly', x'7600');",
    "UPDATE tasks SET crashes = 1, node_started = 1650000000000002 WHERE job = 7 AND number = 0;",
    "",
};
static_assert(std::size(kFilled) == std::size(kSchemaSteps), "say what the new step keeps");

void SqliteStoreTest::MakeOld(size_t version) {
  for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path_ + suffix).c_str());
  RunSql("PRAGMA journal_mode = WAL");
  for (size_t step = 0; step < version; ++step) {
    RunSql(kSchemaSteps[step]);
    RunSql(kFilled[step]);
  }
  RunSql(absl::StrCat("PRAGMA application_id = ", 0x636f7768, "; PRAGMA user_version = ", version));
}

// What reads an old store leaves it to those that know no newer one.
TEST_F(SqliteStoreTest, ReadingChangesNothing) {
  for (size_t version = 1; version <= std::size(kSchemaSteps); ++version) {
    SCOPED_TRACE(version);
    MakeOld(version);
    const std::string before = Bytes();
    {
      const std::unique_ptr<JobStore> store = OpenSqliteStoreToRead(path_).value();
      EXPECT_EQ(store->Get("j7")->tasks.size(), 2u);
      EXPECT_EQ(store->List({}, 0, 10)->size(), 1u);
      EXPECT_EQ(store->RecordKinds()->size(), version >= 2 ? 1u : 0u);
      EXPECT_EQ(store->ReadCounters()->sequence, 7u);
      for (const absl::Status& status : {store->RaiseEpoch(0).status(), store->Create(Numbered(1)).status(),
                                         store->PutRecord("k", "n", "v"), store->Delete("j7")}) {
        EXPECT_FALSE(status.ok());
      }
      EXPECT_EQ(ReasonOf(OpenError()), "STORE_LOCKED");
    }
    EXPECT_EQ(Bytes(), before);
  }
}

TEST_F(SqliteStoreTest, WhatIsNotThereIsNotMadeToBeRead) {
  const absl::Status status = OpenSqliteStoreToRead(path_).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(ReasonOf(status), "STORE_NOT_FOUND");
  EXPECT_EQ(status.message(), absl::StrCat("there is no store at ", path_, "; is --store the right one?"));
  for (const char* suffix : {"", ".lock"}) EXPECT_NE(::access((path_ + suffix).c_str(), F_OK), 0) << suffix;
}

TEST_F(SqliteStoreTest, UpgradesFromEveryStep) {
  for (size_t version = 1; version <= std::size(kSchemaSteps); ++version) {
    SCOPED_TRACE(version);
    MakeOld(version);
    std::unique_ptr<JobStore> store = Open();
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(store->RaiseEpoch(0).value(), 1'700'000'001u);
    const JobRecord record = store->Get("j7").value();
    EXPECT_EQ(record.job.sequence, 7u);
    EXPECT_EQ(record.job.request_id, "req");
    EXPECT_EQ(record.job.state, JobState::kRunning);
    EXPECT_EQ(record.job.wanted, Wanted::kPause);
    EXPECT_EQ(record.job.created, absl::FromUnixMicros(1'500'000'000'000'001));
    EXPECT_EQ(record.job.ended, absl::InfinitePast());
    EXPECT_EQ(record.job.totals.bytes_won, -1);
    EXPECT_EQ(record.job.revision, 9u);
    EXPECT_EQ(record.spec, std::string("s\0", 2));
    ASSERT_EQ(record.tasks.size(), 2u);
    const Task& task = record.tasks[0];
    EXPECT_EQ(task.paths, (std::vector<std::string>{"/a", "/b"}));
    EXPECT_EQ(task.state, TaskState::kRunning);
    EXPECT_EQ(task.attempt, 3u);
    EXPECT_EQ(task.failures, 2u);
    EXPECT_EQ(task.crashes, version >= 3 ? 1u : 0u);
    EXPECT_EQ(task.node_started,
              version >= 3 ? absl::FromUnixMicros(1'650'000'000'000'002) : absl::InfinitePast());
    EXPECT_EQ(ReasonOf(task.error), "LOST");
    EXPECT_EQ(task.totals().bytes_accepted, 3u);
    EXPECT_EQ(record.results, (std::map<uint32_t, std::string>{{1, std::string("r\0", 2)}}));
    EXPECT_EQ(store->LoadRecords("schedule")->count("nightly"), version >= 2 ? 1u : 0u);

    // Sequences go on, and what the newest schema keeps can be written.
    EXPECT_EQ(store->Create(Numbered(1))->record.job.sequence, 8u);
    EXPECT_EQ(store->PutRecord("schedule", "weekly", "v"), absl::OkStatus());
  }
}

// Stores were made by them: a change goes into a new step.
TEST(Schema, ReleasedStepsStay) {
  constexpr uint64_t kReleased[] = {
      0xeb6407ac08ed0a10,
      0x2ba9d5d095add608,
      0xb331d28fef21a5e0,
      0x2d106b04ca09ca6c,
  };
  ASSERT_EQ(std::size(kReleased), std::size(kSchemaSteps)) << "add the new step's";
  for (size_t step = 0; step < std::size(kSchemaSteps); ++step) {
    EXPECT_EQ(XXH3_64bits(kSchemaSteps[step], std::strlen(kSchemaSteps[step])), kReleased[step])
        << "step " << step + 1;
  }
}

TEST_F(SqliteStoreTest, ForeignAndBrokenFilesAreRefused) {
  RunSql("CREATE TABLE theirs (x)");
  EXPECT_EQ(ReasonOf(OpenError()), "STORE_CORRUPT");
  {
    std::ofstream file(path_, std::ios::trunc);
    file << std::string(8192, 'x');
  }
  EXPECT_EQ(ReasonOf(OpenError()), "STORE_CORRUPT");
}

TEST_F(SqliteStoreTest, UnwritablePlaceIsNamed) {
  const absl::Status status = OpenSqliteStore("/proc/none/store").status();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("/proc/none/store"), absl::string_view::npos);
}

// A child writes and tells after each acknowledged write; killed in the midst of it, all it told must be
// there.
TEST_F(SqliteStoreTest, KillLosesNothingAcknowledged) {
  for (int round = 0; round < 5; ++round) {
    ::unlink(path_.c_str());
    ::unlink((path_ + "-wal").c_str());
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    Fd from(ends[0]);
    Fd to(ends[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      absl::StatusOr<std::unique_ptr<JobStore>> store = OpenSqliteStore(path_);
      if (!store.ok() || !(*store)->Create(Numbered(0)).ok()) ::_exit(1);
      for (uint64_t n = 1;; ++n) {
        JobChange change{Numbered(0).job, Numbered(0).tasks, {}, {{0, std::string(1000, 'r')}}};
        change.job.revision = n;
        change.put[0].current.bytes_accepted = n;
        if (!(*store)->Create(Numbered(n)).ok() || !(*store)->Write({change}).ok()) ::_exit(1);
        if (::write(to.get(), &n, sizeof n) != sizeof n) ::_exit(1);
      }
    }
    to = Fd();
    uint64_t told = 0;
    const uint64_t enough = 20 + 13 * static_cast<uint64_t>(round);
    while (told < enough)
      ASSERT_EQ(::read(from.get(), &told, sizeof told), static_cast<ssize_t>(sizeof told));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    uint64_t more = 0;
    while (::read(from.get(), &more, sizeof more) == static_cast<ssize_t>(sizeof more)) told = more;

    std::unique_ptr<JobStore> store = Open();
    ASSERT_NE(store, nullptr);
    for (uint64_t n = 1; n <= told; ++n) EXPECT_TRUE(store->Get(absl::StrCat("j", n)).ok()) << n;
    absl::StatusOr<JobRecord> counted = store->Get("j0");
    ASSERT_TRUE(counted.ok());
    EXPECT_GE(counted->job.revision, told);
    // Job and task changed in one transaction.
    EXPECT_EQ(counted->tasks[0].current.bytes_accepted, counted->job.revision);
  }
}

}  // namespace
}  // namespace cowherd
