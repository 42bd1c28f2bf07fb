#ifndef COWHERD_SERVER_SCAN_SCAN_FILES_H_
#define COWHERD_SERVER_SCAN_SCAN_FILES_H_

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/fs/file_tree.h"
#include "server/fs/storage_map.h"

namespace cowherd {

// The files that a scan may touch, by their number. Keeps some open. Any thread.
class ScanFiles {
 public:
  // Tells the path of a file below the root; an error: it is not within the scan. Called by one thread at a
  // time.
  using PathOf = std::function<absl::StatusOr<std::string>(const FileKey&)>;

  ScanFiles(FileTree& tree, PathOf path_of) : tree_(tree), path_of_(std::move(path_of)) {}

  // An error: it is not within the scan. Does not open it.
  absl::StatusOr<std::string> Path(const FileKey& key);

  // An error: it is not within the scan, cannot be opened, or its path leads to another file by now.
  absl::StatusOr<std::shared_ptr<const OpenFile>> Open(const FileKey& key);

  // Files that were within the scan, and those that were not; some may be counted again in large scans.
  uint64_t taken() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return taken_;
  }
  uint64_t refused() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return refused_;
  }

 private:
  struct File {
    FileKey key;
    std::shared_ptr<const OpenFile> open;
  };

  absl::StatusOr<std::string> PathLocked(const FileKey& key);

  FileTree& tree_;
  const PathOf path_of_;
  mutable std::mutex mutex_;  // of path_of_ and what follows
  std::list<File> open_;      // last used first
  absl::flat_hash_map<FileKey, std::list<File>::iterator> by_key_;
  absl::flat_hash_map<FileKey, absl::StatusOr<std::string>> paths_;  // of those asked about lately
  uint64_t taken_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SCAN_FILES_H_
