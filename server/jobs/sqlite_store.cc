#include "server/jobs/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"
#include "server/base/fd.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/jobs/names.h"
#include "server/jobs/schema.h"

namespace cowherd {
namespace {

// "cowh" in ASCII: marks the file as ours.
constexpr int64_t kApplicationId = 0x636f7768;

constexpr char kJobColumns[] =
    "sequence, id, request_id, spec, state, wanted, created, started, ended, totals, revision, tasks_made";
constexpr char kTaskColumns[] =
    "number, node, root, paths, expanded, state, open, attempt, failures, next_attempt, waiting_since, "
    "error_code, "
    "error_reason, error_field, error_errno, error_message, run_id, current, carried, "
    "crashes, node_started";
constexpr char kEnded[] = "state IN ('succeeded', 'failed', 'cancelled')";

// Why the file of the store, or its log, could not be read or written last. 0: that never happened. What a
// disk does not give SQLite takes for damaged.
int LastErrno(sqlite3* db) {
  int number = 0;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &number);
  if (number != 0) return number;
  sqlite3_file* log = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log != nullptr &&
      log->pMethods != nullptr) {
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number);
  }
  return number;
}

absl::Status StoreIo(const std::string& text) {
  return MakeError(absl::StatusCode::kUnavailable, "STORE_IO",
                   absl::StrCat("the disk of the store failed: ", text));
}

absl::Status SqliteError(sqlite3* db, int code) {
  const std::string text = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return MakeError(absl::StatusCode::kResourceExhausted, "STORE_FULL",
                       absl::StrCat("the disk of the store is full; free some space and repeat: ", text));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "STORE_LOCKED",
          absl::StrCat("another process uses the store; there may be one controller only: ", text));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "STORE_NOT_WRITABLE",
          absl::StrCat("the store cannot be opened for writing; check path and permissions: ", text));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      if (const int number = db != nullptr ? LastErrno(db) : 0; number != 0) {
        return StoreIo(absl::StrCat(text, ", after ", std::generic_category().message(number)));
      }
      return StoreCorrupt(text);
    case SQLITE_IOERR:
      return StoreIo(text);
    default:
      return MakeError(absl::StatusCode::kInternal, "STORE_ERROR", absl::StrCat("SQLite: ", text));
  }
}

struct Blob {
  absl::string_view bytes;
};

// A database and the statements prepared for it: preparing one takes longer than running it.
class Database {
 public:
  explicit Database(sqlite3* db) : db_(db) {}
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database() {
    for (const auto& [sql, statement] : idle_) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }

  sqlite3* get() const { return db_; }

  absl::StatusOr<sqlite3_stmt*> Take(const std::string& sql) {
    const auto found = idle_.find(sql);
    if (found != idle_.end()) {
      sqlite3_stmt* statement = found->second;
      idle_.erase(found);
      return statement;
    }
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(db_, sql.c_str(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return SqliteError(db_, code);
    return statement;
  }

  void GiveBack(std::string sql, sqlite3_stmt* statement) {
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    idle_.emplace(std::move(sql), statement);
  }

 private:
  sqlite3* const db_;
  // By their text; several where one is used within another.
  std::multimap<std::string, sqlite3_stmt*> idle_;
};

// One prepared statement. Values are bound in the order of its question marks and must live until it has run.
class Statement {
 public:
  static absl::StatusOr<Statement> Make(Database& db, std::string sql) {
    ASSIGN_OR_RETURN(sqlite3_stmt * raw, db.Take(sql));
    return Statement(db, std::move(sql), raw);
  }
  Statement(Statement&& other) noexcept
      : db_(other.db_),
        sql_(std::move(other.sql_)),
        raw_(std::exchange(other.raw_, nullptr)),
        bound_(other.bound_),
        bind_result_(other.bind_result_) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement() {
    if (raw_ != nullptr) db_.GiveBack(std::move(sql_), raw_);
  }

  Statement& Bind(int64_t value) { return Note(sqlite3_bind_int64(raw_, ++bound_, value)); }
  Statement& Bind(absl::string_view text) {
    return Note(sqlite3_bind_text64(raw_, ++bound_, Start(text), text.size(), SQLITE_STATIC, SQLITE_UTF8));
  }
  Statement& Bind(Blob blob) {
    return Note(sqlite3_bind_blob64(raw_, ++bound_, Start(blob.bytes), blob.bytes.size(), SQLITE_STATIC));
  }
  Statement& Bind(absl::Time time) {
    if (time == absl::InfinitePast()) return Note(sqlite3_bind_null(raw_, ++bound_));
    return Bind(absl::ToUnixMicros(time));
  }

  // True: there is a row to read.
  absl::StatusOr<bool> Step() {
    if (bind_result_ != SQLITE_OK) return SqliteError(db_.get(), bind_result_);
    const int code = sqlite3_step(raw_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return SqliteError(db_.get(), code);
  }

  int64_t Int(int column) { return sqlite3_column_int64(raw_, column); }
  std::string Text(int column) {
    const void* bytes = sqlite3_column_blob(raw_, column);
    return bytes == nullptr
               ? std::string()
               : std::string(static_cast<const char*>(bytes), sqlite3_column_bytes(raw_, column));
  }
  absl::Time Time(int column) {
    if (sqlite3_column_type(raw_, column) == SQLITE_NULL) return absl::InfinitePast();
    return absl::FromUnixMicros(Int(column));
  }

 private:
  Statement(Database& db, std::string sql, sqlite3_stmt* raw) : db_(db), sql_(std::move(sql)), raw_(raw) {}
  // A null pointer would bind NULL.
  static const char* Start(absl::string_view text) { return text.data() != nullptr ? text.data() : ""; }
  Statement& Note(int code) {
    if (code != SQLITE_OK) bind_result_ = code;
    return *this;
  }

  Database& db_;
  std::string sql_;
  sqlite3_stmt* raw_;
  int bound_ = 0;
  int bind_result_ = SQLITE_OK;
};

absl::Status Run(Database& db, const std::string& sql) {
  const int code = sqlite3_exec(db.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteError(db.get(), code);
}

absl::Status Finish(Statement statement) { return statement.Step().status(); }

// The first column of the one row that `sql` gives.
absl::StatusOr<std::string> ReadText(Database& db, const std::string& sql) {
  ASSIGN_OR_RETURN(Statement statement, Statement::Make(db, sql));
  ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return StoreCorrupt(absl::StrCat("no row for ", sql));
  return statement.Text(0);
}

absl::StatusOr<int64_t> ReadInt(Database& db, const std::string& sql) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(db, sql));
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) return StoreCorrupt(absl::StrCat("no number for ", sql));
  return value;
}

// Rolls back unless committed.
class Transaction {
 public:
  static absl::StatusOr<std::unique_ptr<Transaction>> Begin(Database& db) {
    RETURN_IF_ERROR(Run(db, "BEGIN IMMEDIATE"));
    return std::make_unique<Transaction>(db);
  }
  explicit Transaction(Database& db) : db_(db) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  // Some errors have SQLite roll back by itself.
  ~Transaction() {
    if (sqlite3_get_autocommit(db_.get()) == 0)
      sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  absl::Status Commit() { return Run(db_, "COMMIT"); }

 private:
  Database& db_;
};

// What is 0 is left out.
std::string ToJson(const Totals& totals) {
  std::string json = "{";
  const auto add = [&json](absl::string_view name, auto value) {
    if (value != 0) absl::StrAppend(&json, json.size() > 1 ? "," : "", "\"", name, "\":", value);
  };
  for (const TotalsCounter& counter : TotalsCounters()) add(counter.name, totals.*counter.value);
  add("bytes_won", totals.bytes_won);
  add("elapsed_ns", absl::ToInt64Nanoseconds(totals.elapsed));
  json += "}";
  return json;
}

template <typename Number>
Number Field(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number_integer() ? found->get<Number>() : Number{0};
}

absl::StatusOr<Totals> FromJson(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return StoreCorrupt("totals are not JSON");
  Totals totals;
  for (const TotalsCounter& counter : TotalsCounters()) {
    totals.*counter.value = Field<uint64_t>(json, counter.name);
  }
  totals.bytes_won = Field<int64_t>(json, "bytes_won");
  totals.elapsed = absl::Nanoseconds(Field<int64_t>(json, "elapsed_ns"));
  return totals;
}

// What a store does not know by that name is damage.
template <typename Value>
absl::StatusOr<Value> Known(absl::optional<Value> value, absl::string_view name) {
  if (!value) return StoreCorrupt(absl::StrCat("unknown state ", name));
  return *value;
}

absl::StatusOr<JobRecord> ReadJob(Statement& row) {
  JobRecord record;
  Job& job = record.job;
  job.sequence = row.Int(0);
  job.id = row.Text(1);
  job.request_id = row.Text(2);
  record.spec = row.Text(3);
  ASSIGN_OR_RETURN(job.state, Known(JobStateFrom(row.Text(4)), row.Text(4)));
  ASSIGN_OR_RETURN(job.wanted, Known(WantedFrom(row.Text(5)), row.Text(5)));
  job.created = row.Time(6);
  job.started = row.Time(7);
  job.ended = row.Time(8);
  ASSIGN_OR_RETURN(job.totals, FromJson(row.Text(9)));
  job.revision = row.Int(10);
  job.tasks_made = static_cast<uint32_t>(row.Int(11));
  return record;
}

absl::StatusOr<Task> ReadTask(Statement& row) {
  Task task;
  task.number = static_cast<uint32_t>(row.Int(0));
  task.node = row.Text(1);
  task.root = row.Text(2);
  const std::string paths = row.Text(3);
  if (!paths.empty()) task.paths = absl::StrSplit(paths, '\0');
  task.expanded = row.Int(4) != 0;
  ASSIGN_OR_RETURN(task.state, Known(TaskStateFrom(row.Text(5)), row.Text(5)));
  task.open = row.Int(6) != 0;
  task.attempt = static_cast<uint32_t>(row.Int(7));
  task.failures = static_cast<uint32_t>(row.Int(8));
  task.next_attempt = row.Time(9);
  task.waiting_since = row.Time(10);
  task.error = WithDetail(absl::Status(static_cast<absl::StatusCode>(row.Int(11)), row.Text(15)),
                          row.Text(12), row.Text(13), static_cast<int>(row.Int(14)));
  task.run_id = row.Text(16);
  ASSIGN_OR_RETURN(task.current, FromJson(row.Text(17)));
  ASSIGN_OR_RETURN(task.carried, FromJson(row.Text(18)));
  task.crashes = static_cast<uint32_t>(row.Int(19));
  task.node_started = row.Time(20);
  return task;
}

// A job that has ended, as EndedJobs takes it.
struct End {
  Job job;
  uint64_t bytes = 0;
};
constexpr char kEndColumns[] =
    "sequence, request_id, tasks_made, "
    "length(spec) + (SELECT coalesce(sum(length(value)), 0) FROM results WHERE job = sequence)";

absl::StatusOr<std::vector<End>> ReadEnds(Statement rows) {
  std::vector<End> ends;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return ends;
    End& end = ends.emplace_back();
    end.job.sequence = static_cast<uint64_t>(rows.Int(0));
    end.job.request_id = rows.Text(1);
    end.job.tasks_made = static_cast<uint32_t>(rows.Int(2));
    end.bytes = static_cast<uint64_t>(rows.Int(3));
  }
}

class SqliteStore final : public JobStore {
 public:
  SqliteStore(Fd lock, sqlite3* db, const EndedLimits& limits)
      : lock_(std::move(lock)), db_(db), ended_(limits) {}

  absl::Status Prepare(bool read_only);

  absl::StatusOr<uint64_t> RaiseEpoch(uint64_t at_least) override;
  absl::StatusOr<Created> Create(JobRecord record) override;
  absl::StatusOr<JobRecord> FindRequest(absl::string_view request_id, absl::string_view spec) override;
  absl::StatusOr<JobRecord> Get(absl::string_view id) override;
  absl::StatusOr<std::vector<JobRecord>> List(const std::vector<JobState>& states, uint64_t before,
                                              size_t limit) override;
  absl::StatusOr<std::vector<JobRecord>> LoadActive() override;
  absl::StatusOr<std::map<JobState, uint64_t>> CountByState() override;
  absl::StatusOr<std::map<uint32_t, std::string>> Results(absl::string_view id) override;
  absl::Status Write(const std::vector<JobChange>& changes) override;
  absl::Status Delete(absl::string_view id) override;
  absl::Status PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) override;
  absl::Status DeleteRecord(absl::string_view kind, absl::string_view name) override;
  absl::StatusOr<std::map<std::string, std::string>> LoadRecords(absl::string_view kind) override;
  absl::StatusOr<std::vector<std::string>> RecordKinds() override;
  absl::StatusOr<Counters> ReadCounters() override;
  absl::Status RestoreCounters(const Counters& counters) override;
  absl::Status Restore(const JobRecord& record) override;

 private:
  // Within a transaction. Sequence 0: it gets the next one.
  absl::StatusOr<uint64_t> Insert(const JobRecord& record);
  absl::StatusOr<uint64_t> SequenceOf(absl::string_view id);
  absl::StatusOr<std::vector<Task>> Tasks(uint64_t sequence);
  absl::StatusOr<std::map<uint32_t, std::string>> ResultsOf(uint64_t sequence);
  absl::Status Put(uint64_t sequence, const Task& task);
  absl::Status Apply(const JobChange& change);
  // In one transaction.
  absl::Status Remove(const std::vector<uint64_t>& sequences);

  // Released after the database is closed.
  const Fd lock_;
  Database db_;
  // Of a store that is only read: what brings its schema up to date, never to be committed.
  std::unique_ptr<Transaction> upgrade_;
  EndedJobs ended_;
};

absl::Status SqliteStore::Prepare(bool read_only) {
  RETURN_IF_ERROR(
      Run(db_, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"));
  ASSIGN_OR_RETURN(const int64_t version, ReadInt(db_, "PRAGMA user_version"));
  ASSIGN_OR_RETURN(const int64_t application, ReadInt(db_, "PRAGMA application_id"));
  ASSIGN_OR_RETURN(const int64_t tables, ReadInt(db_, "SELECT count(*) FROM sqlite_schema"));
  if (application != kApplicationId && tables > 0) return StoreCorrupt("the file belongs to another program");
  constexpr int64_t kVersion = std::size(kSchemaSteps);
  if (version > kVersion) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_NEWER",
                     absl::StrCat("the store has schema ", version, ", this version of cowherd knows up to ",
                                  kVersion, "; run the version that wrote it, or a later one"));
  }
  ASSIGN_OR_RETURN(const std::string check, ReadText(db_, "PRAGMA quick_check(1)"));
  if (check != "ok") return StoreCorrupt(check);
  ASSIGN_OR_RETURN(const std::string mode,
                   ReadText(db_, read_only ? "PRAGMA journal_mode" : "PRAGMA journal_mode = WAL"));
  if (mode != "wal" && !read_only) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_NOT_WRITABLE",
                     "the filesystem of the store does not take a write-ahead log; use a local one");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  for (int64_t step = version; step < kVersion; ++step) RETURN_IF_ERROR(Run(db_, kSchemaSteps[step]));
  RETURN_IF_ERROR(Run(db_, absl::StrCat("PRAGMA user_version = ", kVersion)));
  RETURN_IF_ERROR(Run(db_, absl::StrCat("PRAGMA application_id = ", kApplicationId)));
  if (read_only) {
    upgrade_ = std::move(transaction);
    return Run(db_, "PRAGMA query_only = ON");
  }
  RETURN_IF_ERROR(transaction->Commit());
  ASSIGN_OR_RETURN(Statement ended,
                   Statement::Make(db_, absl::StrCat("SELECT ", kEndColumns, " FROM jobs WHERE ", kEnded,
                                                     " ORDER BY ended, sequence")));
  ASSIGN_OR_RETURN(const std::vector<End> ends, ReadEnds(std::move(ended)));
  for (const End& end : ends) ended_.Add(end.job, end.bytes);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SqliteStore::RaiseEpoch(uint64_t at_least) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  ASSIGN_OR_RETURN(const int64_t incomplete, ReadInt(db_, "SELECT incomplete FROM terms"));
  if (incomplete != 0) return StoreIncomplete();
  RETURN_IF_ERROR(Run(db_, absl::StrCat("UPDATE terms SET epoch = max(epoch + 1, ", at_least, ")")));
  ASSIGN_OR_RETURN(const int64_t epoch, ReadInt(db_, "SELECT epoch FROM terms"));
  RETURN_IF_ERROR(transaction->Commit());
  return static_cast<uint64_t>(epoch);
}

absl::StatusOr<uint64_t> SqliteStore::SequenceOf(absl::string_view id) {
  ASSIGN_OR_RETURN(Statement statement, Statement::Make(db_, "SELECT sequence FROM jobs WHERE id = ?"));
  ASSIGN_OR_RETURN(const bool row, statement.Bind(id).Step());
  if (!row) return JobUnknown(id);
  return static_cast<uint64_t>(statement.Int(0));
}

absl::StatusOr<std::vector<Task>> SqliteStore::Tasks(uint64_t sequence) {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, absl::StrCat("SELECT ", kTaskColumns, " FROM tasks WHERE job = ?")));
  statement.Bind(static_cast<int64_t>(sequence));
  std::vector<Task> tasks;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return tasks;
    ASSIGN_OR_RETURN(Task task, ReadTask(statement));
    tasks.push_back(std::move(task));
  }
}

absl::StatusOr<std::map<uint32_t, std::string>> SqliteStore::ResultsOf(uint64_t sequence) {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, "SELECT number, value FROM results WHERE job = ?"));
  statement.Bind(static_cast<int64_t>(sequence));
  std::map<uint32_t, std::string> results;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return results;
    results[static_cast<uint32_t>(statement.Int(0))] = statement.Text(1);
  }
}

absl::StatusOr<JobStore::Created> SqliteStore::Create(JobRecord record) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  absl::StatusOr<JobRecord> before = FindRequest(record.job.request_id, record.spec);
  if (before.ok()) return Created{*std::move(before), true};
  if (!absl::IsNotFound(before.status())) return before.status();
  absl::StatusOr<uint64_t> taken = SequenceOf(record.job.id);
  if (taken.ok()) return JobExists(record.job.id);
  if (!absl::IsNotFound(taken.status())) return taken.status();

  record.job.sequence = 0;
  ASSIGN_OR_RETURN(record.job.sequence, Insert(record));
  RETURN_IF_ERROR(transaction->Commit());
  return Created{std::move(record), false};
}

absl::StatusOr<uint64_t> SqliteStore::Insert(const JobRecord& record) {
  ASSIGN_OR_RETURN(
      Statement insert,
      Statement::Make(
          db_,
          "INSERT INTO jobs (sequence, id, request_id, spec, state, wanted, created, totals, "
          "revision, tasks_made) VALUES (nullif(?, 0), ?, ?, ?, 'pending', 'run', ?, '{}', 0, 0)"));
  insert.Bind(static_cast<int64_t>(record.job.sequence))
      .Bind(record.job.id)
      .Bind(record.job.request_id)
      .Bind(Blob{record.spec})
      .Bind(record.job.created);
  RETURN_IF_ERROR(Finish(std::move(insert)));
  const auto sequence = static_cast<uint64_t>(sqlite3_last_insert_rowid(db_.get()));
  RETURN_IF_ERROR(Apply({record.job, record.tasks, {}, record.results}));
  return sequence;
}

absl::StatusOr<JobRecord> SqliteStore::FindRequest(absl::string_view request_id, absl::string_view spec) {
  if (request_id.empty()) return RequestUnknown();
  ASSIGN_OR_RETURN(
      Statement statement,
      Statement::Make(db_, "SELECT id, spec FROM jobs WHERE request_id = ? AND request_id <> ''"));
  ASSIGN_OR_RETURN(const bool row, statement.Bind(request_id).Step());
  if (!row) return RequestUnknown();
  if (statement.Text(1) != spec) return RequestReused(request_id);
  return Get(statement.Text(0));
}

absl::StatusOr<JobRecord> SqliteStore::Get(absl::string_view id) {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, absl::StrCat("SELECT ", kJobColumns, " FROM jobs WHERE id = ?")));
  ASSIGN_OR_RETURN(const bool row, statement.Bind(id).Step());
  if (!row) return JobUnknown(id);
  ASSIGN_OR_RETURN(JobRecord record, ReadJob(statement));
  ASSIGN_OR_RETURN(record.tasks, Tasks(record.job.sequence));
  ASSIGN_OR_RETURN(record.results, ResultsOf(record.job.sequence));
  return record;
}

absl::StatusOr<std::vector<JobRecord>> SqliteStore::List(const std::vector<JobState>& states, uint64_t before,
                                                         size_t limit) {
  std::string sql = absl::StrCat("SELECT ", kJobColumns, " FROM jobs WHERE (? = 0 OR sequence < ?)");
  if (!states.empty()) {
    absl::StrAppend(&sql, " AND state IN (",
                    absl::StrJoin(states, ", ", [](std::string* out, JobState) { out->append("?"); }), ")");
  }
  absl::StrAppend(&sql, " ORDER BY sequence DESC LIMIT ?");
  ASSIGN_OR_RETURN(Statement statement, Statement::Make(db_, sql));
  statement.Bind(static_cast<int64_t>(before)).Bind(static_cast<int64_t>(before));
  for (JobState state : states) statement.Bind(JobStateName(state));
  statement.Bind(static_cast<int64_t>(limit));
  std::vector<JobRecord> records;
  size_t bytes = 0;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return records;
    ASSIGN_OR_RETURN(JobRecord record, ReadJob(statement));
    bytes += record.spec.size();
    if (!records.empty() && bytes > kListBytes) return records;
    records.push_back(std::move(record));
  }
}

absl::StatusOr<std::vector<JobRecord>> SqliteStore::LoadActive() {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, absl::StrCat("SELECT ", kJobColumns, " FROM jobs WHERE NOT ", kEnded,
                                                     " ORDER BY sequence")));
  std::vector<JobRecord> records;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return records;
    ASSIGN_OR_RETURN(JobRecord record, ReadJob(statement));
    ASSIGN_OR_RETURN(record.tasks, Tasks(record.job.sequence));
    records.push_back(std::move(record));
  }
}

absl::StatusOr<std::map<JobState, uint64_t>> SqliteStore::CountByState() {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, "SELECT state, count(*) FROM jobs GROUP BY state"));
  std::map<JobState, uint64_t> counts;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return counts;
    ASSIGN_OR_RETURN(const JobState state, Known(JobStateFrom(statement.Text(0)), statement.Text(0)));
    counts[state] = static_cast<uint64_t>(statement.Int(1));
  }
}

absl::StatusOr<std::map<uint32_t, std::string>> SqliteStore::Results(absl::string_view id) {
  absl::StatusOr<uint64_t> sequence = SequenceOf(id);
  if (absl::IsNotFound(sequence.status())) return std::map<uint32_t, std::string>();
  if (!sequence.ok()) return sequence.status();
  return ResultsOf(*sequence);
}

absl::Status SqliteStore::Put(uint64_t sequence, const Task& task) {
  // An upsert, not a replace: replacing would take the results with it. The key is not among what it sets, or
  // SQLite would look each time for results that refer to the old one.
  static const std::string* const sql = new std::string(absl::StrCat(
      "INSERT INTO tasks (job, ", kTaskColumns,
      ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (job, number) DO UPDATE SET node = excluded.node, root = excluded.root, "
      "paths = excluded.paths, expanded = excluded.expanded, state = excluded.state, open = excluded.open, "
      "attempt = excluded.attempt, failures = excluded.failures, next_attempt = excluded.next_attempt, "
      "waiting_since = excluded.waiting_since, error_code = excluded.error_code, "
      "error_reason = excluded.error_reason, error_field = excluded.error_field, "
      "error_errno = excluded.error_errno, error_message = excluded.error_message, "
      "run_id = excluded.run_id, current = excluded.current, carried = excluded.carried, "
      "crashes = excluded.crashes, node_started = excluded.node_started"));
  ASSIGN_OR_RETURN(Statement put, Statement::Make(db_, *sql));
  const std::string paths = absl::StrJoin(task.paths, absl::string_view("\0", 1));
  const std::string reason = ReasonOf(task.error);
  const std::string field = FieldOf(task.error);
  const std::string current = ToJson(task.current);
  const std::string carried = ToJson(task.carried);
  put.Bind(static_cast<int64_t>(sequence))
      .Bind(int64_t{task.number})
      .Bind(task.node)
      .Bind(task.root)
      .Bind(Blob{paths})
      .Bind(int64_t{task.expanded})
      .Bind(TaskStateName(task.state))
      .Bind(int64_t{task.open})
      .Bind(int64_t{task.attempt})
      .Bind(int64_t{task.failures})
      .Bind(task.next_attempt)
      .Bind(task.waiting_since)
      .Bind(static_cast<int64_t>(task.error.code()))
      .Bind(reason)
      .Bind(field)
      .Bind(int64_t{ErrnoOf(task.error)})
      .Bind(Blob{task.error.message()})
      .Bind(task.run_id)
      .Bind(current)
      .Bind(carried)
      .Bind(int64_t{task.crashes})
      .Bind(task.node_started);
  return Finish(std::move(put));
}

absl::Status SqliteStore::Apply(const JobChange& change) {
  ASSIGN_OR_RETURN(const uint64_t sequence, SequenceOf(change.job.id));
  const Job& job = change.job;
  const std::string totals = ToJson(job.totals);
  ASSIGN_OR_RETURN(
      Statement update,
      Statement::Make(db_,
                      "UPDATE jobs SET state = ?, wanted = ?, started = ?, ended = ?, totals = ?, "
                      "revision = ?, tasks_made = ? WHERE sequence = ?"));
  update.Bind(JobStateName(job.state))
      .Bind(WantedName(job.wanted))
      .Bind(job.started)
      .Bind(job.ended)
      .Bind(totals)
      .Bind(static_cast<int64_t>(job.revision))
      .Bind(int64_t{job.tasks_made})
      .Bind(static_cast<int64_t>(sequence));
  RETURN_IF_ERROR(Finish(std::move(update)));
  for (const Task& task : change.put) RETURN_IF_ERROR(Put(sequence, task));
  for (const auto& [number, value] : change.results) {
    ASSIGN_OR_RETURN(
        Statement insert,
        Statement::Make(db_, "INSERT OR REPLACE INTO results (job, number, value) VALUES (?, ?, ?)"));
    insert.Bind(static_cast<int64_t>(sequence)).Bind(int64_t{number}).Bind(Blob{value});
    RETURN_IF_ERROR(Finish(std::move(insert)));
  }
  for (uint32_t number : change.removed) {
    ASSIGN_OR_RETURN(Statement remove,
                     Statement::Make(db_, "DELETE FROM tasks WHERE job = ? AND number = ?"));
    remove.Bind(static_cast<int64_t>(sequence)).Bind(int64_t{number});
    RETURN_IF_ERROR(Finish(std::move(remove)));
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Write(const std::vector<JobChange>& changes) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  std::vector<End> ends;
  for (const JobChange& change : changes) {
    RETURN_IF_ERROR(Apply(change));
    if (!Ended(change.job.state)) continue;
    ASSIGN_OR_RETURN(Statement statement,
                     Statement::Make(db_, absl::StrCat("SELECT ", kEndColumns, " FROM jobs WHERE id = ?")));
    statement.Bind(change.job.id);
    ASSIGN_OR_RETURN(std::vector<End> end, ReadEnds(std::move(statement)));
    ends.insert(ends.end(), end.begin(), end.end());
  }
  RETURN_IF_ERROR(transaction->Commit());
  size_t just_ended = 0;
  for (const End& end : ends) just_ended += ended_.Add(end.job, end.bytes) ? 1 : 0;
  const std::vector<uint64_t> surplus = ended_.Surplus(just_ended);
  if (surplus.empty()) return absl::OkStatus();
  if (absl::Status status = Remove(surplus); !status.ok()) {
    // The next write tries again.
    Log(LogLevel::kWarning, "old jobs not deleted", {{"error", status}});
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Remove(const std::vector<uint64_t>& sequences) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  for (uint64_t sequence : sequences) {
    ASSIGN_OR_RETURN(Statement remove, Statement::Make(db_, "DELETE FROM jobs WHERE sequence = ?"));
    remove.Bind(static_cast<int64_t>(sequence));
    RETURN_IF_ERROR(Finish(std::move(remove)));
  }
  RETURN_IF_ERROR(transaction->Commit());
  for (uint64_t sequence : sequences) ended_.Remove(sequence);
  return absl::OkStatus();
}

absl::Status SqliteStore::Delete(absl::string_view id) {
  ASSIGN_OR_RETURN(const uint64_t sequence, SequenceOf(id));
  return Remove({sequence});
}

absl::Status SqliteStore::PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) {
  RETURN_IF_ERROR(CheckRecord(kind, name, value));
  ASSIGN_OR_RETURN(
      Statement put,
      Statement::Make(db_, "INSERT OR REPLACE INTO records (kind, name, value) VALUES (?, ?, ?)"));
  put.Bind(kind).Bind(name).Bind(Blob{value});
  return Finish(std::move(put));
}

absl::Status SqliteStore::DeleteRecord(absl::string_view kind, absl::string_view name) {
  ASSIGN_OR_RETURN(Statement remove, Statement::Make(db_, "DELETE FROM records WHERE kind = ? AND name = ?"));
  remove.Bind(kind).Bind(name);
  return Finish(std::move(remove));
}

absl::StatusOr<std::map<std::string, std::string>> SqliteStore::LoadRecords(absl::string_view kind) {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, "SELECT name, value FROM records WHERE kind = ?"));
  statement.Bind(kind);
  std::map<std::string, std::string> records;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return records;
    records[statement.Text(0)] = statement.Text(1);
  }
}

absl::StatusOr<std::vector<std::string>> SqliteStore::RecordKinds() {
  ASSIGN_OR_RETURN(Statement statement,
                   Statement::Make(db_, "SELECT DISTINCT kind FROM records ORDER BY kind"));
  std::vector<std::string> kinds;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return kinds;
    kinds.push_back(statement.Text(0));
  }
}

absl::StatusOr<JobStore::Counters> SqliteStore::ReadCounters() {
  ASSIGN_OR_RETURN(const int64_t epoch, ReadInt(db_, "SELECT epoch FROM terms"));
  ASSIGN_OR_RETURN(const int64_t sequence,
                   ReadInt(db_, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'jobs'"));
  ASSIGN_OR_RETURN(const int64_t incomplete, ReadInt(db_, "SELECT incomplete FROM terms"));
  return Counters{static_cast<uint64_t>(epoch), static_cast<uint64_t>(sequence), incomplete != 0};
}

absl::Status SqliteStore::RestoreCounters(const Counters& counters) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  RETURN_IF_ERROR(Run(db_, absl::StrCat("UPDATE terms SET epoch = ", counters.epoch,
                                        ", incomplete = ", counters.incomplete ? 1 : 0)));
  RETURN_IF_ERROR(Run(db_, "DELETE FROM sqlite_sequence WHERE name = 'jobs'"));
  RETURN_IF_ERROR(Run(
      db_, absl::StrCat("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ", counters.sequence, ")")));
  return transaction->Commit();
}

absl::Status SqliteStore::Restore(const JobRecord& record) {
  ASSIGN_OR_RETURN(std::unique_ptr<Transaction> transaction, Transaction::Begin(db_));
  ASSIGN_OR_RETURN(Statement taken, Statement::Make(db_, "SELECT 1 FROM jobs WHERE id = ? OR sequence = ?"));
  taken.Bind(record.job.id).Bind(static_cast<int64_t>(record.job.sequence));
  ASSIGN_OR_RETURN(const bool row, taken.Step());
  if (row) return JobExists(record.job.id);
  RETURN_IF_ERROR(Insert(record).status());
  RETURN_IF_ERROR(transaction->Commit());
  if (Ended(record.job.state)) ended_.Add(record.job, BytesOf(record));
  return absl::OkStatus();
}

absl::StatusOr<Fd> Lock(const std::string& path) {
  Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoError(errno, absl::StrCat("open ", path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoError(errno, absl::StrCat("lock ", path));
    return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_LOCKED",
                     absl::StrCat("another process holds ", path,
                                  "; one store serves one controller: stop the other or use another file"));
  }
  return lock;
}

absl::StatusOr<std::unique_ptr<JobStore>> Open(const std::string& path, const EndedLimits& limits,
                                               bool read_only) {
  ASSIGN_OR_RETURN(Fd lock, Lock(absl::StrCat(path, ".lock")));
  sqlite3* db = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE | (read_only ? 0 : SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  auto store = std::make_unique<SqliteStore>(std::move(lock), db, limits);
  if (code != SQLITE_OK) return SqliteError(db, code);
  RETURN_IF_ERROR(store->Prepare(read_only));
  return std::unique_ptr<JobStore>(std::move(store));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStore(const std::string& path,
                                                          const EndedLimits& limits) {
  return Open(path, limits, /*read_only=*/false);
}

absl::StatusOr<std::unique_ptr<JobStore>> OpenSqliteStoreToRead(const std::string& path) {
  // Looked at before its lock is made.
  if (::access(path.c_str(), F_OK) != 0) {
    return MakeError(absl::StatusCode::kNotFound, "STORE_NOT_FOUND",
                     absl::StrCat("there is no store at ", path, "; is --store the right one?"));
  }
  return Open(path, EndedLimits(), /*read_only=*/true);
}

}  // namespace cowherd
