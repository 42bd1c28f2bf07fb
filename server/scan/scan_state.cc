#include "server/scan/scan_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "server/base/failpoint.h"
#include "server/base/full_io.h"
#include "server/base/log.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr char kMagic[8] = {'c', 'o', 'w', 'h', 'e', 'r', 'd', 's'};
constexpr uint64_t kVersion = 2;
constexpr size_t kBufferBytes = 1 << 20;
constexpr size_t kMaxStates = 16;
constexpr char kSaved[] = ".state";
constexpr char kUnfinished[] = ".new";

absl::Status Untrusted(absl::string_view why) { return absl::DataLossError(why); }

absl::Status ReadAt(int fd, char* bytes, size_t size, uint64_t offset) {
  ASSIGN_OR_RETURN(const size_t got, ReadFully(fd, bytes, size, offset));
  return got == size ? absl::OkStatus() : Untrusted("cut off");
}

absl::StatusOr<Fd> OpenFolder(int at, const std::string& path) {
  if (::mkdirat(at, path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoError(errno, absl::StrCat("make the folder \"", path, "\""));
  }
  Fd folder(::openat(at, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return ErrnoError(errno, absl::StrCat("open the folder \"", path, "\""));
  return folder;
}

// One byte of the lock file stands for each state, so that there is nothing to take away. The lock goes with
// the last descriptor of this opening, also when the process is killed. False with errno.
bool Lock(int fd, uint64_t name, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(name >> 2);
  lock.l_len = 1;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

std::string NameOf(uint64_t hash) { return absl::StrFormat("%016x", hash); }

}  // namespace

std::string StateKey(absl::string_view kind, absl::string_view filesystem, const FileKey& root,
                     const ScanRequest& request) {
  StateWriter key(-1);
  key.AddText(kind);
  key.AddText(filesystem);
  key.AddNumber(root.subvolume);
  key.AddNumber(root.inode);
  for (const std::vector<std::string>* list : {&request.paths, &request.include, &request.exclude}) {
    key.AddNumber(list->size());
    for (const std::string& text : *list) key.AddText(text);
  }
  for (uint64_t number : {request.min_extent_length, request.min_file_size, request.min_freed_per_moved,
                          request.max_extents_per_file}) {
    key.AddNumber(number);
  }
  return key.text();
}

absl::Status MakeStateDir(const std::string& state_dir) {
  RETURN_IF_ERROR(OpenFolder(AT_FDCWD, state_dir).status());
  if (::access(state_dir.c_str(), W_OK | X_OK) != 0) {
    return ErrnoError(errno, absl::StrCat("write to the folder \"", state_dir, "\""));
  }
  return absl::OkStatus();
}

void StateWriter::Add(const void* bytes, size_t size) {
  checksum_.Add(bytes, size);
  buffer_.append(static_cast<const char*>(bytes), size);
  size_ += size;
  if (fd_ >= 0 && buffer_.size() >= kBufferBytes) Flush();
}

absl::Status StateWriter::Finish() {
  if (fd_ >= 0) Flush();
  return status_;
}

void StateWriter::Flush() {
  // What is in the buffer comes last of size_.
  if (status_.ok()) {
    status_ = WriteFully(fd_, buffer_.data(), buffer_.size(), offset_ + size_ - buffer_.size());
  }
  buffer_.clear();
}

absl::Status StateReader::Take(void* bytes, size_t size) {
  auto* to = static_cast<char*>(bytes);
  while (size > 0) {
    if (at_ == buffer_.size()) {
      if (left_ == 0) return Untrusted("ends too early");
      buffer_.resize(std::min<uint64_t>(left_, kBufferBytes));
      RETURN_IF_ERROR(ReadAt(fd_, &buffer_[0], buffer_.size(), offset_));
      offset_ += buffer_.size();
      left_ -= buffer_.size();
      at_ = 0;
    }
    const size_t part = std::min(size, buffer_.size() - at_);
    std::memcpy(to, buffer_.data() + at_, part);
    at_ += part;
    to += part;
    size -= part;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> StateReader::TakeNumber() {
  uint64_t number = 0;
  RETURN_IF_ERROR(Take(&number, sizeof(number)));
  return number;
}

absl::StatusOr<std::string> StateReader::TakeText(size_t most) {
  ASSIGN_OR_RETURN(const uint64_t size, TakeNumber());
  if (size > most) return Untrusted("a text is too long");
  std::string text(size, '\0');
  RETURN_IF_ERROR(Take(&text[0], size));
  return text;
}

absl::Status StateReader::Skip(uint64_t count, size_t size) {
  const size_t here = buffer_.size() - at_;
  if (count > (here + left_) / size) return Untrusted("ends too early");
  const uint64_t bytes = count * size;
  const uint64_t in_file = bytes - std::min<uint64_t>(bytes, here);
  at_ += bytes - in_file;
  offset_ += in_file;
  left_ -= in_file;
  return absl::OkStatus();
}

void StateReader::SkipRest() {
  at_ = buffer_.size();
  left_ = 0;
}

// What the file begins with; key, head and body follow, and nothing else. Little-endian, as is every machine
// this is built for.
struct ScanStateFile::Front {
  char magic[sizeof(kMagic)];
  uint64_t version;
  uint64_t key_size;
  uint64_t head_size;
  uint64_t body_size;
  uint64_t body_checksum;
  uint64_t checksum;  // of all before, then key and head

  uint64_t ChecksumOf(absl::string_view key_and_head) const {
    Checksum sum;
    sum.Add(this, offsetof(Front, checksum));
    sum.Add(key_and_head.data(), key_and_head.size());
    return sum.value();
  }
};

absl::StatusOr<std::unique_ptr<ScanStateFile>> ScanStateFile::Open(const std::string& state_dir,
                                                                   const std::string& filesystem,
                                                                   std::string key) {
  ASSIGN_OR_RETURN(const Fd top, OpenFolder(AT_FDCWD, state_dir));
  ASSIGN_OR_RETURN(Fd folder, OpenFolder(top.get(), filesystem));
  Fd lock(::openat(folder.get(), "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) return ErrnoError(errno, "open the lock of scan states");
  const uint64_t hash = XXH3_64bits(key.data(), key.size());
  if (!Lock(lock.get(), hash, F_WRLCK)) {
    if (errno != EAGAIN && errno != EACCES) return ErrnoError(errno, "lock the state of a scan");
    return MakeError(absl::StatusCode::kAborted, "STATE_IN_USE",
                     "another scan of the same has its state open");
  }
  std::string name = NameOf(hash);
  Sweep(folder.get(), lock, name);
  return std::unique_ptr<ScanStateFile>(
      new ScanStateFile(std::move(folder), std::move(lock), std::move(name), std::move(key)));
}

// Takes away what crashes left and what was not used for long.
void ScanStateFile::Sweep(int folder, const Fd& lock, const std::string& own) {
  const int again = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(again), &::closedir);
  if (directory == nullptr) {
    ::close(again);
    return;
  }
  struct Entry {
    timespec used = {};
    std::string file;
    uint64_t name = 0;
  };
  std::vector<Entry> states;
  std::vector<Entry> surplus;
  while (const dirent* found = ::readdir(directory.get())) {
    Entry entry;
    entry.file = found->d_name;
    absl::string_view name = entry.file;
    const bool unfinished = absl::ConsumeSuffix(&name, kUnfinished);
    if (!unfinished && !absl::ConsumeSuffix(&name, kSaved)) continue;
    if (!absl::SimpleHexAtoi(name, &entry.name)) continue;
    struct stat stat;
    if (::fstatat(folder, entry.file.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) continue;
    entry.used = stat.st_mtim;
    (unfinished ? surplus : states).push_back(std::move(entry));
  }
  std::sort(states.begin(), states.end(), [](const Entry& a, const Entry& b) {
    return a.used.tv_sec != b.used.tv_sec ? a.used.tv_sec > b.used.tv_sec : a.used.tv_nsec > b.used.tv_nsec;
  });
  for (size_t i = kMaxStates; i < states.size(); ++i) surplus.push_back(std::move(states[i]));
  for (const Entry& entry : surplus) {
    const bool mine = NameOf(entry.name) == own;
    if (mine && absl::EndsWith(entry.file, kSaved)) continue;
    if (!mine && !Lock(lock.get(), entry.name, F_WRLCK)) continue;
    ::unlinkat(folder, entry.file.c_str(), 0);
    if (!mine) Lock(lock.get(), entry.name, F_UNLCK);
  }
}

absl::StatusOr<std::string> ScanStateFile::ReadHead() {
  Fd file(::openat(folder_.get(), absl::StrCat(name_, kSaved).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) {
    if (errno == ENOENT) return absl::NotFoundError("there is none");
    return ErrnoError(errno, "open the state of a scan");
  }
  struct stat stat;
  if (::fstat(file.get(), &stat) != 0) return ErrnoError(errno, "fstat");
  const auto size = static_cast<uint64_t>(stat.st_size);
  Front front;
  if (size < sizeof(front)) return Untrusted("cut off");
  RETURN_IF_ERROR(ReadAt(file.get(), reinterpret_cast<char*>(&front), sizeof(front), 0));
  if (std::memcmp(front.magic, kMagic, sizeof(kMagic)) != 0) return Untrusted("not a state");
  if (front.version != kVersion) return Untrusted("of another version");
  if (front.key_size > kMaxHeadBytes || front.head_size > kMaxHeadBytes ||
      sizeof(front) + front.key_size + front.head_size + front.body_size != size) {
    return Untrusted("not as long as it says");
  }
  std::string text(front.key_size + front.head_size, '\0');
  RETURN_IF_ERROR(ReadAt(file.get(), &text[0], text.size(), sizeof(front)));
  if (front.ChecksumOf(text) != front.checksum) return Untrusted("its head's checksum is wrong");
  if (absl::string_view(text).substr(0, front.key_size) != key_) return Untrusted("of another scan");
  // Used now.
  ::futimens(file.get(), nullptr);
  file_ = std::move(file);
  body_offset_ = sizeof(front) + text.size();
  body_size_ = front.body_size;
  body_checksum_ = front.body_checksum;
  return text.substr(front.key_size);
}

absl::Status ScanStateFile::CheckBody() {
  Checksum checksum;
  std::string buffer(kBufferBytes, '\0');
  for (uint64_t done = 0; done < body_size_;) {
    const size_t part = std::min<uint64_t>(buffer.size(), body_size_ - done);
    RETURN_IF_ERROR(ReadAt(file_.get(), &buffer[0], part, body_offset_ + done));
    checksum.Add(buffer.data(), part);
    done += part;
  }
  return checksum.value() == body_checksum_ ? absl::OkStatus() : Untrusted("its checksum is wrong");
}

absl::Status ScanStateFile::ReadBody(absl::FunctionRef<absl::Status(StateReader&)> take) {
  StateReader reader(file_.get(), body_offset_, body_size_);
  RETURN_IF_ERROR(take(reader));
  return reader.at_end() ? absl::OkStatus() : Untrusted("longer than what it holds");
}

absl::Status ScanStateFile::Save(absl::string_view head, absl::FunctionRef<void(StateWriter&)> write_body) {
  if (head.size() > kMaxHeadBytes) return absl::OutOfRangeError("the head of a state is too long");
  const std::string unfinished = absl::StrCat(name_, kUnfinished);
  Fd file(
      ::openat(folder_.get(), unfinished.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoError(errno, "make the state of a scan");
  const auto write_all = [&]() -> absl::Status {
    Front front = {};
    std::memcpy(front.magic, kMagic, sizeof(kMagic));
    front.version = kVersion;
    front.key_size = key_.size();
    front.head_size = head.size();
    const std::string text = absl::StrCat(key_, head);
    const uint64_t body_offset = sizeof(front) + text.size();
    StateWriter body(file.get(), body_offset);
    write_body(body);
    RETURN_IF_ERROR(body.Finish());
    front.body_size = body.size();
    front.body_checksum = body.checksum();
    front.checksum = front.ChecksumOf(text);
    RETURN_IF_ERROR(WriteFully(file.get(), text.data(), text.size(), sizeof(front)));
    RETURN_IF_ERROR(WriteFully(file.get(), reinterpret_cast<const char*>(&front), sizeof(front), 0));
    if (::fsync(file.get()) != 0) return ErrnoError(errno, "fsync the state of a scan");
    RETURN_IF_ERROR(Failpoint("node.state.before"));
    if (::renameat(folder_.get(), unfinished.c_str(), folder_.get(), absl::StrCat(name_, kSaved).c_str()) !=
        0) {
      return ErrnoError(errno, "rename the state of a scan");
    }
    Crashpoint("node.state.after");
    if (::fsync(folder_.get()) != 0) return ErrnoError(errno, "fsync the folder of scan states");
    return absl::OkStatus();
  };
  absl::Status status = write_all();
  if (!status.ok()) ::unlinkat(folder_.get(), unfinished.c_str(), 0);
  return status;
}

void ScanStateFile::Discard() {
  file_ = Fd();
  ::unlinkat(folder_.get(), absl::StrCat(name_, kSaved).c_str(), 0);
}

}  // namespace cowherd
