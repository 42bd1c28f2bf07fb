#include "server/jobs/sqlite_store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

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
