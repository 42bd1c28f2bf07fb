#include "server/scan/copy_out.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "server/base/full_io.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kCopyBytes = 1 << 20;
// Long enough for extents that are as long as they get.
constexpr uint64_t kWriteBytes = 32 << 20;
// Until the next look at a stop.
constexpr uint64_t kAwaitBytes = 4 << 20;

}  // namespace

absl::StatusOr<uint64_t> CopyOut::Add(int fd, absl::Span<const Share> places) {
  const size_t copies = copies_.size();
  const size_t files = files_.size();
  const uint64_t size = size_;
  absl::StatusOr<uint64_t> added = Copy(fd, places);
  if (!added.ok()) {
    copies_.resize(copies);
    files_.resize(files);
    size_ = size;
  } else if (size_ - writing_ >= kWriteBytes) {
    BeginWriting();
  }
  return added;
}

void CopyOut::BeginWriting() {
  // Only begun: what fails shows when it is shared.
  ::sync_file_range(files_.front().get(), static_cast<off_t>(writing_), static_cast<off_t>(size_ - writing_),
                    SYNC_FILE_RANGE_WRITE);
  writing_ = size_;
}

absl::StatusOr<uint64_t> CopyOut::Copy(int fd, absl::Span<const Share> places) {
  if (files_.empty()) {
    ASSIGN_OR_RETURN(Fd file, tree_.MakeScratch());
    files_.push_back(std::move(file));
  }
  const uint64_t from = places.front().destination.offset;
  const uint64_t length = places.front().length;
  const uint64_t begin = size_;
  // One piece: each becomes an extent of its own where it is shared.
  const auto keep_whole_blocks = [&] {
    if (size_ > begin) copies_.push_back({0, begin, size_ - begin, PartOf(places, 0, size_ - begin)});
  };
  std::vector<char> buffer(std::min(length, kCopyBytes));
  uint64_t done = 0;
  while (done < length) {
    const size_t want = std::min<uint64_t>(buffer.size(), length - done);
    const ssize_t got = ::pread(fd, buffer.data(), want, static_cast<off_t>(from + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read what is to be moved");
    if (got == 0) break;
    const uint64_t whole = static_cast<uint64_t>(got) / block_size_ * block_size_;
    const uint64_t tail = static_cast<uint64_t>(got) - whole;
    if (whole > 0) {
      RETURN_IF_ERROR(WriteFully(files_.front().get(), buffer.data(), whole, size_));
      size_ += whole;
    }
    if (tail > 0) {
      // Only a tail that ends its file is the same as one that ends another. And behind a hole: at the
      // beginning btrfs would keep it inline (fs/btrfs/inode.c), and each place would get its own.
      ASSIGN_OR_RETURN(Fd file, tree_.MakeScratch());
      RETURN_IF_ERROR(WriteFully(file.get(), buffer.data() + whole, tail, block_size_));
      keep_whole_blocks();
      copies_.push_back({files_.size(), block_size_, tail, PartOf(places, done + whole, block_size_)});
      files_.push_back(std::move(file));
      return std::min(done + whole + block_size_, length);
    }
    done += whole;
  }
  keep_whole_blocks();
  return done;
}

absl::Status CopyOut::Flush(const Stop& stop) {
  if (size_ > writing_) BeginWriting();
  constexpr unsigned kAll = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  for (const Fd& file : files_) {
    const uint64_t size = file.get() == main_fd() ? size_ : 2 * block_size_;
    for (uint64_t at = 0; at < size; at += kAwaitBytes) {
      RETURN_IF_ERROR(stop.Check());
      if (::sync_file_range(file.get(), static_cast<off_t>(at), kAwaitBytes, kAll) != 0)
        return ErrnoError(errno, "write a scratch file");
    }
  }
  return absl::OkStatus();
}

void CopyOut::Clear() {
  copies_.clear();
  files_.clear();
  size_ = writing_ = 0;
}

}  // namespace cowherd
