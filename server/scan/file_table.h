#ifndef COWHERD_SERVER_SCAN_FILE_TABLE_H_
#define COWHERD_SERVER_SCAN_FILE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "server/fs/storage_map.h"
#include "server/scan/scan_state.h"

namespace cowherd {

// The files that a scan has read, in one long row: each block of each file has an address there. Within a
// memory budget, of some 36 bytes and its name for each file and 45 and its name for each directory: when it
// is used up, half of the small files are forgotten, then half of those left, and so on; which, depends on
// what they begin with, so that copies are forgotten or kept together. One thread.
class FileTable {
 public:
  struct File {
    uint64_t address = 0;
    uint64_t blocks = 0;
    FileKey key;
    std::string path;
  };

  // In bytes; no more than 4 GiB are used.
  FileTable(size_t budget, uint32_t block_size);

  // So many blocks hold so many bytes.
  uint64_t BlocksOf(uint64_t size) const { return size / block_size_ + (size % block_size_ == 0 ? 0 : 1); }

  // Gives the next file of `size` bytes its place in the row: the address of its first block. None: the row
  // ends at kMaxAddress.
  absl::optional<uint64_t> Place(uint64_t size);
  // The file that has the place at `address`; in the order of places. `first_fingerprint`: of the first block
  // that has one.
  void Add(uint64_t address, absl::string_view path, const FileKey& key, uint64_t size,
           uint64_t first_fingerprint);

  // The file that has this address. None: it is forgotten.
  absl::optional<File> Find(uint64_t address) const;
  bool Has(uint64_t address) const { return EntryOf(address) != nullptr; }

  // Holds to it from now on.
  void SetBudget(size_t budget);

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
  // About how many were ever added, if some were forgotten for the budget. 0: none was.
  uint64_t files_seen() const;
  // Where the row ends.
  uint64_t end() const { return end_ * block_size_; }
  size_t bytes() const;

 private:
  // Both within budgets of 4 GiB, so that 32 bits count what they hold.
  struct Directory {
    uint64_t device = 0;
    uint32_t parent = 0;
    uint32_t name = 0;
  };
  struct Entry {
    uint64_t inode = 0;
    uint64_t first_block : 56;
    uint64_t lasts : 8;  // how often half of the files may be forgotten before this one is
    uint64_t blocks = 0;
    uint32_t directory = 0;
    uint32_t name = 0;
    Entry() : first_block(0), lasts(0) {}
  };
  // One after the other, each with a 0 behind; a deque grows without a second copy.
  using Names = std::deque<char>;

  static uint32_t AddName(absl::string_view name, Names& names);
  static void AppendName(const Names& names, uint32_t at, std::string& to);
  // Brings the name at `from` up to `to`, which then is behind it.
  static uint32_t MoveName(Names& names, uint32_t from, uint32_t& to);

  void Insert(Entry entry, uint64_t device, absl::string_view path);
  uint32_t DirectoryOf(uint64_t device, absl::string_view path);
  uint32_t Child(uint64_t device, uint32_t parent, absl::string_view name);
  static uint64_t KeyOf(uint64_t device, uint32_t parent, absl::string_view name);
  std::string PathOf(const Entry& file) const;
  FileKey FileKeyOf(const Entry& file) const { return {directories_[file.directory].device, file.inode}; }
  const Entry* EntryOf(uint64_t address) const;
  bool Keeps(const Entry& file) const { return file.blocks > 0 && thinned_ <= file.lasts; }
  void MakeRoom();
  void Thin();
  void ThinDirectories();
  void SortLoaded();

  size_t budget_;
  const uint32_t block_size_;
  std::deque<Entry> files_;  // by address; blocks 0: forgotten
  Names names_;              // of files_, in their order
  // Parents come before their children. A directory that an earlier one was taken for (their keys are of 64
  // bits) has a wrong path, where a file with another inode number is, or none.
  std::deque<Directory> directories_;
  Names directory_names_;  // of directories_, in their order
  absl::flat_hash_map<uint64_t, uint32_t> by_name_;
  size_t loaded_ = 0;             // the first ones of files_
  std::vector<uint32_t> by_key_;  // of those, by their FileKeys
  uint64_t end_ = 0;              // in blocks
  unsigned thinned_ = 0;          // times
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCAN_FILE_TABLE_H_
