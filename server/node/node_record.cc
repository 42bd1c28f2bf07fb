#include "server/node/node_record.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/full_io.h"
#include "server/base/random_id.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr char kRecord[] = "node";
constexpr char kUnfinished[] = "node.new";
constexpr char kLock[] = "node.lock";
constexpr size_t kMaxBytes = 1024;

// Lines of a word and a value; the last is the checksum of those before.
constexpr absl::string_view kFirst = "cowherd-node 1\n";
constexpr absl::string_view kInstance = "instance ";
constexpr absl::string_view kEpoch = "epoch ";
constexpr absl::string_view kChecksum = "checksum ";

std::string ChecksumLine(absl::string_view lines) {
  return absl::StrFormat("%s%016x\n", kChecksum, XXH3_64bits(lines.data(), lines.size()));
}

std::string Format(const std::string& instance_id, uint64_t epoch) {
  const std::string lines = absl::StrCat(kFirst, kInstance, instance_id, "\n", kEpoch, epoch, "\n");
  return absl::StrCat(lines, ChecksumLine(lines));
}

bool Parse(const std::string& text, std::string& instance_id, uint64_t& epoch) {
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, kFirst) || !absl::ConsumePrefix(&rest, kInstance)) return false;
  const std::vector<absl::string_view> lines = absl::StrSplit(rest, '\n');
  if (lines.size() != 4 || lines[0].empty()) return false;
  absl::string_view number = lines[1];
  if (!absl::ConsumePrefix(&number, kEpoch) || !absl::SimpleAtoi(number, &epoch)) return false;
  instance_id = std::string(lines[0]);
  return text == Format(instance_id, epoch);
}

}  // namespace

absl::StatusOr<std::unique_ptr<NodeRecord>> NodeRecord::Open(const std::string& state_dir) {
  Fd folder(::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return ErrnoError(errno, absl::StrCat("open the folder \"", state_dir, "\""));
  Fd lock(::openat(folder.get(), kLock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) return ErrnoError(errno, absl::StrCat("open ", state_dir, "/", kLock));
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(lock.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) return ErrnoError(errno, absl::StrCat("lock ", state_dir));
    return MakeError(absl::StatusCode::kAborted, "STATE_IN_USE",
                     absl::StrCat(state_dir, " is in use by another cowherd-node; give each its own"));
  }
  std::unique_ptr<NodeRecord> record(new NodeRecord(std::move(folder), std::move(lock)));
  const Fd file(::openat(record->folder_.get(), kRecord, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid() && errno != ENOENT) {
    return ErrnoError(errno, absl::StrCat("open ", state_dir, "/", kRecord));
  }
  if (!file.valid()) {
    record->instance_id_ = RandomId();
    RETURN_IF_ERROR(record->Write(0));
    return record;
  }
  std::string text(kMaxBytes, '\0');
  ASSIGN_OR_RETURN(const size_t size, ReadFully(file.get(), &text[0], text.size(), 0));
  text.resize(size);
  if (!Parse(text, record->instance_id_, record->epoch_)) {
    return MakeError(absl::StatusCode::kDataLoss, "STATE_CORRUPT",
                     absl::StrCat(state_dir, "/", kRecord,
                                  " is damaged, so which controllers may still give orders is not known; "
                                  "make sure that only the present one runs, then delete the file"));
  }
  return record;
}

absl::Status NodeRecord::KeepEpoch(uint64_t epoch) {
  RETURN_IF_ERROR(Write(epoch));
  epoch_ = epoch;
  return absl::OkStatus();
}

absl::Status NodeRecord::Write(uint64_t epoch) {
  const std::string text = Format(instance_id_, epoch);
  const Fd file(
      ::openat(folder_.get(), kUnfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoError(errno, "make the node's record");
  RETURN_IF_ERROR(WriteFully(file.get(), text.data(), text.size(), 0));
  if (::fsync(file.get()) != 0) return ErrnoError(errno, "fsync the node's record");
  if (::renameat(folder_.get(), kUnfinished, folder_.get(), kRecord) != 0) {
    return ErrnoError(errno, "rename the node's record");
  }
  if (::fsync(folder_.get()) != 0) return ErrnoError(errno, "fsync the folder of the node's record");
  return absl::OkStatus();
}

}  // namespace cowherd
