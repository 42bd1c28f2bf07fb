#ifndef COWHERD_SERVER_JOBS_SCHEMA_H_
#define COWHERD_SERVER_JOBS_SCHEMA_H_

namespace cowherd {

// Step n takes a store from schema n to n + 1. A step that was released never changes; new ones are added at
// the end.
inline constexpr const char* kSchemaSteps[] = {
    // 1. Times are microseconds since 1970, NULL where not set. Paths are joined by NUL. Totals are JSON.
    R"sql(
CREATE TABLE terms (only INTEGER PRIMARY KEY CHECK (only = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO terms VALUES (1, 0);

CREATE TABLE jobs (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  request_id TEXT NOT NULL,
  spec BLOB NOT NULL,
  state TEXT NOT NULL,
  wanted TEXT NOT NULL,
  created INTEGER,
  started INTEGER,
  ended INTEGER,
  totals TEXT NOT NULL,
  revision INTEGER NOT NULL,
  tasks_made INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_by_request ON jobs (request_id) WHERE request_id <> '';
CREATE INDEX jobs_by_state ON jobs (state, sequence);

CREATE TABLE tasks (
  job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
  number INTEGER NOT NULL,
  node TEXT NOT NULL,
  root TEXT NOT NULL,
  paths BLOB NOT NULL,
  expanded INTEGER NOT NULL,
  state TEXT NOT NULL,
  open INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  next_attempt INTEGER,
  waiting_since INTEGER,
  error_code INTEGER NOT NULL,
  error_reason TEXT NOT NULL,
  error_field TEXT NOT NULL,
  error_errno INTEGER NOT NULL,
  error_message BLOB NOT NULL,
  run_id TEXT NOT NULL,
  current TEXT NOT NULL,
  carried TEXT NOT NULL,
  PRIMARY KEY (job, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE results (
  job INTEGER NOT NULL,
  number INTEGER NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (job, number),
  FOREIGN KEY (job, number) REFERENCES tasks ON DELETE CASCADE
) STRICT;
)sql",
    // 2. What belongs to no job.
    R"sql(
CREATE TABLE records (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT;
)sql",
    // 3. Tasks that bring their node down.
    R"sql(
ALTER TABLE tasks ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN node_started INTEGER;
)sql",
    // 4. A restore that has not come to its end.
    R"sql(
ALTER TABLE terms ADD COLUMN incomplete INTEGER NOT NULL DEFAULT 0;
)sql",
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_SCHEMA_H_
