#include "server/scan/file_table.h"

#include <algorithm>
#include <utility>

namespace cowherd {
namespace {

// With what malloc adds to a path.
size_t BytesOf(const FileTable::File& file) { return sizeof(FileTable::File) + file.path.capacity() + 16; }

}  // namespace

uint64_t FileTable::Add(std::string path, const FileKey& key, uint64_t size, uint64_t first_fingerprint) {
  File file;
  file.address = end_;
  file.blocks = std::max<uint64_t>(1, (size + block_size_ - 1) / block_size_);
  file.sample = first_fingerprint >> 8;
  file.key = key;
  file.path = std::move(path);
  end_ += file.blocks * block_size_;
  const uint64_t address = file.address;
  if (!Keeps(file)) return address;
  bytes_ += BytesOf(file);
  files_.push_back(std::move(file));
  while (bytes_ > budget_ && mask_ != UINT64_MAX) {
    mask_ = mask_ * 2 + 1;
    files_.erase(std::remove_if(files_.begin(), files_.end(),
                                [this](const File& f) {
                                  if (Keeps(f)) return false;
                                  bytes_ -= BytesOf(f);
                                  return true;
                                }),
                 files_.end());
    files_.shrink_to_fit();
  }
  return address;
}

const FileTable::File* FileTable::Find(uint64_t address) const {
  auto file = std::partition_point(files_.begin(), files_.end(),
                                   [address](const File& f) { return f.address <= address; });
  if (file == files_.begin()) return nullptr;
  --file;
  return address < file->address + file->blocks * block_size_ ? &*file : nullptr;
}

}  // namespace cowherd
