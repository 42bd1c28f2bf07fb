#include "server/jobs/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/fd.h"
#include "server/base/full_io.h"
#include "server/base/status.h"
#include "server/jobs/values.h"

namespace cowherd {
namespace {

constexpr absl::string_view kFamily = "cowherd backup ";
constexpr absl::string_view kHead = "cowherd backup 1\n";
constexpr size_t kLengthBytes = 4;
constexpr size_t kSumBytes = 8;
constexpr size_t kJobsPage = 100;
// protobuf takes no larger messages.
constexpr uint64_t kMaxItem = uint64_t{1} << 31;

template <size_t kBytes>
std::array<char, kBytes> LittleEndian(uint64_t value) {
  std::array<char, kBytes> bytes;
  for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

template <size_t kBytes>
uint64_t FromLittleEndian(const std::array<char, kBytes>& bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kBytes; ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

class Checksum {
 public:
  Checksum() : state_(XXH3_createState()) { XXH3_64bits_reset(state_.get()); }
  void Add(absl::string_view bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }
  uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  const std::unique_ptr<XXH3_state_t, Free> state_;
};

// Removes the file unless it was kept.
class NewFile {
 public:
  static absl::StatusOr<std::unique_ptr<NewFile>> Make(const std::string& path) {
    const std::string name = absl::StrCat(path, ".new");
    Fd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.valid()) return ErrnoError(errno, absl::StrCat("make ", name));
    return std::make_unique<NewFile>(path, name, std::move(fd));
  }
  NewFile(std::string path, std::string name, Fd fd)
      : path_(std::move(path)), name_(std::move(name)), fd_(std::move(fd)) {}
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!kept_) ::unlink(name_.c_str());
  }

  absl::Status Append(absl::string_view bytes) {
    RETURN_IF_ERROR(WriteFully(fd_.get(), bytes.data(), bytes.size(), size_));
    size_ += bytes.size();
    return absl::OkStatus();
  }

  absl::Status Keep() {
    if (::fsync(fd_.get()) != 0) return ErrnoError(errno, absl::StrCat("write ", name_));
    if (::rename(name_.c_str(), path_.c_str()) != 0) return ErrnoError(errno, absl::StrCat("make ", path_));
    kept_ = true;
    const size_t slash = path_.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    const Fd directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() || ::fsync(directory.get()) != 0)
      return ErrnoError(errno, absl::StrCat("sync ", parent));
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const std::string name_;
  const Fd fd_;
  uint64_t size_ = 0;
  bool kept_ = false;
};

class BackupWriter {
 public:
  explicit BackupWriter(NewFile& file) : file_(file) {}

  absl::Status Text(absl::string_view bytes) {
    sum_.Add(bytes);
    return file_.Append(bytes);
  }
  absl::Status Item(const stored::BackupItem& item) {
    std::string bytes;
    if (item.ByteSizeLong() >= kMaxItem || !item.SerializeToString(&bytes)) {
      return absl::ResourceExhaustedError("a job is too large for a backup");
    }
    const auto length = LittleEndian<kLengthBytes>(bytes.size());
    RETURN_IF_ERROR(Text({length.data(), length.size()}));
    return Text(bytes);
  }
  absl::Status Sum() {
    const auto sum = LittleEndian<kSumBytes>(sum_.value());
    return file_.Append({sum.data(), sum.size()});
  }

 private:
  NewFile& file_;
  Checksum sum_;
};

absl::Status Corrupt(const std::string& path, absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, "BACKUP_CORRUPT",
                   absl::StrCat(path, " is no whole backup of cowherd: ", what));
}

using ItemTaker = std::function<absl::Status(const stored::BackupItem&)>;

// Hands on the items, and checks the checksum after the last.
absl::Status ReadItems(const std::string& path, const ItemTaker& take) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError(errno, absl::StrCat("open ", path));
  struct stat facts {};
  if (::fstat(fd.get(), &facts) != 0) return ErrnoError(errno, absl::StrCat("look at ", path));
  const auto size = static_cast<uint64_t>(facts.st_size);
  uint64_t at = 0;
  const auto read = [&](char* bytes, size_t count) -> absl::Status {
    ASSIGN_OR_RETURN(const size_t got, ReadFully(fd.get(), bytes, count, at));
    at += got;
    return got == count ? absl::OkStatus() : Corrupt(path, "it ends early");
  };

  std::string head(kHead.size(), '\0');
  RETURN_IF_ERROR(read(&head[0], head.size()));
  if (!absl::StartsWith(head, kFamily)) return Corrupt(path, "it begins otherwise");
  if (head != kHead) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "BACKUP_NEWER",
        absl::StrCat(path, " was written by a later version of cowherd; restore it by that one"));
  }
  Checksum sum;
  sum.Add(head);
  while (at + kLengthBytes + kSumBytes <= size) {
    std::array<char, kLengthBytes> length;
    RETURN_IF_ERROR(read(length.data(), length.size()));
    const uint64_t bytes = FromLittleEndian(length);
    if (bytes >= kMaxItem || at + bytes + kSumBytes > size)
      return Corrupt(path, "an item is longer than the file");
    std::string text(bytes, '\0');
    RETURN_IF_ERROR(read(&text[0], text.size()));
    sum.Add({length.data(), length.size()});
    sum.Add(text);
    stored::BackupItem item;
    if (!item.ParseFromString(text)) return Corrupt(path, "an item cannot be read");
    RETURN_IF_ERROR(take(item));
  }
  std::array<char, kSumBytes> kept;
  RETURN_IF_ERROR(read(kept.data(), kept.size()));
  if (FromLittleEndian(kept) != sum.value() || at != size) return Corrupt(path, "its checksum differs");
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> FromBackup(const stored::JobBackup& backup) {
  JobRecord record;
  ASSIGN_OR_RETURN(record.job, FromValue(backup.job()));
  record.spec = backup.spec();
  for (const stored::TaskValue& value : backup.tasks()) {
    ASSIGN_OR_RETURN(Task task, FromValue(value));
    record.tasks.push_back(std::move(task));
  }
  for (const auto& [number, value] : backup.results()) record.results[number] = value;
  return record;
}

// Of a store that nobody has used yet.
absl::StatusOr<bool> IsNew(JobStore& store) {
  ASSIGN_OR_RETURN(const std::vector<JobRecord> jobs, store.List({}, 0, 1));
  ASSIGN_OR_RETURN(const std::vector<std::string> kinds, store.RecordKinds());
  ASSIGN_OR_RETURN(const JobStore::Counters counters, store.ReadCounters());
  return jobs.empty() && kinds.empty() && counters.epoch == 0 && counters.sequence == 0 &&
         !counters.incomplete;
}

// That there is something, and all of it, to copy.
absl::Status CheckUsed(JobStore& store) {
  ASSIGN_OR_RETURN(const bool is_new, IsNew(store));
  if (is_new) {
    return MakeError(absl::StatusCode::kNotFound, "STORE_NOT_FOUND",
                     "no controller has ever used this store; is --store the right one?");
  }
  ASSIGN_OR_RETURN(const JobStore::Counters counters, store.ReadCounters());
  return counters.incomplete ? StoreIncomplete() : absl::OkStatus();
}

}  // namespace

absl::StatusOr<BackupCounts> WriteBackup(JobStore& store, const std::string& path) {
  RETURN_IF_ERROR(CheckUsed(store));
  ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file, NewFile::Make(path));
  BackupWriter writer(*file);
  RETURN_IF_ERROR(writer.Text(kHead));
  BackupCounts counts;
  for (uint64_t before = 0;;) {
    ASSIGN_OR_RETURN(const std::vector<JobRecord> page, store.List({}, before, kJobsPage));
    if (page.empty()) break;
    before = page.back().job.sequence;
    for (const JobRecord& listed : page) {
      absl::StatusOr<JobRecord> record = store.Get(listed.job.id);
      // Deleted meanwhile.
      if (absl::IsNotFound(record.status())) continue;
      if (!record.ok()) return record.status();
      stored::BackupItem item;
      stored::JobBackup& job = *item.mutable_job();
      *job.mutable_job() = ToValue(record->job);
      job.set_spec(record->spec);
      for (const Task& task : record->tasks) *job.add_tasks() = ToValue(task);
      for (const auto& [number, value] : record->results) (*job.mutable_results())[number] = value;
      RETURN_IF_ERROR(writer.Item(item));
      ++counts.jobs;
    }
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> kinds, store.RecordKinds());
  for (const std::string& kind : kinds) {
    ASSIGN_OR_RETURN(const auto records, store.LoadRecords(kind));
    for (const auto& [name, value] : records) {
      stored::BackupItem item;
      item.mutable_record()->set_kind(kind);
      item.mutable_record()->set_name(name);
      item.mutable_record()->set_value(value);
      RETURN_IF_ERROR(writer.Item(item));
      ++counts.records;
    }
  }
  // Last: no job has a later sequence.
  ASSIGN_OR_RETURN(const JobStore::Counters counters, store.ReadCounters());
  stored::BackupItem item;
  item.mutable_end()->set_epoch(counters.epoch);
  item.mutable_end()->set_sequence(counters.sequence);
  item.mutable_end()->set_jobs(counts.jobs);
  item.mutable_end()->set_records(counts.records);
  RETURN_IF_ERROR(writer.Item(item));
  RETURN_IF_ERROR(writer.Sum());
  RETURN_IF_ERROR(file->Keep());
  return counts;
}

absl::StatusOr<BackupCounts> RestoreBackup(const std::string& path, JobStore& store) {
  BackupCounts counts;
  bool ended = false;
  JobStore::Counters counters;
  RETURN_IF_ERROR(ReadItems(path, [&](const stored::BackupItem& item) -> absl::Status {
    if (ended) return Corrupt(path, "something follows its end");
    switch (item.item_case()) {
      case stored::BackupItem::kJob:
        ++counts.jobs;
        return FromBackup(item.job()).status();
      case stored::BackupItem::kRecord:
        ++counts.records;
        return CheckRecord(item.record().kind(), item.record().name(), item.record().value());
      case stored::BackupItem::kEnd:
        ended = true;
        counters.epoch = item.end().epoch();
        counters.sequence = item.end().sequence();
        if (item.end().jobs() == counts.jobs && item.end().records() == counts.records)
          return absl::OkStatus();
        return Corrupt(path, "items are missing");
      case stored::BackupItem::ITEM_NOT_SET:
        break;
    }
    return Corrupt(path, "it has an item of an unknown kind");
  }));
  if (!ended) return Corrupt(path, "its end is missing");
  ASSIGN_OR_RETURN(const bool is_new, IsNew(store));
  if (!is_new) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "STORE_NOT_EMPTY",
                     "the store has been used; restore into a new file or prefix");
  }
  counters.incomplete = true;
  RETURN_IF_ERROR(store.RestoreCounters(counters));
  RETURN_IF_ERROR(ReadItems(path, [&store](const stored::BackupItem& item) -> absl::Status {
    if (item.has_job()) {
      ASSIGN_OR_RETURN(const JobRecord record, FromBackup(item.job()));
      return store.Restore(record);
    }
    if (!item.has_record()) return absl::OkStatus();
    return store.PutRecord(item.record().kind(), item.record().name(), item.record().value());
  }));
  counters.incomplete = false;
  RETURN_IF_ERROR(store.RestoreCounters(counters));
  return counts;
}

}  // namespace cowherd
