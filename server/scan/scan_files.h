#ifndef COWHERD_SERVER_SCAN_SCAN_FILES_H_
#define COWHERD_SERVER_SCAN_SCAN_FILES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "server/fs/file_tree.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// How a file is found.
struct ScanFile {
  std::string path;         // below the root
  uint64_t generation = 0;  // of its inode, for FileTree::OpenByNumber; 0: it is opened by its path
  bool immutable = false;   // it may be a source only
  uint64_t size = 0;        // when it was found
  uint64_t device = 0;      // as FileFacts; 0: any
};

// The files that a scan may touch, by their number. Keeps some open. Any thread.
class ScanFiles {
 public:
  // Tells how a file is found. NOT_FOUND: it is not within the scan; other errors, which are logged: nobody
  // knows. Called by one thread at a time.
  using Locate = std::function<absl::StatusOr<ScanFile>(const FileKey&)>;

  // Remembers how some `max_files` / 16 are found, at 150 bytes each, and that some `max_files` were counted,
  // at 10 to 15 bytes each.
  ScanFiles(FileTree& tree, Locate locate, size_t max_files = 1 << 20);

  // Closes all files that nobody else has open, and finds them anew from now on.
  void Forget();

  // An error: it is not within the scan. Does not open it.
  absl::StatusOr<ScanFile> Find(const FileKey& key);
  absl::StatusOr<std::string> Path(const FileKey& key);

  // An error: it is not within the scan, cannot be opened, or its path leads to another file by now.
  absl::StatusOr<std::shared_ptr<const OpenFile>> Open(const FileKey& key);

  // Files that were within the scan, those that were not, and those of which nobody knows; some may be
  // counted again in large scans.
  uint64_t taken() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return taken_;
  }
  uint64_t refused() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return refused_;
  }
  uint64_t failed() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return failed_;
  }

 private:
  struct File {
    FileKey key;
    std::shared_ptr<const OpenFile> open;
  };

  const absl::StatusOr<ScanFile>& FindLocked(const FileKey& key);
  absl::StatusOr<OpenFile> OpenAnew(const FileKey& key, const ScanFile& file);

  FileTree& tree_;
  const Locate locate_;
  const size_t max_counted_;
  const size_t max_located_;
  std::atomic<bool> by_number_{true};
  mutable std::mutex mutex_;  // of locate_ and what follows
  std::list<File> open_;      // last used first
  absl::flat_hash_map<FileKey, std::list<File>::iterator> by_key_;
  absl::flat_hash_map<FileKey, absl::StatusOr<ScanFile>> located_;  // those asked about lately
  absl::flat_hash_set<uint64_t> counted_;                           // hashes of keys
  uint64_t taken_ = 0;
  uint64_t refused_ = 0;
  uint64_t failed_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SCAN_FILES_H_
