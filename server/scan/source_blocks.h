#ifndef COWHERD_SERVER_SCAN_SOURCE_BLOCKS_H_
#define COWHERD_SERVER_SCAN_SOURCE_BLOCKS_H_

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/fs/extent_ops.h"
#include "server/fs/file_tree.h"
#include "server/scan/fingerprint_source.h"

namespace cowherd {

// Fingerprints of files seen earlier, looked up again to grow matches. Keeps a few files open and a few of
// their blocks. One thread.
class SourceBlocks {
 public:
  SourceBlocks(ExtentOps& ops, FileTree& tree, FingerprintSource& source, uint32_t block_size)
      : ops_(ops), tree_(tree), source_(source), block_size_(block_size) {}

  // The file, open for reading; stays so until kMaxOpen others were asked for.
  absl::StatusOr<const OpenFile*> Open(const std::string& path);

  // 0 also where the file cannot be read.
  Fingerprint At(const std::string& path, uint64_t block);

  // Bytes read for At since the last call.
  uint64_t TakeBytesRead();

 private:
  static constexpr size_t kMaxOpen = 16;
  static constexpr size_t kMaxChunks = 64;
  static constexpr uint64_t kChunkBlocks = 256;

  struct File {
    std::string path;
    OpenFile open;
  };
  struct Chunk {
    std::string path;
    uint64_t first_block = 0;
    std::vector<Fingerprint> fingerprints;
  };

  absl::StatusOr<std::vector<Fingerprint>> Read(const std::string& path, uint64_t first_block);

  ExtentOps& ops_;
  FileTree& tree_;
  FingerprintSource& source_;
  const uint32_t block_size_;
  std::list<File> files_;    // last used first
  std::list<Chunk> chunks_;  // last used first
  uint64_t bytes_read_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_SOURCE_BLOCKS_H_
