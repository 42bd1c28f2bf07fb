#include "server/jobs/backup.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "server/base/status.h"
#include "server/jobs/memory_store.h"
#include "server/jobs/sqlite_store.h"
#include "tests/testing/etcd_cluster.h"
#include "tests/testing/leading_store.h"

namespace cowherd {
namespace {

class BackupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(from_.RaiseEpoch(1'700'000'000).ok());
    for (int n = 1; n <= 3; ++n) {
      JobRecord record;
      record.job.id = absl::StrCat("j", n);
      record.job.request_id = absl::StrCat("r", n);
      record.job.created = absl::FromUnixMicros(n);
      record.job.tasks_made = 2;
      record.spec = absl::StrCat("spec ", n);
      for (uint32_t number = 0; number < 2; ++number) {
        Task task;
        task.number = number;
        task.node = "n";
        task.paths = {"/a"};
        task.error = ErrnoError(5, "read");
        record.tasks.push_back(task);
      }
      ASSERT_TRUE(from_.Create(record).ok());
      record.job.state = n == 2 ? JobState::kSucceeded : JobState::kRunning;
      record.job.revision = 9;
      record.job.totals.bytes_accepted = 7;
      record.tasks[0].state = TaskState::kSucceeded;
      ASSERT_EQ(from_.Write({{record.job, record.tasks, {}, {{0, std::string(100'000, 'r')}}}}),
                absl::OkStatus());
    }
    // The last sequence is not that of a job any more.
    ASSERT_EQ(from_.Delete("j3"), absl::OkStatus());
    ASSERT_EQ(from_.PutRecord("schedule", "nightly", "1"), absl::OkStatus());
    ASSERT_EQ(from_.PutRecord("hold", "n", "2"), absl::OkStatus());
  }

  static void ExpectSame(JobStore& a, JobStore& b) {
    EXPECT_EQ(a.ReadCounters()->epoch, b.ReadCounters()->epoch);
    EXPECT_EQ(a.ReadCounters()->sequence, b.ReadCounters()->sequence);
    EXPECT_EQ(a.CountByState().value(), b.CountByState().value());
    for (const char* id : {"j1", "j2"}) {
      const JobRecord left = a.Get(id).value();
      const JobRecord right = b.Get(id).value();
      EXPECT_EQ(left.job.sequence, right.job.sequence);
      EXPECT_EQ(left.job.request_id, right.job.request_id);
      EXPECT_EQ(left.job.state, right.job.state);
      EXPECT_EQ(left.job.created, right.job.created);
      EXPECT_EQ(left.job.revision, right.job.revision);
      EXPECT_EQ(left.job.totals, right.job.totals);
      EXPECT_EQ(left.spec, right.spec);
      EXPECT_EQ(left.results, right.results);
      ASSERT_EQ(left.tasks.size(), right.tasks.size());
      for (size_t i = 0; i < left.tasks.size(); ++i) {
        EXPECT_EQ(left.tasks[i].state, right.tasks[i].state);
        EXPECT_EQ(left.tasks[i].paths, right.tasks[i].paths);
        EXPECT_EQ(left.tasks[i].error, right.tasks[i].error);
      }
    }
    EXPECT_EQ(a.RecordKinds().value(), b.RecordKinds().value());
    for (const char* kind : {"schedule", "hold"})
      EXPECT_EQ(a.LoadRecords(kind).value(), b.LoadRecords(kind).value());
  }

  std::string Read() {
    std::ifstream file(path_, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void Overwrite(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }

  MemoryStore from_;
  const std::string path_ =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                   "-", ::getpid());
};

// Memory to SQLite to etcd, and back to SQLite: what one kind of store writes, another reads.
TEST_F(BackupTest, GoesFromStoreToStore) {
  const absl::StatusOr<BackupCounts> counts = WriteBackup(from_, path_);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->jobs, 2u);
  EXPECT_EQ(counts->records, 2u);

  const std::unique_ptr<JobStore> sqlite = OpenSqliteStore(path_ + ".db").value();
  ASSERT_EQ(RestoreBackup(path_, *sqlite)->jobs, 2u);
  ExpectSame(from_, *sqlite);
  ASSERT_TRUE(WriteBackup(*sqlite, path_).ok());

  const std::unique_ptr<EtcdCluster> cluster = EtcdCluster::Start(1).value();
  EtcdStoreOptions options;
  options.prefix = "/b/";
  const LeadingStore leading = LeadingStore::Make(cluster->addresses(), options).value();
  ASSERT_EQ(RestoreBackup(path_, *leading.store)->records, 2u);
  ExpectSame(from_, *leading.store);
  // While a leader runs, too.
  const std::unique_ptr<JobStore> reader = MakeEtcdStore(*leading.client, nullptr, options);
  ASSERT_TRUE(WriteBackup(*reader, path_).ok());

  const std::unique_ptr<JobStore> back = OpenSqliteStore(path_ + ".back.db").value();
  ASSERT_TRUE(RestoreBackup(path_, *back).ok());
  ExpectSame(from_, *back);
  // They go on from there.
  for (JobStore* store : {sqlite.get(), leading.store.get(), back.get()}) {
    EXPECT_EQ(store->RaiseEpoch(0).value(), 1'700'000'001u);
    JobRecord next;
    next.job.id = "j4";
    next.tasks.emplace_back();
    EXPECT_EQ(store->Create(next)->record.job.sequence, 4u);
  }
}

TEST_F(BackupTest, AUsedStoreIsNotOverwritten) {
  ASSERT_TRUE(WriteBackup(from_, path_).ok());
  MemoryStore with_epoch;
  ASSERT_TRUE(with_epoch.RaiseEpoch(0).ok());
  MemoryStore with_record;
  ASSERT_EQ(with_record.PutRecord("k", "n", "v"), absl::OkStatus());
  for (MemoryStore* store : {&from_, &with_epoch, &with_record}) {
    EXPECT_EQ(ReasonOf(RestoreBackup(path_, *store).status()), "STORE_NOT_EMPTY");
  }
  EXPECT_TRUE(with_epoch.List({}, 0, 1)->empty());
}

TEST_F(BackupTest, DamageIsFoundBeforeAnythingIsRestored) {
  ASSERT_TRUE(WriteBackup(from_, path_).ok());
  const std::string whole = Read();
  const auto refused = [&](const std::string& bytes, const char* what) {
    Overwrite(bytes);
    MemoryStore store;
    const absl::Status status = RestoreBackup(path_, store).status();
    EXPECT_FALSE(status.ok()) << what;
    EXPECT_TRUE(store.List({}, 0, 1)->empty()) << what;
    EXPECT_TRUE(store.RecordKinds()->empty()) << what;
    return ReasonOf(status);
  };
  // Any byte; most lie in results of 100,000 equal ones.
  for (size_t at = 0; at < whole.size(); at += at < 200 || at + 400 > whole.size() ? 1 : 997) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    refused(damaged, absl::StrCat("byte ", at).c_str());
  }
  for (size_t size : {size_t{0}, size_t{5}, whole.size() / 2, whole.size() - 8, whole.size() - 1}) {
    EXPECT_EQ(refused(whole.substr(0, size), absl::StrCat("size ", size).c_str()), "BACKUP_CORRUPT");
  }
  EXPECT_EQ(refused(whole + "x", "longer"), "BACKUP_CORRUPT");
  std::string newer = whole;
  newer[newer.find('1')] = '2';
  EXPECT_EQ(refused(newer, "newer"), "BACKUP_NEWER");
  Overwrite(whole);
  MemoryStore store;
  EXPECT_TRUE(RestoreBackup(path_, store).ok());
}

TEST_F(BackupTest, AStoreThatNobodyUsedIsNoReasonToReplaceABackup) {
  ASSERT_TRUE(WriteBackup(from_, path_).ok());
  const std::string before = Read();
  MemoryStore unused;
  const absl::Status status = WriteBackup(unused, path_).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(ReasonOf(status), "STORE_NOT_FOUND");
  EXPECT_NE(status.message().find("--store"), absl::string_view::npos);
  // One that was used, though nothing is left in it, is another matter.
  ASSERT_TRUE(unused.RaiseEpoch(0).ok());
  EXPECT_EQ(Read(), before);
  EXPECT_EQ(WriteBackup(unused, path_)->jobs, 0u);
}

// As one leaves it that is killed: it is no store to go on with, nor to copy.
TEST_F(BackupTest, AnInterruptedRestoreIsNotTakenForAStore) {
  ASSERT_TRUE(WriteBackup(from_, path_).ok());
  const std::string store_path = path_ + ".db";
  ASSERT_TRUE(OpenSqliteStore(store_path).ok());
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(store_path.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db,
                         "CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN NEW.id = 'j1' "
                         "BEGIN SELECT RAISE(FAIL, 'no'); END",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  const std::unique_ptr<JobStore> store = OpenSqliteStore(store_path).value();
  EXPECT_FALSE(RestoreBackup(path_, *store).ok());
  EXPECT_TRUE(store->Get("j2").ok());
  EXPECT_EQ(store->ReadCounters()->sequence, 3u);
  EXPECT_EQ(ReasonOf(store->RaiseEpoch(0).status()), "STORE_INCOMPLETE");
  EXPECT_EQ(ReasonOf(WriteBackup(*store, path_ + ".2").status()), "STORE_INCOMPLETE");
  EXPECT_EQ(ReasonOf(RestoreBackup(path_, *store).status()), "STORE_NOT_EMPTY");
}

TEST_F(BackupTest, AFailedBackupLeavesTheOldOne) {
  ASSERT_TRUE(WriteBackup(from_, path_).ok());
  const std::string before = Read();
  from_.FailWith(absl::UnavailableError("gone"));
  EXPECT_TRUE(absl::IsUnavailable(WriteBackup(from_, path_).status()));
  EXPECT_EQ(Read(), before);
  EXPECT_NE(::access((path_ + ".new").c_str(), F_OK), 0);
  EXPECT_FALSE(WriteBackup(from_, "/proc/none/backup").ok());
  MemoryStore store;
  EXPECT_FALSE(RestoreBackup("/proc/none/backup", store).ok());
}

}  // namespace
}  // namespace cowherd
