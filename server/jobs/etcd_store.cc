#include "server/jobs/etcd_store.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "server/base/boot_clock.h"
#include "server/base/failpoint.h"
#include "server/base/log.h"
#include "server/base/status.h"
#include "server/etcd/fenced_writer.h"
#include "server/jobs/ended_jobs.h"
#include "server/jobs/etcd_ops.h"
#include "server/jobs/values.h"

namespace cowherd {
namespace {

namespace pb = etcdserverpb;

// Of the keys and values below. A step that changes them raises it.
constexpr uint64_t kVersion = 1;
// Paths beyond lie apart from their task.
constexpr size_t kPathBytesInTask = size_t{64} << 10;
// One reading transaction takes so many ranges, and so many tasks when several jobs are read at once.
constexpr size_t kMaxRanges = 100;
constexpr uint64_t kMaxTasksAtOnce = 20'000;
constexpr int64_t kJobsPage = 500;
constexpr int64_t kRecordsPage = 100;
// A range that is read in pages begins anew when etcd compacts under it.
constexpr int kReadTries = 3;
// While a large write is being made, who does not lead looks so often, and for so long.
constexpr absl::Duration kAgain = absl::Milliseconds(50);
constexpr absl::Duration kPatience = absl::Seconds(2);

using KeyValues = google::protobuf::RepeatedPtrField<pb::KeyValue>;

struct Entry {
  Job job;
  uint64_t spec_bytes = 0;
  // Of the spec and all results.
  uint64_t bytes = 0;
};

// Of results, by the number of their task.
using Sizes = std::map<uint32_t, uint64_t>;

absl::StatusOr<Entry> EntryOf(const pb::KeyValue& kv) {
  stored::JobValue value;
  if (!value.ParseFromString(kv.value())) return StoreCorrupt(kv.key());
  Entry entry;
  ASSIGN_OR_RETURN(entry.job, FromValue(value));
  entry.spec_bytes = value.spec_bytes();
  entry.bytes = value.bytes();
  return entry;
}

std::string ValueOf(const Entry& entry) {
  stored::JobValue value = ToValue(entry.job);
  value.set_spec_bytes(entry.spec_bytes);
  value.set_bytes(entry.bytes);
  return value.SerializeAsString();
}

absl::StatusOr<uint64_t> NumberOf(const pb::KeyValue& kv) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(kv.value(), &number)) return StoreCorrupt(kv.key());
  return number;
}

std::string Joined(const KeyValues& pieces) {
  std::string whole;
  for (const pb::KeyValue& piece : pieces) whole += piece.value();
  return whole;
}

// Values in pieces, by the number that follows `prefix` in their keys.
absl::StatusOr<std::map<uint32_t, std::string>> ByNumber(const KeyValues& pieces, absl::string_view prefix) {
  std::map<uint32_t, std::string> values;
  for (const pb::KeyValue& piece : pieces) {
    absl::string_view rest = piece.key();
    uint32_t number = 0;
    if (!absl::ConsumePrefix(&rest, prefix) ||
        !absl::SimpleHexAtoi(rest.substr(0, rest.find('/')), &number)) {
      return StoreCorrupt(piece.key());
    }
    values[number] += piece.value();
  }
  return values;
}

class EtcdStore final : public JobStore {
 public:
  EtcdStore(EtcdClient& client, const Leadership* leadership, EtcdStoreOptions options)
      : client_(client), options_(std::move(options)) {
    if (leadership != nullptr) writer_.emplace(client, *leadership, Key("slot/"));
  }

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
  // What the leader, the only one that writes, remembers of all jobs.
  struct Known {
    explicit Known(const EndedLimits& limits) : ended(limits) {}

    uint64_t epoch = 0;
    uint64_t sequence = 0;
    bool incomplete = false;
    std::map<uint64_t, Entry> jobs;
    std::map<std::string, uint64_t, std::less<>> by_id;
    std::map<std::string, uint64_t, std::less<>> by_request;
    EndedJobs ended;
    // Of jobs that have not ended and have results, once those were written or read.
    std::map<uint64_t, Sizes> result_sizes;

    // In the order in which jobs end. True: this one has just ended.
    bool Set(Entry entry);
    void Forget(uint64_t sequence);
  };

  std::string Key(absl::string_view rest) const { return absl::StrCat(options_.prefix, rest); }
  std::string JobKey(uint64_t sequence) const { return Key(absl::StrCat("job/", SequenceKey(sequence))); }
  std::string IdKey(absl::string_view id) const { return Key(absl::StrCat("id/", id)); }
  // Everything of one job below them.
  std::string Below(absl::string_view what, uint64_t sequence) const {
    return Key(absl::StrCat(what, "/", SequenceKey(sequence), "/"));
  }
  std::string Below(absl::string_view what, uint64_t sequence, uint32_t number) const {
    return absl::StrCat(Below(what, sequence), NumberKey(number), "/");
  }
  std::string RecordKey(absl::string_view kind, absl::string_view name) const {
    return Key(absl::StrCat("record/", kind, "/", name));
  }

  // Of the leader: what it knows, read if need be.
  absl::StatusOr<Known*> Load();
  absl::Status CheckVersion();
  // 0: not there.
  absl::StatusOr<uint64_t> ReadNumber(const char* key);
  absl::StatusOr<std::vector<pb::KeyValue>> ReadAll(const std::string& from, const std::string& to,
                                                    int64_t page);
  // 0: there is none.
  absl::StatusOr<uint64_t> SequenceOf(absl::string_view id);
  // At one revision.
  absl::StatusOr<std::vector<KeyValues>> ReadPrefixes(const std::vector<std::string>& prefixes);
  // Of one job, so that no write is there in part; unless this leader itself could not finish it.
  absl::StatusOr<std::vector<KeyValues>> ReadWhole(std::vector<std::string> prefixes);
  absl::StatusOr<std::vector<Task>> TasksOf(const KeyValues& values, const KeyValues& paths,
                                            uint64_t sequence);

  // Those of the job that are stored, read if need be.
  absl::StatusOr<Sizes*> ResultSizes(Known& known, const Entry& entry);
  void PutTask(EtcdOps& ops, uint64_t sequence, const Task& task) const;
  // With what `ops` says already.
  absl::Status Insert(Known& known, const JobRecord& record, EtcdOps ops);
  void DeleteJob(EtcdOps& ops, const Entry& entry) const;
  // On an error after which it may have been carried out, or may be yet, known_ is gone.
  absl::Status Commit(EtcdOps ops);
  // `committed`: it will be carried out, if not now.
  absl::Status CommitInJournal(const std::vector<FencedWriter::Batch>& batches, bool& committed);
  absl::Status FinishJournal();
  void Trim(size_t just_ended);

  EtcdClient& client_;
  const EtcdStoreOptions options_;
  // None: this store only reads.
  absl::optional<FencedWriter> writer_;
  absl::optional<Known> known_;
  // Jobs whose Create failed and may have been carried out: nobody was told of them.
  std::vector<std::string> refused_;
  bool version_checked_ = false;
};

bool EtcdStore::Known::Set(Entry entry) {
  bool just_ended = false;
  const uint64_t at = entry.job.sequence;
  by_id[entry.job.id] = at;
  if (!entry.job.request_id.empty()) by_request[entry.job.request_id] = at;
  if (Ended(entry.job.state)) {
    just_ended = ended.Add(entry.job, entry.bytes);
    result_sizes.erase(at);
  }
  jobs[at] = std::move(entry);
  return just_ended;
}

void EtcdStore::Known::Forget(uint64_t at) {
  const auto found = jobs.find(at);
  if (found == jobs.end()) return;
  by_id.erase(found->second.job.id);
  by_request.erase(found->second.job.request_id);
  ended.Remove(at);
  result_sizes.erase(at);
  jobs.erase(found);
}

absl::StatusOr<uint64_t> EtcdStore::ReadNumber(const char* key) {
  pb::RangeRequest request;
  request.set_key(Key(key));
  ASSIGN_OR_RETURN(const pb::RangeResponse response, client_.Range(request));
  if (response.kvs_size() == 0) return 0;
  return NumberOf(response.kvs(0));
}

absl::Status EtcdStore::CheckVersion() {
  if (version_checked_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t version, ReadNumber("version"));
  if (version > kVersion) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_NEWER",
                     absl::StrCat("the store has schema ", version, ", this version of cowherd knows up to ",
                                  kVersion, "; run the version that wrote it, or a later one"));
  }
  version_checked_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<pb::KeyValue>> EtcdStore::ReadAll(const std::string& from, const std::string& to,
                                                             int64_t page) {
  for (int tries = 1;; ++tries) {
    std::vector<pb::KeyValue> all;
    pb::RangeRequest request;
    request.set_key(from);
    request.set_range_end(to);
    request.set_limit(page);
    absl::Status status;
    for (bool more = true; more;) {
      absl::StatusOr<pb::RangeResponse> response = client_.Range(request);
      status = response.status();
      if (!response.ok()) break;
      request.set_revision(request.revision() != 0 ? request.revision() : response->header().revision());
      for (pb::KeyValue& kv : *response->mutable_kvs()) all.push_back(std::move(kv));
      more = response->more();
      if (more) request.set_key(absl::StrCat(all.back().key(), absl::string_view("\0", 1)));
    }
    if (status.ok()) return all;
    if (!absl::IsOutOfRange(status) || tries == kReadTries) return status;
  }
}

absl::StatusOr<EtcdStore::Known*> EtcdStore::Load() {
  if (!writer_) return NotLeader("");
  if (known_) return &*known_;
  RETURN_IF_ERROR(CheckVersion());
  RETURN_IF_ERROR(writer_->Settle());
  RETURN_IF_ERROR(FinishJournal());
  Known known(options_.limits);
  ASSIGN_OR_RETURN(known.epoch, ReadNumber("epoch"));
  ASSIGN_OR_RETURN(known.sequence, ReadNumber("sequence"));
  ASSIGN_OR_RETURN(known.incomplete, ReadNumber("incomplete"));
  const std::string jobs = Key("job/");
  ASSIGN_OR_RETURN(const std::vector<pb::KeyValue> headers, ReadAll(jobs, EndOfPrefix(jobs), kJobsPage));
  std::vector<Entry> entries;
  entries.reserve(headers.size());
  for (const pb::KeyValue& kv : headers) {
    ASSIGN_OR_RETURN(Entry entry, EntryOf(kv));
    entries.push_back(std::move(entry));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.job.ended < b.job.ended; });
  for (Entry& entry : entries) known.Set(std::move(entry));
  for (const std::string& id : refused_) {
    const auto found = known.by_id.find(id);
    if (found == known.by_id.end()) continue;
    const uint64_t sequence = found->second;
    EtcdOps ops;
    DeleteJob(ops, known.jobs.at(sequence));
    RETURN_IF_ERROR(Commit(std::move(ops)));
    known.Forget(sequence);
  }
  refused_.clear();
  known_ = std::move(known);
  return &*known_;
}

absl::Status EtcdStore::FinishJournal() {
  const std::string journal = Key("journal/");
  ASSIGN_OR_RETURN(const std::vector<pb::KeyValue> kept, ReadAll(journal, EndOfPrefix(journal), /*page=*/8));
  if (kept.empty()) return absl::OkStatus();
  // "commit" comes after the numbers.
  std::vector<FencedWriter::Batch> batches;
  if (kept.back().key() == Key("journal/commit")) {
    ASSIGN_OR_RETURN(const uint64_t count, NumberOf(kept.back()));
    if (count >= kept.size()) return StoreCorrupt("a part of the journal is missing");
    for (size_t i = 0; i < count; ++i) {
      pb::TxnRequest batch;
      if (!batch.ParseFromString(kept[i].value())) return StoreCorrupt(kept[i].key());
      batches.emplace_back(batch.success().begin(), batch.success().end());
    }
  }
  RETURN_IF_ERROR(writer_->Write(batches));
  EtcdOps clear;
  clear.DeletePrefix(journal);
  return writer_->Write(std::move(clear).Pack());
}

absl::Status EtcdStore::Commit(EtcdOps ops) {
  const std::vector<FencedWriter::Batch> batches = std::move(ops).Pack();
  bool committed = false;
  absl::Status status = batches.size() <= 1 ? writer_->Write(batches) : CommitInJournal(batches, committed);
  // What comes next begins with what is there.
  if (!status.ok() && (committed || writer_->InDoubt())) known_.reset();
  return status;
}

absl::Status EtcdStore::CommitInJournal(const std::vector<FencedWriter::Batch>& batches, bool& committed) {
  EtcdOps journal;
  for (size_t i = 0; i < batches.size(); ++i) {
    pb::TxnRequest batch;
    for (const pb::RequestOp& op : batches[i]) *batch.add_success() = op;
    journal.Put(Key(absl::StrCat("journal/", NumberKey(static_cast<uint32_t>(i)))),
                batch.SerializeAsString());
  }
  RETURN_IF_ERROR(writer_->Write(std::move(journal).Pack()));
  Crashpoint("etcd.journal.written");
  EtcdOps commit;
  commit.Put(Key("journal/commit"), absl::StrCat(batches.size()));
  RETURN_IF_ERROR(writer_->Write(std::move(commit).Pack()));
  committed = true;
  Crashpoint("etcd.journal.committed");
  RETURN_IF_ERROR(writer_->Write(batches));
  Crashpoint("etcd.journal.applied");
  EtcdOps clear;
  clear.DeletePrefix(Key("journal/"));
  return writer_->Write(std::move(clear).Pack());
}

absl::StatusOr<uint64_t> EtcdStore::RaiseEpoch(uint64_t at_least) {
  ASSIGN_OR_RETURN(Known * known, Load());
  if (known->incomplete) return StoreIncomplete();
  const uint64_t epoch = std::max(known->epoch + 1, at_least);
  EtcdOps ops;
  ops.Put(Key("epoch"), absl::StrCat(epoch));
  ops.Put(Key("version"), absl::StrCat(kVersion));
  RETURN_IF_ERROR(Commit(std::move(ops)));
  known->epoch = epoch;
  return epoch;
}

void EtcdStore::PutTask(EtcdOps& ops, uint64_t sequence, const Task& task) const {
  stored::TaskValue value = ToValue(task);
  size_t bytes = 0;
  for (const std::string& path : task.paths) bytes += path.size();
  if (bytes > kPathBytesInTask) {
    stored::PathsValue paths;
    paths.mutable_paths()->Swap(value.mutable_paths());
    value.set_paths_apart(true);
    ops.PutPieces(Below("paths", sequence, task.number), paths.SerializeAsString());
  }
  ops.Put(absl::StrCat(Below("task", sequence), NumberKey(task.number)), value.SerializeAsString());
}

absl::StatusOr<JobStore::Created> EtcdStore::Create(JobRecord record) {
  absl::StatusOr<JobRecord> before = FindRequest(record.job.request_id, record.spec);
  if (before.ok()) return Created{*std::move(before), true};
  if (!absl::IsNotFound(before.status())) return before.status();
  ASSIGN_OR_RETURN(Known * known, Load());
  if (known->by_id.count(record.job.id) > 0) return JobExists(record.job.id);

  record.job.sequence = known->sequence + 1;
  EtcdOps ops;
  ops.Put(Key("sequence"), absl::StrCat(record.job.sequence));
  if (absl::Status status = Insert(*known, record, std::move(ops)); !status.ok()) {
    if (!known_) refused_.push_back(record.job.id);
    return status;
  }
  known->sequence = record.job.sequence;
  return Created{std::move(record), false};
}

absl::Status EtcdStore::Insert(Known& known, const JobRecord& record, EtcdOps ops) {
  const uint64_t sequence = record.job.sequence;
  Entry entry;
  entry.job = record.job;
  entry.spec_bytes = record.spec.size();
  entry.bytes = BytesOf(record);
  for (const Task& task : record.tasks) PutTask(ops, sequence, task);
  for (const auto& [number, value] : record.results) {
    ops.PutPieces(Below("result", sequence, number), value);
  }
  ops.PutPieces(Below("spec", sequence), record.spec);
  ops.Put(IdKey(record.job.id), absl::StrCat(sequence));
  ops.Put(JobKey(sequence), ValueOf(entry));
  RETURN_IF_ERROR(Commit(std::move(ops)));
  known.Set(std::move(entry));
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> EtcdStore::FindRequest(absl::string_view request_id, absl::string_view spec) {
  ASSIGN_OR_RETURN(const Known* known, Load());
  if (request_id.empty()) return RequestUnknown();
  const auto found = known->by_request.find(request_id);
  if (found == known->by_request.end()) return RequestUnknown();
  ASSIGN_OR_RETURN(JobRecord record, Get(known->jobs.at(found->second).job.id));
  if (record.spec != spec) return RequestReused(request_id);
  return record;
}

absl::StatusOr<uint64_t> EtcdStore::SequenceOf(absl::string_view id) {
  if (known_) {
    const auto found = known_->by_id.find(id);
    return found == known_->by_id.end() ? 0 : found->second;
  }
  RETURN_IF_ERROR(CheckVersion());
  pb::RangeRequest request;
  request.set_key(IdKey(id));
  ASSIGN_OR_RETURN(const pb::RangeResponse response, client_.Range(request));
  if (response.kvs_size() == 0) return 0;
  return NumberOf(response.kvs(0));
}

absl::StatusOr<std::vector<KeyValues>> EtcdStore::ReadPrefixes(const std::vector<std::string>& prefixes) {
  pb::TxnRequest request;
  for (const std::string& prefix : prefixes) {
    pb::RangeRequest& range = *request.add_success()->mutable_request_range();
    range.set_key(prefix);
    range.set_range_end(EndOfPrefix(prefix));
  }
  ASSIGN_OR_RETURN(pb::TxnResponse response, client_.RepeatableTxn(request));
  if (response.responses_size() != static_cast<int>(prefixes.size())) {
    return absl::InternalError("etcd: a transaction without its reads");
  }
  std::vector<KeyValues> values;
  values.reserve(prefixes.size());
  for (pb::ResponseOp& op : *response.mutable_responses()) {
    values.push_back(std::move(*op.mutable_response_range()->mutable_kvs()));
  }
  return values;
}

absl::StatusOr<std::vector<KeyValues>> EtcdStore::ReadWhole(std::vector<std::string> prefixes) {
  if (writer_) return ReadPrefixes(prefixes);
  prefixes.push_back(Key("journal/commit"));
  const absl::Duration end = SinceBoot() + kPatience;
  for (;;) {
    ASSIGN_OR_RETURN(std::vector<KeyValues> values, ReadPrefixes(prefixes));
    if (values.back().empty()) return values;
    if (SinceBoot() >= end) {
      return MakeError(absl::StatusCode::kUnavailable, "STORE_BUSY",
                       "a large write to the store has not come to its end, which the controller that leads "
                       "brings about; repeat");
    }
    absl::SleepFor(kAgain);
  }
}

absl::StatusOr<std::vector<Task>> EtcdStore::TasksOf(const KeyValues& values, const KeyValues& paths,
                                                     uint64_t sequence) {
  ASSIGN_OR_RETURN(const auto apart, ByNumber(paths, Below("paths", sequence)));
  std::vector<Task> tasks;
  tasks.reserve(static_cast<size_t>(values.size()));
  for (const pb::KeyValue& kv : values) {
    stored::TaskValue value;
    if (!value.ParseFromString(kv.value())) return StoreCorrupt(kv.key());
    if (value.paths_apart()) {
      const auto found = apart.find(value.number());
      stored::PathsValue whole;
      if (found == apart.end() || !whole.ParseFromString(found->second)) return StoreCorrupt(kv.key());
      value.mutable_paths()->Swap(whole.mutable_paths());
    }
    ASSIGN_OR_RETURN(Task task, FromValue(value));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

absl::StatusOr<JobRecord> EtcdStore::Get(absl::string_view id) {
  ASSIGN_OR_RETURN(const uint64_t sequence, SequenceOf(id));
  if (sequence == 0) return JobUnknown(id);
  // A job's key is a prefix of no other's.
  ASSIGN_OR_RETURN(const std::vector<KeyValues> values,
                   ReadWhole({JobKey(sequence), Below("task", sequence), Below("paths", sequence),
                              Below("spec", sequence), Below("result", sequence)}));
  // Deleted in between.
  if (values[0].empty()) return JobUnknown(id);
  JobRecord record;
  ASSIGN_OR_RETURN(Entry entry, EntryOf(values[0][0]));
  record.job = std::move(entry.job);
  ASSIGN_OR_RETURN(record.tasks, TasksOf(values[1], values[2], sequence));
  record.spec = Joined(values[3]);
  ASSIGN_OR_RETURN(record.results, ByNumber(values[4], Below("result", sequence)));
  return record;
}

absl::StatusOr<std::vector<JobRecord>> EtcdStore::List(const std::vector<JobState>& states, uint64_t before,
                                                       size_t limit) {
  RETURN_IF_ERROR(CheckVersion());
  const std::string jobs = Key("job/");
  pb::RangeRequest request;
  request.set_key(jobs);
  request.set_range_end(before == 0 ? EndOfPrefix(jobs) : JobKey(before));
  request.set_sort_order(pb::RangeRequest::DESCEND);
  request.set_limit(kJobsPage);
  std::vector<JobRecord> records;
  std::vector<uint64_t> spec_bytes;
  size_t bytes = 0;
  for (bool more = true; more && records.size() < limit;) {
    ASSIGN_OR_RETURN(const pb::RangeResponse page, client_.Range(request));
    more = page.more() && page.kvs_size() > 0;
    if (more) request.set_range_end(page.kvs(page.kvs_size() - 1).key());
    for (const pb::KeyValue& kv : page.kvs()) {
      ASSIGN_OR_RETURN(Entry entry, EntryOf(kv));
      if (!states.empty() && std::find(states.begin(), states.end(), entry.job.state) == states.end())
        continue;
      bytes += entry.spec_bytes;
      if (records.size() == limit || (!records.empty() && bytes > kListBytes)) {
        more = false;
        break;
      }
      records.push_back({std::move(entry.job), "", {}, {}});
      spec_bytes.push_back(entry.spec_bytes);
    }
  }
  for (size_t first = 0; first < records.size(); first += kMaxRanges) {
    const size_t end = std::min(first + kMaxRanges, records.size());
    std::vector<std::string> prefixes;
    for (size_t i = first; i < end; ++i) prefixes.push_back(Below("spec", records[i].job.sequence));
    const auto read = [&](const std::vector<KeyValues>& specs) {
      bool whole = true;
      for (size_t i = first; i < end; ++i) {
        records[i].spec = Joined(specs[i - first]);
        whole = whole && records[i].spec.size() == spec_bytes[i];
      }
      return whole;
    };
    ASSIGN_OR_RETURN(const std::vector<KeyValues> specs, ReadPrefixes(prefixes));
    if (read(specs)) continue;
    // One is being made, or deleted.
    ASSIGN_OR_RETURN(const std::vector<KeyValues> again, ReadWhole(std::move(prefixes)));
    read(again);
  }
  // Those that are gone by now.
  records.erase(std::remove_if(records.begin(), records.end(),
                               [](const JobRecord& record) { return record.spec.empty(); }),
                records.end());
  return records;
}

absl::StatusOr<std::vector<JobRecord>> EtcdStore::LoadActive() {
  ASSIGN_OR_RETURN(const Known* known, Load());
  std::vector<JobRecord> records;
  std::vector<std::string> prefixes;
  uint64_t tasks = 0;
  const auto read = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<KeyValues> values, ReadPrefixes(prefixes));
    const size_t first = records.size() - prefixes.size() / 3;
    for (size_t i = 0; i * 3 < prefixes.size(); ++i) {
      JobRecord& record = records[first + i];
      ASSIGN_OR_RETURN(record.tasks, TasksOf(values[i * 3], values[i * 3 + 1], record.job.sequence));
      record.spec = Joined(values[i * 3 + 2]);
    }
    prefixes.clear();
    tasks = 0;
    return absl::OkStatus();
  };
  for (const auto& [sequence, entry] : known->jobs) {
    if (Ended(entry.job.state)) continue;
    records.push_back({entry.job, "", {}, {}});
    for (const char* what : {"task", "paths", "spec"}) prefixes.push_back(Below(what, sequence));
    tasks += entry.job.tasks_made;
    if (prefixes.size() + 3 > kMaxRanges || tasks >= kMaxTasksAtOnce) RETURN_IF_ERROR(read());
  }
  if (!prefixes.empty()) RETURN_IF_ERROR(read());
  return records;
}

absl::StatusOr<std::map<JobState, uint64_t>> EtcdStore::CountByState() {
  ASSIGN_OR_RETURN(const Known* known, Load());
  std::map<JobState, uint64_t> counts;
  for (const auto& [sequence, entry] : known->jobs) ++counts[entry.job.state];
  return counts;
}

absl::StatusOr<std::map<uint32_t, std::string>> EtcdStore::Results(absl::string_view id) {
  ASSIGN_OR_RETURN(const uint64_t sequence, SequenceOf(id));
  if (sequence == 0) return std::map<uint32_t, std::string>();
  const std::string prefix = Below("result", sequence);
  ASSIGN_OR_RETURN(const std::vector<KeyValues> values, ReadWhole({prefix}));
  return ByNumber(values[0], prefix);
}

absl::StatusOr<Sizes*> EtcdStore::ResultSizes(Known& known, const Entry& entry) {
  const uint64_t sequence = entry.job.sequence;
  const auto found = known.result_sizes.find(sequence);
  if (found != known.result_sizes.end()) return &found->second;
  Sizes sizes;
  if (entry.bytes > entry.spec_bytes) {
    const std::string prefix = Below("result", sequence);
    ASSIGN_OR_RETURN(const std::vector<pb::KeyValue> kept,
                     ReadAll(prefix, EndOfPrefix(prefix), kRecordsPage));
    ASSIGN_OR_RETURN(const auto results, ByNumber({kept.begin(), kept.end()}, prefix));
    for (const auto& [number, value] : results) sizes[number] = value.size();
  }
  return &(known.result_sizes[sequence] = std::move(sizes));
}

absl::Status EtcdStore::Write(const std::vector<JobChange>& changes) {
  ASSIGN_OR_RETURN(Known * known, Load());
  std::map<uint64_t, Entry> changed;
  // Of the results that this writes; 0: of one that it takes away.
  std::map<uint64_t, Sizes> resized;
  EtcdOps ops;
  for (const JobChange& change : changes) {
    const auto found = known->by_id.find(change.job.id);
    if (found == known->by_id.end()) return JobUnknown(change.job.id);
    const uint64_t sequence = found->second;
    Entry& entry = changed.emplace(sequence, known->jobs.at(sequence)).first->second;
    Job job = change.job;
    job.request_id = entry.job.request_id;
    job.sequence = sequence;
    job.created = entry.job.created;
    entry.job = std::move(job);
    for (const Task& task : change.put) PutTask(ops, sequence, task);
    const Sizes* before = nullptr;
    if (!change.results.empty() || !change.removed.empty()) {
      ASSIGN_OR_RETURN(before, ResultSizes(*known, known->jobs.at(sequence)));
    }
    const auto resize = [&](uint32_t number, uint64_t size) {
      const auto stored = before->find(number);
      uint64_t& now =
          resized[sequence].emplace(number, stored == before->end() ? 0 : stored->second).first->second;
      entry.bytes += size - now;
      now = size;
    };
    for (const auto& [number, value] : change.results) {
      ops.PutPieces(Below("result", sequence, number), value);
      resize(number, value.size());
    }
    for (uint32_t number : change.removed) {
      ops.Delete(absl::StrCat(Below("task", sequence), NumberKey(number)));
      ops.DeletePrefix(Below("result", sequence, number));
      ops.DeletePrefix(Below("paths", sequence, number));
      resize(number, 0);
    }
  }
  for (const auto& [sequence, entry] : changed) ops.Put(JobKey(sequence), ValueOf(entry));
  RETURN_IF_ERROR(Commit(std::move(ops)));
  for (const auto& [sequence, sizes] : resized) {
    for (const auto& [number, size] : sizes) known->result_sizes[sequence][number] = size;
  }
  size_t just_ended = 0;
  for (auto& [sequence, entry] : changed) just_ended += known->Set(std::move(entry)) ? 1 : 0;
  Trim(just_ended);
  return absl::OkStatus();
}

void EtcdStore::DeleteJob(EtcdOps& ops, const Entry& entry) const {
  const uint64_t sequence = entry.job.sequence;
  ops.Delete(JobKey(sequence));
  ops.Delete(IdKey(entry.job.id));
  for (const char* what : {"task", "paths", "spec", "result"}) ops.DeletePrefix(Below(what, sequence));
}

absl::Status EtcdStore::Delete(absl::string_view id) {
  ASSIGN_OR_RETURN(Known * known, Load());
  const auto found = known->by_id.find(id);
  if (found == known->by_id.end()) return JobUnknown(id);
  const uint64_t sequence = found->second;
  EtcdOps ops;
  DeleteJob(ops, known->jobs.at(sequence));
  RETURN_IF_ERROR(Commit(std::move(ops)));
  known->Forget(sequence);
  return absl::OkStatus();
}

void EtcdStore::Trim(size_t just_ended) {
  const std::vector<uint64_t> surplus = known_->ended.Surplus(just_ended);
  if (surplus.empty()) return;
  EtcdOps ops;
  for (uint64_t sequence : surplus) DeleteJob(ops, known_->jobs.at(sequence));
  if (absl::Status status = Commit(std::move(ops)); !status.ok()) {
    // The next write tries again.
    Log(LogLevel::kWarning, "old jobs not deleted", {{"error", status}});
    return;
  }
  for (uint64_t sequence : surplus) known_->Forget(sequence);
}

absl::Status EtcdStore::PutRecord(absl::string_view kind, absl::string_view name, absl::string_view value) {
  RETURN_IF_ERROR(CheckRecord(kind, name, value));
  RETURN_IF_ERROR(Load().status());
  EtcdOps ops;
  ops.Put(RecordKey(kind, name), std::string(value));
  return Commit(std::move(ops));
}

absl::Status EtcdStore::DeleteRecord(absl::string_view kind, absl::string_view name) {
  RETURN_IF_ERROR(Load().status());
  EtcdOps ops;
  ops.Delete(RecordKey(kind, name));
  return Commit(std::move(ops));
}

absl::StatusOr<std::map<std::string, std::string>> EtcdStore::LoadRecords(absl::string_view kind) {
  RETURN_IF_ERROR(CheckVersion());
  const std::string prefix = RecordKey(kind, "");
  ASSIGN_OR_RETURN(std::vector<pb::KeyValue> kept, ReadAll(prefix, EndOfPrefix(prefix), kRecordsPage));
  std::map<std::string, std::string> records;
  for (pb::KeyValue& kv : kept) records[kv.key().substr(prefix.size())] = std::move(*kv.mutable_value());
  return records;
}

absl::StatusOr<std::vector<std::string>> EtcdStore::RecordKinds() {
  RETURN_IF_ERROR(CheckVersion());
  const std::string prefix = Key("record/");
  std::vector<std::string> kinds;
  pb::RangeRequest request;
  request.set_key(prefix);
  request.set_range_end(EndOfPrefix(prefix));
  request.set_limit(1);
  request.set_keys_only(true);
  for (;;) {
    ASSIGN_OR_RETURN(const pb::RangeResponse response, client_.Range(request));
    if (response.kvs_size() == 0) return kinds;
    absl::string_view rest = response.kvs(0).key();
    rest.remove_prefix(prefix.size());
    kinds.emplace_back(rest.substr(0, rest.find('/')));
    // On with the next kind.
    request.set_key(EndOfPrefix(RecordKey(kinds.back(), "")));
  }
}

absl::StatusOr<JobStore::Counters> EtcdStore::ReadCounters() {
  RETURN_IF_ERROR(CheckVersion());
  Counters counters;
  ASSIGN_OR_RETURN(counters.epoch, ReadNumber("epoch"));
  ASSIGN_OR_RETURN(counters.sequence, ReadNumber("sequence"));
  ASSIGN_OR_RETURN(counters.incomplete, ReadNumber("incomplete"));
  return counters;
}

absl::Status EtcdStore::RestoreCounters(const Counters& counters) {
  ASSIGN_OR_RETURN(Known * known, Load());
  EtcdOps ops;
  ops.Put(Key("epoch"), absl::StrCat(counters.epoch));
  ops.Put(Key("sequence"), absl::StrCat(counters.sequence));
  ops.Put(Key("version"), absl::StrCat(kVersion));
  if (counters.incomplete) {
    ops.Put(Key("incomplete"), "1");
  } else {
    ops.Delete(Key("incomplete"));
  }
  RETURN_IF_ERROR(Commit(std::move(ops)));
  known->epoch = counters.epoch;
  known->sequence = counters.sequence;
  known->incomplete = counters.incomplete;
  return absl::OkStatus();
}

absl::Status EtcdStore::Restore(const JobRecord& record) {
  ASSIGN_OR_RETURN(Known * known, Load());
  if (known->by_id.count(record.job.id) > 0 || known->jobs.count(record.job.sequence) > 0) {
    return JobExists(record.job.id);
  }
  return Insert(*known, record, EtcdOps());
}

}  // namespace

std::unique_ptr<JobStore> MakeEtcdStore(EtcdClient& client, const Leadership* leadership,
                                        EtcdStoreOptions options) {
  return std::make_unique<EtcdStore>(client, leadership, std::move(options));
}

std::string EtcdLeaderKey(const std::string& prefix) { return absl::StrCat(prefix, "leader"); }

}  // namespace cowherd
