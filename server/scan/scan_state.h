#ifndef COWHERD_SERVER_SCAN_SCAN_STATE_H_
#define COWHERD_SERVER_SCAN_SCAN_STATE_H_

#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/base/fd.h"
#include "server/fs/storage_map.h"
#include "server/scan/scan_types.h"

namespace cowherd {

// What a state was made for; it serves nothing else. `kind`: the way of scanning, and the version of what it
// keeps. Holds what decides which duplicates a scan finds, not how fast. Pure.
std::string StateKey(absl::string_view kind, absl::string_view filesystem, const FileKey& root,
                     const ScanRequest& request);

// Makes the folder if need be. An error: it cannot be made, or not be written to.
absl::Status MakeStateDir(const std::string& state_dir);

// XXH3 (64 bits) of what is added.
class Checksum {
 public:
  Checksum() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_64bits_reset(state_.get()); }

  void Add(const void* bytes, size_t size) { XXH3_64bits_update(state_.get(), bytes, size); }
  uint64_t value() const { return XXH3_64bits_digest(state_.get()); }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

// Appends numbers and texts. Errors are kept until Finish. One thread.
class StateWriter {
 public:
  // To `fd`, from `offset` on; -1: to text() alone.
  explicit StateWriter(int fd, uint64_t offset = 0) : fd_(fd), offset_(offset) {}

  void Add(const void* bytes, size_t size);
  void AddNumber(uint64_t number) { Add(&number, sizeof(number)); }
  void AddText(absl::string_view text) {
    AddNumber(text.size());
    Add(text.data(), text.size());
  }

  // All is handed over; the first error.
  absl::Status Finish();
  // What was not handed over.
  const std::string& text() const { return buffer_; }
  uint64_t size() const { return size_; }
  uint64_t checksum() const { return checksum_.value(); }

 private:
  void Flush();

  const int fd_;
  const uint64_t offset_;
  std::string buffer_;
  uint64_t size_ = 0;
  Checksum checksum_;
  absl::Status status_;
};

// Takes what a StateWriter added. DATA_LOSS: it does not go on like that. One thread.
class StateReader {
 public:
  explicit StateReader(std::string text) : buffer_(std::move(text)) {}
  // `size` bytes of a file from `offset`.
  StateReader(int fd, uint64_t offset, uint64_t size) : fd_(fd), offset_(offset), left_(size) {}

  absl::Status Take(void* bytes, size_t size);
  absl::StatusOr<uint64_t> TakeNumber();
  // DATA_LOSS above `most` bytes.
  absl::StatusOr<std::string> TakeText(size_t most);
  // Passes over `count` items of `size` bytes each, or all that is left.
  absl::Status Skip(uint64_t count, size_t size);
  void SkipRest();
  bool at_end() const { return at_ == buffer_.size() && left_ == 0; }

 private:
  const int fd_ = -1;
  uint64_t offset_ = 0;
  uint64_t left_ = 0;  // in the file
  std::string buffer_;
  size_t at_ = 0;
};

// A state's head is no longer, nor is its key.
constexpr uint64_t kMaxHeadBytes = 64 << 20;

// The file in which a scan keeps what the next one with the same key begins with: a head that is read at
// once, and a body that is read where it is needed. It lies in a folder of the filesystem it is about, named
// by a hash of its key. Whatever was written, cut off or changed there by somebody else, or by a crash, is
// told by checksums over every byte. Only the owner may read it: it may hold paths.
//
// At most 16 states of a filesystem are kept; those used last. One thread.
class ScanStateFile {
 public:
  // Makes the folder `state_dir`/`filesystem` if need be. ABORTED "STATE_IN_USE": another scan, of this or
  // another process, has this state open.
  static absl::StatusOr<std::unique_ptr<ScanStateFile>> Open(const std::string& state_dir,
                                                             const std::string& filesystem, std::string key);

  // What was saved last. NOT_FOUND: nothing. DATA_LOSS: it is not to be trusted; the message says why.
  absl::StatusOr<std::string> ReadHead();

  // Reads all of the body once. DATA_LOSS as ReadHead, after which it is called.
  absl::Status CheckBody();

  // Lets the body be taken. After a CheckBody that was OK.
  absl::Status ReadBody(absl::FunctionRef<absl::Status(StateReader&)> take);

  // Replaces what was saved, all or nothing, also across a crash of the machine. OUT_OF_RANGE: the head is
  // longer than kMaxHeadBytes.
  absl::Status Save(absl::string_view head, absl::FunctionRef<void(StateWriter&)> write_body);

  // Takes away what was saved.
  void Discard();

 private:
  struct Front;

  ScanStateFile(Fd folder, Fd lock, std::string name, std::string key)
      : folder_(std::move(folder)), lock_(std::move(lock)), name_(std::move(name)), key_(std::move(key)) {}

  static void Sweep(int folder, const Fd& lock, const std::string& own);

  const Fd folder_;
  const Fd lock_;
  const std::string name_;
  const std::string key_;
  Fd file_;  // what ReadHead found
  uint64_t body_offset_ = 0;
  uint64_t body_size_ = 0;
  uint64_t body_checksum_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SCAN_STATE_H_
