#ifndef COWHERD_SERVER_SCAN_SECTION_READER_H_
#define COWHERD_SERVER_SCAN_SECTION_READER_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// A file while it is looked at.
struct ScannedFile {
  std::string path;
  FileKey key;
  std::shared_ptr<const OpenFile> open;
  uint64_t address = 0;  // in the FileTable
  bool in_table = false;
  bool failed = false;
  bool settled = false;       // if it is changed from now on, its times will tell
  size_t sections = 0;        // that it has in all
  size_t sections_ahead = 0;  // that are not compared yet
  bool shares = false;        // it has places that are to share
  bool again = false;         // some of them could not for now: the next scan is to look at it too
  // With all that is to be shared. None: nothing has split it yet.
  absl::optional<uint64_t> extents;
  uint64_t shared_until = 0;                // where the last stretch that is to be shared ends
  uint64_t shared_from_until = UINT64_MAX;  // and where its source does, by address
};

// A stretch of a file that is read and compared as one.
struct Section {
  std::shared_ptr<ScannedFile> file;
  uint64_t first_block = 0;
  size_t blocks = 0;
  std::vector<FileExtent> extents;  // to be read
  std::vector<FileExtent> skipped;  // storage that was looked at elsewhere

  // What came of it.
  std::vector<uint64_t> fingerprints;
  uint64_t bytes_read = 0;
  absl::Status status;
};

// Reads sections in the background, one after the other, and hands them back. One stream with the kernel's
// own readahead is as fast as the disk; several, or asking for data far ahead (POSIX_FADV_WILLNEED, which
// goes page by page), took up to twice as long on XFS. The caller bounds how many are on the way. One thread
// uses it.
class SectionReader {
 public:
  explicit SectionReader(uint32_t block_size);
  // What is not read yet is not read any more.
  ~SectionReader();
  SectionReader(const SectionReader&) = delete;
  SectionReader& operator=(const SectionReader&) = delete;

  void Push(std::unique_ptr<Section> section);
  // Waits until the oldest is read. Null: there is none.
  std::unique_ptr<Section> Pop();

 private:
  void Run();

  const uint32_t block_size_;
  std::mutex mutex_;
  std::condition_variable pushed_;
  std::condition_variable read_;
  std::deque<std::unique_ptr<Section>> waiting_;
  std::deque<std::unique_ptr<Section>> done_;
  size_t on_the_way_ = 0;  // pushed and not handed back
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SECTION_READER_H_
