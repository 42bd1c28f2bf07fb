#include "server/fs/fake_filesystem.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/status.h"

namespace cowherd {
namespace {

constexpr uint64_t kBlock = FakeFilesystem::kBlockSize;

// A broken test, or memory that ran out: nothing sensible can follow.
void Require(bool condition, absl::string_view what) {
  if (condition) return;
  std::fprintf(stderr, "FakeFilesystem: %.*s (errno %d)\n", static_cast<int>(what.size()), what.data(),
               errno);
  std::abort();
}

uint64_t BlocksOf(uint64_t bytes) { return (bytes + kBlock - 1) / kBlock; }

std::string ReadAt(int fd, uint64_t offset, uint64_t length) {
  std::string content(length, '\0');
  const ssize_t got = ::pread(fd, &content[0], length, static_cast<off_t>(offset));
  Require(got == static_cast<ssize_t>(length), "a read fell short");
  return content;
}

std::string Join(absl::string_view directory, absl::string_view name) {
  return absl::StrCat(directory == "/" ? "" : directory, "/", name);
}

Fd NewMemory() {
  Fd fd(::memfd_create("fake_filesystem", MFD_CLOEXEC));
  Require(fd.valid(), "memfd_create");
  return fd;
}

Fd Reopen(int fd, int mode = O_RDONLY) {
  return Fd(::open(absl::StrCat("/proc/self/fd/", fd).c_str(), mode | O_CLOEXEC));
}

}  // namespace

struct FakeFilesystem::Node {
  enum class Kind { kFile, kDirectory, kSymlink, kFifo, kMountPoint };
  Kind kind = Kind::kFile;
  std::string path;  // the first name
  Fd memory = NewMemory();
  uint64_t links = 0;
  uint64_t size = 0;
  bool inline_data = false;
  bool swap = false;
  std::vector<Block> blocks;
};

class FakeFilesystem::Tree final : public FileTree {
 public:
  Tree(FakeFilesystem* filesystem, std::string root, Fd fd)
      : filesystem_(filesystem), root_(std::move(root)), fd_(std::move(fd)) {}

  absl::StatusOr<OpenFile> Open(absl::string_view relative, bool) override {
    std::lock_guard<std::mutex> lock(filesystem_->mutex_);
    return filesystem_->Open(root_, relative);
  }
  absl::StatusOr<std::vector<DirEntry>> List(absl::string_view relative, const Stop& stop) override {
    RETURN_IF_ERROR(stop.Check());
    std::lock_guard<std::mutex> lock(filesystem_->mutex_);
    return filesystem_->List(root_, relative);
  }
  std::vector<absl::optional<FileFacts>> Look(absl::Span<const NamedFile> files, const Stop& stop) override {
    std::lock_guard<std::mutex> lock(filesystem_->mutex_);
    std::vector<absl::optional<FileFacts>> facts(files.size());
    for (size_t i = 0; i < files.size() && stop.Check().ok(); ++i) {
      const auto node = filesystem_->Walk(root_, files[i].path, "look");
      if (node.ok() && (*node)->kind == Node::Kind::kFile) facts[i] = FactsOf(**node);
    }
    return facts;
  }
  absl::StatusOr<OpenFile> OpenByNumber(const FileKey&, uint64_t) override {
    return ErrnoError(EOPNOTSUPP, "open a file by its number");
  }
  absl::StatusOr<Fd> MakeScratch() override {
    std::lock_guard<std::mutex> lock(filesystem_->mutex_);
    return filesystem_->MakeScratch();
  }
  absl::StatusOr<std::unique_ptr<StorageMap>> OpenStorageMap() override {
    std::lock_guard<std::mutex> lock(filesystem_->mutex_);
    const int error = filesystem_->FailureOf(Operation::kStorageMap, root_);
    return ErrnoError(error != 0 ? error : EOPNOTSUPP, "read checksums");
  }
  int root_fd() const override { return fd_.get(); }

 private:
  FakeFilesystem* const filesystem_;
  const std::string root_;
  const Fd fd_;
};

FakeFilesystem::FakeFilesystem(uint64_t size_bytes)
    : size_bytes_(size_bytes), max_progress_(std::numeric_limits<uint64_t>::max()) {}
FakeFilesystem::~FakeFilesystem() = default;

void FakeFilesystem::AddFile(const std::string& path, absl::string_view content) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto node = std::make_shared<Node>();
  node->inline_data = !content.empty() && content.size() <= inline_limit_;
  WriteLocked(*node, 0, content);
  Insert(path, std::move(node));
}

void FakeFilesystem::AddDirectory(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  MakeParents(path + "/");
}

void FakeFilesystem::AddLink(const std::string& path, const std::string& existing) {
  std::lock_guard<std::mutex> lock(mutex_);
  FileAt(existing);
  Insert(path, At(existing));
}

void FakeFilesystem::AddSymlink(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto node = std::make_shared<Node>();
  node->kind = Node::Kind::kSymlink;
  Insert(path, std::move(node));
}

void FakeFilesystem::AddFifo(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto node = std::make_shared<Node>();
  node->kind = Node::Kind::kFifo;
  Insert(path, std::move(node));
}

void FakeFilesystem::AddMountPoint(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto node = std::make_shared<Node>();
  node->kind = Node::Kind::kMountPoint;
  Insert(path, std::move(node));
}

void FakeFilesystem::Remove(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = names_.begin(); it != names_.end();) {
    if (it->first != path && !absl::StartsWith(it->first, path + "/")) {
      ++it;
      continue;
    }
    Node& node = *it->second;
    if (--node.links == 0) {
      for (Block& block : node.blocks) {
        if (block.address != 0) Drop(std::exchange(block, Block{}).address);
      }
    }
    it = names_.erase(it);
  }
}

void FakeFilesystem::Write(const std::string& path, uint64_t offset, absl::string_view content) {
  std::lock_guard<std::mutex> lock(mutex_);
  Node& node = FileAt(path);
  Require(!node.inline_data, "inline files stay as they are");
  WriteLocked(node, offset, content);
}

void FakeFilesystem::Truncate(const std::string& path, uint64_t size) {
  std::lock_guard<std::mutex> lock(mutex_);
  Resize(FileAt(path), size);
}

void FakeFilesystem::PunchHole(const std::string& path, uint64_t offset, uint64_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  Node& node = FileAt(path);
  Require(offset % kBlock == 0 && length % kBlock == 0 && offset + length <= node.blocks.size() * kBlock,
          "a hole is whole blocks of the file");
  Require(::fallocate(node.memory.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      static_cast<off_t>(offset), static_cast<off_t>(length)) == 0,
          "fallocate");
  for (uint64_t i = offset / kBlock; i < (offset + length) / kBlock; ++i) SetBlock(node, i, Block{});
}

void FakeFilesystem::Preallocate(const std::string& path, uint64_t offset, uint64_t length) {
  PunchHole(path, offset, length);
  std::lock_guard<std::mutex> lock(mutex_);
  Node& node = FileAt(path);
  for (uint64_t i = offset / kBlock; i < (offset + length) / kBlock; ++i) SetBlock(node, i, NewBlock(true));
}

void FakeFilesystem::KeepInline(uint64_t max_bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  inline_limit_ = max_bytes;
}

void FakeFilesystem::Fail(Operation operation, const std::string& path, int error) {
  std::lock_guard<std::mutex> lock(mutex_);
  failures_[{operation, path}] = error;
}

void FakeFilesystem::LimitProgress(uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  max_progress_ = bytes / kBlock * kBlock;
}

void FakeFilesystem::BeforeDedupe(std::function<void(const DedupeCall&)> callback) {
  std::lock_guard<std::mutex> lock(mutex_);
  before_dedupe_ = std::move(callback);
}

void FakeFilesystem::SetReadOnly(bool read_only) {
  std::lock_guard<std::mutex> lock(mutex_);
  read_only_ = read_only;
}

void FakeFilesystem::SetDedupeSupported(bool supported) {
  std::lock_guard<std::mutex> lock(mutex_);
  dedupe_supported_ = supported;
}

void FakeFilesystem::SetSwap(const std::string& path, bool swap) {
  std::lock_guard<std::mutex> lock(mutex_);
  FileAt(path).swap = swap;
}

void FakeFilesystem::TellInode(const std::string& path, uint64_t inode) {
  std::lock_guard<std::mutex> lock(mutex_);
  told_inodes_[path] = inode;
}

std::string FakeFilesystem::Content(const std::string& path) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const Node& node = FileAt(path);
  return ReadAt(node.memory.get(), 0, node.size);
}

std::vector<FakeFilesystem::DedupeCall> FakeFilesystem::dedupe_calls() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return dedupe_calls_;
}

uint64_t FakeFilesystem::prefetched_bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return prefetched_bytes_;
}

int FakeFilesystem::commits() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return commits_;
}

uint64_t FakeFilesystem::SharedBytes(const std::string& a, uint64_t a_offset, const std::string& b,
                                     uint64_t b_offset, uint64_t length) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const Node& first = FileAt(a);
  const Node& second = FileAt(b);
  Require(a_offset % kBlock == 0 && b_offset % kBlock == 0, "offsets are whole blocks");
  uint64_t shared = 0;
  for (uint64_t done = 0; done < length; done += kBlock) {
    const uint64_t i = (a_offset + done) / kBlock;
    const uint64_t j = (b_offset + done) / kBlock;
    if (i >= first.blocks.size() || j >= second.blocks.size()) break;
    if (first.blocks[i].address != 0 && first.blocks[i].address == second.blocks[j].address) {
      shared += std::min(kBlock, length - done);
    }
  }
  return shared;
}

absl::StatusOr<std::vector<DedupeAnswer>> FakeFilesystem::Dedupe(int source, uint64_t offset, uint64_t length,
                                                                 absl::Span<const DedupeTarget> targets) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto path_of = [this](int fd) {
    const Node* node = NodeOf(fd);
    return node == nullptr ? std::string() : node->path;
  };
  DedupeCall call{path_of(source), offset, length, {}};
  for (const DedupeTarget& target : targets) call.targets.emplace_back(path_of(target.fd), target.offset);
  dedupe_calls_.push_back(call);
  if (const auto callback = before_dedupe_) {
    lock.unlock();
    callback(call);
    lock.lock();
  }

  // The order of checks is vfs_dedupe_file_range's (fs/remap_range.c).
  constexpr char kDoing[] = "FIDEDUPERANGE";
  if (targets.size() > kMaxDedupeTargets) return ErrnoError(ENOMEM, kDoing);
  const int flags = ::fcntl(source, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return ErrnoError(EBADF, kDoing);
  if ((flags & O_ACCMODE) == O_WRONLY) return ErrnoError(EINVAL, kDoing);
  Node* const node = NodeOf(source);
  if (node == nullptr) return ErrnoError(EOPNOTSUPP, kDoing);
  if (node->kind == Node::Kind::kDirectory) return ErrnoError(EISDIR, kDoing);
  if (const int error = FailureOf(Operation::kDedupeSource, node->path)) return ErrnoError(error, kDoing);
  Store(*node);
  if (offset + length < offset || offset + length > node->size) return ErrnoError(EINVAL, kDoing);

  length = std::min(length, kMaxDedupeLength);
  std::vector<DedupeAnswer> answers;
  for (const DedupeTarget& target : targets) {
    answers.push_back(DedupeOne(*node, offset, length, target));
    if (answers.back().kind == DedupeAnswer::Kind::kError) answers.back().bytes = 0;
  }
  return answers;
}

void FakeFilesystem::Store(Node& node) {
  node.size = FactsOf(node).size;
  while (!node.inline_data && node.blocks.size() < BlocksOf(node.size))
    node.blocks.push_back(NewBlock(false));
}

DedupeAnswer FakeFilesystem::DedupeOne(Node& source, uint64_t offset, uint64_t length,
                                       const DedupeTarget& target) {
  const auto refuse = [](int error) { return DedupeAnswer{DedupeAnswer::Kind::kError, 0, error}; };
  const int flags = ::fcntl(target.fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return refuse(EBADF);
  if (read_only_) return refuse(EROFS);
  Node* const node = NodeOf(target.fd);
  if (node == nullptr) return refuse(EXDEV);
  if (node->kind == Node::Kind::kDirectory) return refuse(EISDIR);
  if (const int error = FailureOf(Operation::kDedupeTarget, node->path)) return refuse(error);
  if (length == 0) return {DedupeAnswer::Kind::kSame, 0, 0};

  // From here as generic_remap_file_range_prep.
  if (source.swap || node->swap) return refuse(ETXTBSY);
  const uint64_t to = target.offset;
  if (offset % kBlock != 0 || to % kBlock != 0) return refuse(EINVAL);
  if (to + length < to || to >= node->size || to + length > node->size) return refuse(EINVAL);
  uint64_t shared = length / kBlock * kBlock;
  if (offset + length == source.size && to + length == node->size) shared = length;
  const uint64_t taken = BlocksOf(shared) * kBlock;
  if (&source == node && to + taken > offset && to < offset + taken) return refuse(EINVAL);
  if (!SameBytes(source, offset, *node, to, shared)) return {DedupeAnswer::Kind::kDiffers, 0, 0};

  uint64_t counted = length;
  if (counted > max_progress_) {
    counted = max_progress_;
    shared = std::min(shared, max_progress_);
  }
  if (source.inline_data || node->inline_data) return {DedupeAnswer::Kind::kSame, counted, 0};
  for (uint64_t i = 0; i < BlocksOf(shared); ++i) {
    const Block block = source.blocks[offset / kBlock + i];
    if (block.address != 0) ++references_[block.address];
    SetBlock(*node, to / kBlock + i, block);
  }
  return {DedupeAnswer::Kind::kSame, counted, 0};
}

bool FakeFilesystem::SameBytes(const Node& a, uint64_t a_offset, const Node& b, uint64_t b_offset,
                               uint64_t length) {
  constexpr uint64_t kStep = 1 << 20;
  for (uint64_t done = 0; done < length; done += kStep) {
    const uint64_t step = std::min(kStep, length - done);
    if (ReadAt(a.memory.get(), a_offset + done, step) != ReadAt(b.memory.get(), b_offset + done, step)) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<ExtentList> FakeFilesystem::Extents(int fd, uint64_t offset, uint64_t length, size_t max,
                                                   bool) {
  std::lock_guard<std::mutex> lock(mutex_);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return ErrnoError(EBADF, "FIEMAP");
  Node* const node = NodeOf(fd);
  if (node == nullptr || node->kind != Node::Kind::kFile) return ErrnoError(EOPNOTSUPP, "FIEMAP");
  if (const int error = FailureOf(Operation::kExtents, node->path)) return ErrnoError(error, "FIEMAP");
  Store(*node);

  const uint64_t end = offset + std::min(length, std::numeric_limits<uint64_t>::max() - offset);
  ExtentList list;
  if (node->inline_data) {
    FileExtent extent;
    extent.length = node->size;
    extent.inline_data = true;
    if (offset < node->size && offset < end) list.extents.push_back(extent);
    return list;
  }
  for (uint64_t i = offset / kBlock; i < node->blocks.size() && i * kBlock < end; ++i) {
    const Block& block = node->blocks[i];
    if (block.address == 0) continue;
    FileExtent extent;
    extent.offset = i * kBlock;
    extent.length = kBlock;
    extent.physical = block.address * kBlock;
    extent.shared = references_.at(block.address) > 1;
    extent.unwritten = block.unwritten;
    if (!list.extents.empty()) {
      FileExtent& last = list.extents.back();
      if (last.offset + last.length == extent.offset && last.physical + last.length == extent.physical &&
          last.shared == extent.shared && last.unwritten == extent.unwritten) {
        last.length += kBlock;
        continue;
      }
    }
    if (list.extents.size() == max) {
      list.next_offset = list.extents.back().offset + list.extents.back().length;
      break;
    }
    list.extents.push_back(extent);
  }
  return list;
}

bool FakeFilesystem::IsSwap(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Node* const node = NodeOf(fd);
  return node != nullptr && node->swap;
}

absl::StatusOr<FsFacts> FakeFilesystem::Facts(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Node* const node = NodeOf(fd);
  if (node == nullptr) return ErrnoError(EBADF, "fstatfs");
  if (const int error = FailureOf(Operation::kFacts, node->path)) return ErrnoError(error, "fstatfs");
  FsFacts facts;
  facts.type = "btrfs";
  facts.uuid = "00000000-0000-4000-8000-000000000001";
  facts.identity = absl::StrCat("fake:", reinterpret_cast<uintptr_t>(this));
  facts.size_bytes = size_bytes_;
  facts.free_bytes = size_bytes_ - (references_.size() + dropped_uncommitted_) * kBlock;
  facts.block_size = kBlock;
  facts.dedupe_supported = dedupe_supported_;
  facts.read_only = read_only_;
  return facts;
}

void FakeFilesystem::SetCached(CachedPart cached) {
  std::lock_guard<std::mutex> lock(mutex_);
  cached_ = cached;
}

CachedPart FakeFilesystem::Cached(int, uint64_t, uint64_t) {
  std::lock_guard<std::mutex> lock(mutex_);
  return cached_;
}

void FakeFilesystem::Prefetch(int, uint64_t, uint64_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  prefetched_bytes_ += length;
}

absl::Status FakeFilesystem::Commit(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  const int flags = ::fcntl(fd, F_GETFL);
  const Node* const node = NodeOf(fd);
  if (flags < 0 || (flags & O_PATH) != 0 || node == nullptr) return ErrnoError(EBADF, "syncfs");
  if (const int error = FailureOf(Operation::kCommit, node->path)) return ErrnoError(error, "syncfs");
  dropped_uncommitted_ = 0;
  ++commits_;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileTree>> FakeFilesystem::OpenRoot(const Root& root) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (const int error = FailureOf(Operation::kOpenRoot, root.local_path))
    return ErrnoError(error, "open root");
  const std::shared_ptr<Node> node = At(root.local_path);
  if (node == nullptr) {
    return WithDetail(absl::NotFoundError(absl::StrCat("root \"", root.name, "\": \"",
                                                       absl::CEscape(root.local_path), "\" is not there")),
                      "ROOT_ABSENT", "", ENOENT);
  }
  if (node->kind != Node::Kind::kDirectory) return ErrnoError(ENOTDIR, "open root");
  return std::unique_ptr<FileTree>(new Tree(this, root.local_path, Reopen(node->memory.get())));
}

FileFacts FakeFilesystem::FactsOf(const Node& node) {
  struct stat stat;
  Require(::fstat(node.memory.get(), &stat) == 0, "fstat");
  FileFacts facts;
  facts.device = stat.st_dev;
  facts.inode = stat.st_ino;
  facts.size = static_cast<uint64_t>(stat.st_size);
  facts.links = node.links;
  facts.modified_ns = Nanoseconds(stat.st_mtim.tv_sec, static_cast<uint32_t>(stat.st_mtim.tv_nsec));
  facts.changed_ns = Nanoseconds(stat.st_ctim.tv_sec, static_cast<uint32_t>(stat.st_ctim.tv_nsec));
  return facts;
}

absl::StatusOr<OpenFile> FakeFilesystem::Open(const std::string& root, absl::string_view relative) {
  const std::string doing = absl::StrCat("open \"", absl::CEscape(relative), "\"");
  ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, Walk(root, relative, doing));
  if (node->kind == Node::Kind::kDirectory) return ErrnoError(EISDIR, doing);
  if (node->kind == Node::Kind::kFifo) {
    return WithDetail(absl::InvalidArgumentError(absl::StrCat(doing, ": not a regular file")), "NOT_REGULAR",
                      "", EINVAL);
  }
  if (const int error = FailureOf(Operation::kOpen, Join(root, relative))) return ErrnoError(error, doing);
  OpenFile file;
  file.fd = Reopen(node->memory.get());
  if (!file.fd.valid()) return ErrnoError(errno, doing);
  file.facts = FactsOf(*node);
  return file;
}

absl::StatusOr<std::vector<DirEntry>> FakeFilesystem::List(const std::string& root,
                                                           absl::string_view relative) {
  const std::string doing = absl::StrCat("list \"", absl::CEscape(relative), "\"");
  ASSIGN_OR_RETURN(const std::shared_ptr<Node> node, Walk(root, relative, doing));
  if (node->kind != Node::Kind::kDirectory) return ErrnoError(ENOTDIR, doing);
  if (const int error = FailureOf(Operation::kList, node->path)) return ErrnoError(error, doing);
  const std::string prefix = node->path == "/" ? "/" : node->path + "/";
  std::vector<DirEntry> entries;
  for (auto it = names_.lower_bound(prefix); it != names_.end() && absl::StartsWith(it->first, prefix);
       ++it) {
    const std::string name = it->first.substr(prefix.size());
    if (name.empty() || absl::StrContains(name, '/')) continue;
    const Node::Kind kind = it->second->kind;
    const auto inode = told_inodes_.find(it->first);
    entries.push_back({name,
                       kind == Node::Kind::kFile ? DirEntry::Kind::kFile
                       : kind == Node::Kind::kDirectory || kind == Node::Kind::kMountPoint
                           ? DirEntry::Kind::kDirectory
                           : DirEntry::Kind::kOther,
                       inode == told_inodes_.end() ? 0 : inode->second});
  }
  return entries;
}

absl::StatusOr<Fd> FakeFilesystem::MakeScratch() {
  const auto node = std::make_shared<Node>();
  const FileFacts facts = FactsOf(*node);
  nodes_[{facts.device, facts.inode}] = node;
  return Reopen(node->memory.get(), O_RDWR);
}

absl::StatusOr<std::shared_ptr<FakeFilesystem::Node>> FakeFilesystem::Walk(const std::string& root,
                                                                           absl::string_view relative,
                                                                           absl::string_view doing) const {
  std::shared_ptr<Node> node = At(root);
  if (node == nullptr) return ErrnoError(ENOENT, doing);
  if (relative.empty()) return node;
  if (absl::StartsWith(relative, "/")) return ErrnoError(EXDEV, doing);
  if (absl::StrContains(relative, absl::string_view("\0", 1))) return ErrnoError(EINVAL, doing);
  std::string path = root == "/" ? "" : root;
  for (absl::string_view part : absl::StrSplit(relative, '/')) {
    if (node->kind != Node::Kind::kDirectory) return ErrnoError(ENOTDIR, doing);
    if (part == "..") return ErrnoError(EXDEV, doing);
    if (part.size() > 255) return ErrnoError(ENAMETOOLONG, doing);
    absl::StrAppend(&path, "/", part);
    node = At(path);
    if (node == nullptr) return ErrnoError(ENOENT, doing);
    if (node->kind == Node::Kind::kSymlink) return ErrnoError(ELOOP, doing);
    if (node->kind == Node::Kind::kMountPoint) return ErrnoError(EXDEV, doing);
  }
  return node;
}

void FakeFilesystem::Insert(const std::string& path, std::shared_ptr<Node> node) {
  Require(absl::StartsWith(path, "/") && !absl::EndsWith(path, "/") && !absl::StrContains(path, "//"),
          "paths are absolute, with no empty part");
  MakeParents(path);
  if (node->path.empty()) node->path = path;
  struct stat stat;
  Require(::fstat(node->memory.get(), &stat) == 0, "fstat");
  nodes_[{stat.st_dev, stat.st_ino}] = node;
  ++node->links;
  std::shared_ptr<Node>& place = names_[path];
  if (place != nullptr) {
    Require(place->kind != Node::Kind::kDirectory, "a directory is not replaced");
    if (--place->links == 0) {
      for (Block& block : place->blocks) {
        if (block.address != 0) Drop(std::exchange(block, Block{}).address);
      }
    }
  }
  place = std::move(node);
}

void FakeFilesystem::MakeParents(const std::string& path) {
  for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = slash == 0 ? "/" : path.substr(0, slash);
    std::shared_ptr<Node>& place = names_[parent];
    if (place != nullptr) {
      Require(place->kind == Node::Kind::kDirectory, "a parent is no directory");
      continue;
    }
    place = std::make_shared<Node>();
    place->kind = Node::Kind::kDirectory;
    place->path = parent;
    place->links = 1;
    struct stat stat;
    Require(::fstat(place->memory.get(), &stat) == 0, "fstat");
    nodes_[{stat.st_dev, stat.st_ino}] = place;
  }
}

std::shared_ptr<FakeFilesystem::Node> FakeFilesystem::At(const std::string& path) const {
  const auto it = names_.find(path);
  return it == names_.end() ? nullptr : it->second;
}

FakeFilesystem::Node& FakeFilesystem::FileAt(const std::string& path) const {
  const std::shared_ptr<Node> node = At(path);
  Require(node != nullptr && node->kind == Node::Kind::kFile, absl::StrCat("no file ", path));
  return *node;
}

FakeFilesystem::Node* FakeFilesystem::NodeOf(int fd) const {
  struct stat stat;
  if (::fstat(fd, &stat) != 0) return nullptr;
  const auto it = nodes_.find({stat.st_dev, stat.st_ino});
  return it == nodes_.end() ? nullptr : it->second.get();
}

int FakeFilesystem::FailureOf(Operation operation, const std::string& path) const {
  const auto it = failures_.find({operation, path});
  return it == failures_.end() ? 0 : it->second;
}

void FakeFilesystem::WriteLocked(Node& node, uint64_t offset, absl::string_view content) {
  if (content.empty()) return;
  Resize(node, std::max(node.size, offset + content.size()));
  const ssize_t written =
      ::pwrite(node.memory.get(), content.data(), content.size(), static_cast<off_t>(offset));
  Require(written == static_cast<ssize_t>(content.size()), "a write fell short");
  if (node.inline_data) return;
  for (uint64_t i = offset / kBlock; i < BlocksOf(offset + content.size()); ++i) {
    SetBlock(node, i, NewBlock(false));
  }
}

void FakeFilesystem::Resize(Node& node, uint64_t size) {
  Require(::ftruncate(node.memory.get(), static_cast<off_t>(size)) == 0, "ftruncate");
  node.size = size;
  for (uint64_t i = BlocksOf(size); i < node.blocks.size(); ++i) SetBlock(node, i, Block{});
  if (!node.inline_data) node.blocks.resize(BlocksOf(size));
}

void FakeFilesystem::SetBlock(Node& node, uint64_t index, Block block) {
  const uint64_t before = std::exchange(node.blocks[index], block).address;
  if (before != 0) Drop(before);
}

FakeFilesystem::Block FakeFilesystem::NewBlock(bool unwritten) {
  const uint64_t address = next_address_++;
  references_[address] = 1;
  return {address, unwritten};
}

void FakeFilesystem::Drop(uint64_t address) {
  const auto it = references_.find(address);
  if (--it->second > 0) return;
  references_.erase(it);
  ++dropped_uncommitted_;
}

}  // namespace cowherd
