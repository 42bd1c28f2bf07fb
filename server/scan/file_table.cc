#include "server/scan/file_table.h"

#include <algorithm>
#include <utility>

#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr size_t kMaxPathBytes = 1 << 20;

}  // namespace

// With what malloc adds to a path.
size_t FileTable::BytesOf(const File& file) { return sizeof(File) + file.path.capacity() + 16; }

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
  MakeRoom();
  return address;
}

void FileTable::MakeRoom() {
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
}

const FileTable::File* FileTable::Find(uint64_t address) const {
  auto file = std::partition_point(files_.begin(), files_.end(),
                                   [address](const File& f) { return f.address <= address; });
  if (file == files_.begin()) return nullptr;
  --file;
  return address < file->address + file->blocks * block_size_ ? &*file : nullptr;
}

void FileTable::Clear() {
  files_.clear();
  bytes_ = 0;
  loaded_.clear();
  end_ = 0;
  mask_ = 0;
}

void FileTable::Forget(const FileKey& key) {
  for (auto loaded = std::lower_bound(loaded_.begin(), loaded_.end(), Loaded{key, 0});
       loaded != loaded_.end() && loaded->key == key; ++loaded) {
    const auto file = std::lower_bound(files_.begin(), files_.end(), loaded->address,
                                       [](const File& f, uint64_t address) { return f.address < address; });
    if (file == files_.end() || file->address != loaded->address) continue;
    bytes_ -= BytesOf(*file);
    file->blocks = 0;
    file->path = std::string();
    bytes_ += BytesOf(*file);
  }
}

void FileTable::Save(StateWriter& writer) const {
  writer.AddNumber(end_);
  writer.AddNumber(mask_);
  const auto known = [](const File& file) { return file.blocks > 0; };
  writer.AddNumber(static_cast<uint64_t>(std::count_if(files_.begin(), files_.end(), known)));
  for (const File& file : files_) {
    if (!known(file)) continue;
    const uint64_t numbers[] = {file.address, file.blocks, file.sample, file.key.subvolume, file.key.inode};
    writer.Add(numbers, sizeof(numbers));
    writer.AddText(file.path);
  }
}

absl::Status FileTable::Load(StateReader& reader, uint64_t then, uint64_t now) {
  uint64_t count = 0;
  for (uint64_t* number : {&end_, &mask_, &count}) {
    ASSIGN_OR_RETURN(*number, reader.TakeNumber());
  }
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t numbers[5] = {};
    RETURN_IF_ERROR(reader.Take(numbers, sizeof(numbers)));
    File file;
    file.address = numbers[0];
    file.blocks = numbers[1];
    file.sample = numbers[2];
    file.key = {numbers[3], numbers[4]};
    ASSIGN_OR_RETURN(file.path, reader.TakeText(kMaxPathBytes));
    if (file.address >= end_ || (!files_.empty() && file.address <= files_.back().address)) {
      return absl::DataLossError("files out of order");
    }
    if (file.key.subvolume == then) {
      file.key.subvolume = now;
    } else if (then != now) {
      continue;
    }
    if (!Keeps(file)) continue;
    loaded_.push_back({file.key, file.address});
    bytes_ += BytesOf(file) + sizeof(Loaded);
    files_.push_back(std::move(file));
    MakeRoom();
  }
  std::sort(loaded_.begin(), loaded_.end());
  return absl::OkStatus();
}

}  // namespace cowherd
