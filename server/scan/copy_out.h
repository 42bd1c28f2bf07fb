#ifndef COWHERD_SERVER_SCAN_COPY_OUT_H_
#define COWHERD_SERVER_SCAN_COPY_OUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/fd.h"
#include "server/base/stop.h"
#include "server/fs/file_tree.h"
#include "server/scan/share.h"

namespace cowherd {

// Copies ranges into unlinked files on the same filesystem, so that the places that hold them can share with
// the copies and what they share now goes free. The copies are gone when this is, or Clear() is called, but
// for what shares with them by then. One thread.
class CopyOut {
 public:
  struct Copied {
    size_t file = 0;  // index
    uint64_t offset = 0;
    uint64_t length = 0;
    std::vector<Share> places;  // of that length, but for a place's odd end
  };

  CopyOut(FileTree& tree, uint32_t block_size) : tree_(tree), block_size_(block_size) {}

  // Copies what the first of the places holds, from `fd`; all have the same length and storage. How much was
  // copied: less where that file is shorter by now. An error (ErrnoError) leaves what was copied before as it
  // was.
  absl::StatusOr<uint64_t> Add(int fd, absl::Span<const Share> places);

  // As many files are open as should be.
  bool full() const { return files_.size() >= kMaxFiles; }

  // Waits until the copies are on disk, or `stop` says to end: its error. Before that, sharing with them
  // would write them piece by piece.
  absl::Status Flush(const Stop& stop);

  const std::vector<Copied>& copies() const { return copies_; }
  int fd(size_t file) const { return files_[file].get(); }
  // The file that holds all but odd ends; -1: there is none.
  int main_fd() const { return files_.empty() ? -1 : files_.front().get(); }
  uint64_t size() const { return size_; }
  void Clear();

 private:
  static constexpr size_t kMaxFiles = 128;

  // What was copied to the first file and is not on its way to disk yet.
  void BeginWriting();
  absl::StatusOr<uint64_t> Copy(int fd, absl::Span<const Share> places);

  FileTree& tree_;
  const uint32_t block_size_;
  std::vector<Fd> files_;  // the first takes whole blocks, each other one odd end
  uint64_t size_ = 0;
  uint64_t writing_ = 0;  // up to there it is on its way to disk
  std::vector<Copied> copies_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_COPY_OUT_H_
