#include "server/scan/file_table.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "server/base/status.h"
#include "server/scan/run_finder.h"

namespace cowherd {
namespace {

constexpr size_t kMaxPathBytes = 1 << 20;
constexpr uint32_t kNone = UINT32_MAX;
constexpr unsigned kMostThinned = 63;

// With what a deque has beside each 512 bytes.
constexpr size_t InDeque(size_t bytes) { return bytes + bytes / 16; }

// How often half of the files that begin with such a block may be forgotten before one of so many blocks is.
unsigned Lasts(uint64_t sample, uint64_t blocks) {
  unsigned times = 0;
  while (times < kMostThinned && (sample & ((uint64_t{2} << times) - 1)) < blocks) ++times;
  return times;
}

}  // namespace

FileTable::FileTable(size_t budget, uint32_t block_size)
    : budget_(std::min<size_t>(budget, UINT32_MAX)), block_size_(block_size) {}

absl::optional<uint64_t> FileTable::Place(uint64_t size) {
  const uint64_t blocks = std::max<uint64_t>(1, BlocksOf(size));
  if (blocks > kMaxAddress / block_size_ - end_) return absl::nullopt;
  return std::exchange(end_, end_ + blocks) * block_size_;
}

void FileTable::Add(uint64_t address, absl::string_view path, const FileKey& key, uint64_t size,
                    uint64_t first_fingerprint) {
  Entry file;
  file.inode = key.inode;
  file.first_block = address / block_size_;
  file.blocks = std::max<uint64_t>(1, BlocksOf(size));
  file.lasts = Lasts(first_fingerprint >> 8, file.blocks);
  if (!Keeps(file)) return;
  Insert(file, key.subvolume, path);
  MakeRoom();
}

void FileTable::Insert(Entry entry, uint64_t device, absl::string_view path) {
  const size_t slash = path.rfind('/');
  entry.directory = DirectoryOf(device, slash == path.npos ? "" : path.substr(0, slash));
  entry.name = AddName(slash == path.npos ? path : path.substr(slash + 1), names_);
  files_.push_back(entry);
}

uint32_t FileTable::DirectoryOf(uint64_t device, absl::string_view path) {
  uint32_t directory = Child(device, kNone, "");
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    directory = Child(device, directory, path.substr(begin, end - begin));
    begin = end + 1;
  }
  return directory;
}

uint32_t FileTable::Child(uint64_t device, uint32_t parent, absl::string_view name) {
  const auto [child, is_new] =
      by_name_.try_emplace(KeyOf(device, parent, name), static_cast<uint32_t>(directories_.size()));
  if (is_new) directories_.push_back({device, parent, AddName(name, directory_names_)});
  return child->second;
}

uint64_t FileTable::KeyOf(uint64_t device, uint32_t parent, absl::string_view name) {
  const uint64_t above[] = {device, parent};
  return XXH3_64bits_withSeed(name.data(), name.size(), XXH3_64bits(above, sizeof(above)));
}

uint32_t FileTable::AddName(absl::string_view name, Names& names) {
  const auto at = static_cast<uint32_t>(names.size());
  names.insert(names.end(), name.begin(), name.end());
  names.push_back('\0');
  return at;
}

void FileTable::AppendName(const Names& names, uint32_t at, std::string& to) {
  for (auto c = names.begin() + at; *c != '\0'; ++c) to.push_back(*c);
}

uint32_t FileTable::MoveName(Names& names, uint32_t from, uint32_t& to) {
  const uint32_t at = to;
  do {
    names[to++] = names[from];
  } while (names[from++] != '\0');
  return at;
}

std::string FileTable::PathOf(const Entry& file) const {
  std::vector<uint32_t> above;
  for (uint32_t d = file.directory; directories_[d].parent != kNone; d = directories_[d].parent) {
    above.push_back(directories_[d].name);
  }
  std::string path;
  for (auto name = above.rbegin(); name != above.rend(); ++name) {
    AppendName(directory_names_, *name, path);
    path.push_back('/');
  }
  AppendName(names_, file.name, path);
  return path;
}

const FileTable::Entry* FileTable::EntryOf(uint64_t address) const {
  const uint64_t block = address / block_size_;
  auto file = std::partition_point(files_.begin(), files_.end(),
                                   [block](const Entry& f) { return f.first_block <= block; });
  if (file == files_.begin()) return nullptr;
  --file;
  return block < file->first_block + file->blocks ? &*file : nullptr;
}

absl::optional<FileTable::File> FileTable::Find(uint64_t address) const {
  const Entry* const file = EntryOf(address);
  if (file == nullptr) return absl::nullopt;
  return File{file->first_block * block_size_, file->blocks, FileKeyOf(*file), PathOf(*file)};
}

size_t FileTable::bytes() const {
  // A slot of the map and its control byte, and half as much beside it while the map doubles.
  constexpr size_t kSlotBytes = (sizeof(uint64_t) * 2 + 1) * 3 / 2;
  return InDeque(files_.size() * sizeof(Entry) + directories_.size() * sizeof(Directory) + names_.size() +
                 directory_names_.size()) +
         by_name_.capacity() * kSlotBytes + loaded_ * sizeof(by_key_[0]);
}

void FileTable::SetBudget(size_t budget) {
  budget_ = std::min<size_t>(budget, UINT32_MAX);
  MakeRoom();
}

void FileTable::MakeRoom() {
  while (bytes() > budget_ && thinned_ < kMostThinned) Thin();
}

void FileTable::Thin() {
  ++thinned_;
  size_t kept = 0;
  size_t loaded = 0;
  uint32_t end_of_names = 0;
  for (size_t i = 0; i < files_.size(); ++i) {
    Entry file = files_[i];
    if (!Keeps(file)) continue;
    file.name = MoveName(names_, file.name, end_of_names);
    if (i < loaded_) ++loaded;
    files_[kept++] = file;
  }
  files_.resize(kept);
  names_.resize(end_of_names);
  ThinDirectories();
  loaded_ = loaded;
  if (!by_key_.empty()) SortLoaded();
}

void FileTable::ThinDirectories() {
  std::vector<bool> used(directories_.size());
  for (const Entry& file : files_) used[file.directory] = true;
  for (size_t d = used.size(); d-- > 0;) {
    if (used[d] && directories_[d].parent != kNone) used[directories_[d].parent] = true;
  }
  by_name_ = {};
  std::vector<uint32_t> now(used.size());
  uint32_t kept = 0;
  uint32_t end_of_names = 0;
  std::string name;
  for (size_t d = 0; d < used.size(); ++d) {
    if (!used[d]) continue;
    Directory directory = directories_[d];
    directory.name = MoveName(directory_names_, directory.name, end_of_names);
    if (directory.parent != kNone) directory.parent = now[directory.parent];
    name.clear();
    AppendName(directory_names_, directory.name, name);
    by_name_[KeyOf(directory.device, directory.parent, name)] = kept;
    now[d] = kept;
    directories_[kept++] = directory;
  }
  directories_.resize(kept);
  directory_names_.resize(end_of_names);
  for (Entry& file : files_) file.directory = now[file.directory];
}

uint64_t FileTable::files_seen() const {
  if (thinned_ == 0) return 0;
  double seen = 0;
  for (const Entry& file : files_) {
    // As many as this one stands for.
    if (file.blocks > 0)
      seen += std::max(1.0, std::ldexp(1, static_cast<int>(thinned_)) / static_cast<double>(file.blocks));
  }
  return static_cast<uint64_t>(seen);
}

void FileTable::Clear() {
  files_.clear();
  names_.clear();
  directories_.clear();
  directory_names_.clear();
  by_name_ = {};
  loaded_ = 0;
  by_key_ = {};
  end_ = 0;
  thinned_ = 0;
}

void FileTable::SortLoaded() {
  by_key_ = {};
  by_key_.resize(loaded_);
  std::iota(by_key_.begin(), by_key_.end(), 0);
  std::sort(by_key_.begin(), by_key_.end(),
            [this](uint32_t a, uint32_t b) { return FileKeyOf(files_[a]) < FileKeyOf(files_[b]); });
}

void FileTable::Forget(const FileKey& key) {
  for (auto loaded = std::partition_point(by_key_.begin(), by_key_.end(),
                                          [&](uint32_t file) { return FileKeyOf(files_[file]) < key; });
       loaded != by_key_.end() && FileKeyOf(files_[*loaded]) == key; ++loaded) {
    files_[*loaded].blocks = 0;
  }
}

void FileTable::Save(StateWriter& writer) const {
  writer.AddNumber(end_);
  writer.AddNumber(thinned_);
  const auto known = [](const Entry& file) { return file.blocks > 0; };
  writer.AddNumber(static_cast<uint64_t>(std::count_if(files_.begin(), files_.end(), known)));
  std::string last;
  for (const Entry& file : files_) {
    if (!known(file)) continue;
    std::string path = PathOf(file);
    const auto differs = std::mismatch(path.begin(), path.end(), last.begin(), last.end()).first;
    const auto common = static_cast<size_t>(differs - path.begin());
    const FileKey key = FileKeyOf(file);
    const uint64_t numbers[] = {file.first_block, file.lasts, file.blocks, key.subvolume, key.inode, common};
    writer.Add(numbers, sizeof(numbers));
    writer.AddText(absl::string_view(path).substr(common));
    last = std::move(path);
  }
}

absl::Status FileTable::Load(StateReader& reader, uint64_t then, uint64_t now) {
  uint64_t thinned = 0;
  uint64_t count = 0;
  for (uint64_t* number : {&end_, &thinned, &count}) {
    ASSIGN_OR_RETURN(*number, reader.TakeNumber());
  }
  if (thinned > kMostThinned || end_ > kMaxAddress / block_size_) return absl::DataLossError("not a table");
  thinned_ = static_cast<unsigned>(thinned);
  std::string path;
  uint64_t begin = 0;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t numbers[6] = {};
    RETURN_IF_ERROR(reader.Take(numbers, sizeof(numbers)));
    const auto [first_block, lasts, blocks, device, inode, common] = numbers;
    ASSIGN_OR_RETURN(const std::string rest, reader.TakeText(kMaxPathBytes));
    if (first_block < begin || first_block >= end_ || blocks == 0 || blocks > end_ - first_block ||
        lasts > kMostThinned || common > path.size() || common + rest.size() > kMaxPathBytes) {
      return absl::DataLossError("files out of order");
    }
    begin = first_block + blocks;
    path.resize(common);
    path += rest;
    if (device != then && then != now) continue;
    Entry file;
    file.inode = inode;
    file.first_block = first_block;
    file.lasts = lasts;
    file.blocks = blocks;
    if (!Keeps(file)) continue;
    Insert(file, device == then ? now : device, path);
    ++loaded_;
    MakeRoom();
  }
  SortLoaded();
  return absl::OkStatus();
}

}  // namespace cowherd
