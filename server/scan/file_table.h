#ifndef COWHERD_SERVER_SCAN_FILE_TABLE_H_
#define COWHERD_SERVER_SCAN_FILE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/fs/storage_map.h"
#include "server/scan/scan_state.h"

namespace cowherd {

// The files that a scan has read, in one long row: each block of each file has an address there. Within a
// memory budget: when it is used up, half of the small files are forgotten, then half of those left, and so
// on; which, depends on what they begin with, so that copies are forgotten or kept together. One thread.
class FileTable {
 public:
  struct File {
    uint64_t address = 0;
    uint64_t blocks = 0;
    uint64_t sample = 0;
    FileKey key;
    std::string path;
  };

  FileTable(size_t budget, uint32_t block_size) : budget_(budget), block_size_(block_size) {}

  // The address of the file's first block. `first_fingerprint`: of the first block that has one.
  uint64_t Add(std::string path, const FileKey& key, uint64_t size, uint64_t first_fingerprint);

  // The file that has this address. Null: it is forgotten. Good until the next Add.
  const File* Find(uint64_t address) const;

  // Forgets all, as if nothing was added yet.
  void Clear();

  // Forgets a file of an earlier scan, which is looked at anew.
  void Forget(const FileKey& key);

  void Save(StateWriter& writer) const;
  // Takes what an earlier scan saved, into an empty table. Devices may have other numbers since: files of
  // device `then` are now on `now`, and those of others are left out if the two differ. DATA_LOSS: it is no
  // such table.
  absl::Status Load(StateReader& reader, uint64_t then, uint64_t now);

  size_t files() const { return files_.size(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Loaded {
    FileKey key;
    uint64_t address = 0;
    friend bool operator<(const Loaded& a, const Loaded& b) {
      return a.key == b.key ? a.address < b.address : a.key < b.key;
    }
  };

  void MakeRoom();
  static size_t BytesOf(const File& file);
  bool Keeps(const File& file) const { return (file.sample & mask_) < file.blocks; }

  const size_t budget_;
  const uint32_t block_size_;
  std::deque<File> files_;  // by address; grows without a second copy
  size_t bytes_ = 0;
  std::vector<Loaded> loaded_;  // ascending
  uint64_t end_ = 0;
  uint64_t mask_ = 0;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_FILE_TABLE_H_
